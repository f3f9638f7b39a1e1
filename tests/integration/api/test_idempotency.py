"""The same request twice has one effect, whatever happens in between."""

import asyncio
from datetime import timedelta

from sqlalchemy import func, select, text
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.idempotency import IdempotentRequest, forget_expired
from farebox.keys.model import ApiKey

KEY = {"name": "one", "environment": "test"}


async def keys_in(worker: Database) -> int:
    """How many keys there are."""
    async with worker.transaction() as session:
        return await session.scalar(select(func.count()).select_from(ApiKey)) or 0


async def test_a_repeated_request_is_answered_from_memory(api: Api, worker: Database) -> None:
    """Status and data come again, marked as repeated, and without the key's text, which is kept nowhere."""
    ada = await api.sign_up()
    first = await api.post("/keys", KEY, by=ada, Idempotency_Key="abc")
    again = await api.post("/keys", KEY, by=ada, Idempotency_Key="abc")
    assert (first.status, again.status) == (201, 201)
    assert again.data == {**first.data, "key": None}
    assert "shown only then" in again.body["message"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await keys_in(worker) == 1
    async with worker.transaction() as session:
        kept = str((await session.execute(text("SELECT answer FROM idempotent_requests"))).scalars().all())
    assert first.data["key"] not in kept


async def test_the_form_of_the_json_does_not_matter(api: Api, worker: Database) -> None:
    """The payload is compared as it was understood, so white space and order make no difference."""
    ada = await api.sign_up()
    await api.post("/keys", KEY, by=ada, Idempotency_Key="abc")
    raw = b'{"environment":"test",    "name":"one"}'
    again = await api.call("POST", "/keys", by=ada, raw=raw, headers={"Idempotency-Key": "abc"})
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_another_payload_under_the_same_key_is_refused(api: Api, worker: Database) -> None:
    """A reused key is a mistake of the caller's, and does nothing."""
    ada = await api.sign_up()
    await api.post("/keys", KEY, by=ada, Idempotency_Key="abc")
    other = await api.post("/keys", {**KEY, "name": "two"}, by=ada, Idempotency_Key="abc")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert await keys_in(worker) == 1


async def test_keys_of_different_people_do_not_meet(api: Api, worker: Database) -> None:
    """The key belongs to who sent it, in which organization, and where to."""
    ada, eve = await api.sign_up(), await api.sign_up("eve@example.com")
    await api.post("/keys", KEY, by=ada, Idempotency_Key="abc")
    assert (await api.post("/keys", {**KEY, "name": "two"}, by=eve, Idempotency_Key="abc")).status == 201
    assert (await api.post("/organizations", {"name": "Two"}, by=ada, Idempotency_Key="abc")).status == 201
    assert await keys_in(worker) == 2


async def test_many_at_once_have_one_effect(api: Api, worker: Database) -> None:
    """While one is under way the others are told so, or get its answer; never a second key."""
    ada = await api.sign_up()
    replies = await asyncio.gather(
        *(api.post("/keys", KEY, by=ada, Idempotency_Key="abc") for _ in range(12))
    )
    assert {reply.status for reply in replies} <= {201, 409}
    assert all(reply.code == "idempotency_in_flight" for reply in replies if reply.status == 409)
    assert sum(reply.status == 201 and reply.data["key"] is not None for reply in replies) == 1
    assert await keys_in(worker) == 1


async def test_one_under_way_is_said_to_be(api: Api, worker: Database) -> None:
    """A second request does not wait behind the first: it is told at once to come again."""
    ada = await api.sign_up()
    async with worker.transaction() as session:
        await session.execute(text("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE"))
        first = asyncio.create_task(api.post("/keys", KEY, by=ada, Idempotency_Key="abc"))
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        while not await session.scalar(waiting):
            await asyncio.sleep(0)
        second = await api.post("/keys", KEY, by=ada, Idempotency_Key="abc")
    assert (second.status, second.code, second.headers["Retry-After"]) == (409, "idempotency_in_flight", "1")
    assert (await first).status == 201


async def test_a_refused_request_may_be_repeated(api: Api, worker: Database, clock: ManualClock) -> None:
    """A refusal had no effect, so the same key is free to succeed once the reason is gone."""
    ada = await api.sign_up()
    live = {"name": "one"}
    assert (await api.post("/keys", live, by=ada, Idempotency_Key="abc")).status == 403
    await api.verify(worker, ada, now=clock.now())
    assert (await api.post("/keys", live, by=ada, Idempotency_Key="abc")).status == 201


async def test_registering_twice_with_one_key_makes_one_account(api: Api, worker: Database) -> None:
    """A lost answer to a sign-up is asked for again without `email_taken`; no password is kept with it."""
    body = {"email": "ada@example.com", "password": "correct horse battery", "organization_name": "Engines"}
    first = await api.post("/auth/register", body, Idempotency_Key="abc")
    again = await api.post("/auth/register", body, Idempotency_Key="abc")
    assert (first.status, again.status) == (201, 201)
    assert first.data == again.data


async def test_a_day_later_the_key_is_forgotten(api: Api, worker: Database, clock: ManualClock) -> None:
    """Keys live for 24 hours; then they may be used again, and the record can be cleared away."""
    ada = await api.sign_up()
    await api.post("/organizations", {"name": "One"}, by=ada, Idempotency_Key="abc")
    clock.advance(timedelta(hours=25))
    fresh = await api.log_in(ada.email, ada.organization_id)
    again = await api.post("/organizations", {"name": "Two"}, by=fresh, Idempotency_Key="abc")
    assert (again.status, again.data["name"]) == (201, "Two")
    clock.advance(timedelta(hours=25))
    async with worker.transaction() as session:
        assert await forget_expired(session, now=clock.now()) == 1
        assert await session.scalar(select(func.count()).select_from(IdempotentRequest)) == 0


async def test_a_key_that_is_no_key_is_refused(api: Api) -> None:
    """Empty, long or unprintable keys are an error of the caller's."""
    ada = await api.sign_up()
    for key in ("x" * 256, "ä"):
        reply = await api.post("/keys", KEY, by=ada, Idempotency_Key=key)
        assert (reply.status, reply.code) == (400, "idempotency_key_invalid")


async def test_a_dry_run_checks_everything_and_changes_nothing(api: Api, worker: Database) -> None:
    """The answer is what would have come, marked; no row, no outbox entry, no memory of the key remains."""
    ada = await api.sign_up()
    async with worker.transaction() as session:
        before = await session.scalar(text("SELECT count(*) FROM outbox"))
    dry = await api.post("/keys", KEY, by=ada, Dry_Run="true", Idempotency_Key="abc")
    assert dry.status == 201
    assert dry.headers["Dry-Run"] == "true"
    assert dry.body["message"].startswith("Dry run, nothing was changed")
    changed = await api.call(
        "PATCH", "/organization", by=ada, json={"name": "X"}, headers={"Dry-Run": "true"}
    )
    assert changed.data["name"] == "X"
    upgraded = await api.post("/billing/upgrade", {"plan": "pro"}, by=ada, Dry_Run="true")
    assert upgraded.data["plan"]["code"] == "pro"
    assert (await api.get("/organization", by=ada)).data["name"] == "Engines"
    assert (await api.get("/billing/current", by=ada)).data["plan"] == "free"
    assert await keys_in(worker) == 0
    async with worker.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM outbox")) == before
    assert (await api.post("/keys", KEY, by=ada, Idempotency_Key="abc")).data["key"] is not None


async def test_a_dry_run_that_would_be_refused_is_refused(api: Api) -> None:
    """A dry run tells the truth about what would happen; a header that is neither yes nor no is refused."""
    ada = await api.sign_up()
    assert (await api.post("/keys", {"name": "live"}, by=ada, Dry_Run="true")).code == "email_not_verified"
    assert (await api.post("/keys", KEY, by=ada, Dry_Run="perhaps")).code == "dry_run_invalid"
