"""Keys as a list and in time: pages, states, bounds."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.keys import service


async def test_a_list_is_paged_without_gaps_or_repetition(api: Api, clock: ManualClock) -> None:
    """Walking the pages shows each key once, in every sorting, whatever the names."""
    ada = await api.sign_up()
    for name in ("b", "a", "d", "c", "é", "a", "Z"):
        clock.advance(timedelta(seconds=1))
        assert (await api.post("/keys", {"name": name, "environment": "test"}, by=ada)).status == 201
    everything = (await api.get("/keys?limit=100", by=ada)).data["items"]
    for sort in ("created_at", "-created_at", "name", "-name"):
        seen, cursor = [], None
        while True:
            query = {"limit": "2", "sort": sort} | ({"cursor": cursor} if cursor else {})
            page = (await api.get("/keys", by=ada, **query)).data
            seen += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert sorted(key["id"] for key in seen) == sorted(key["id"] for key in everything)
        if "created_at" in sort:
            times = [key["created_at"] for key in seen]
            assert times == sorted(times, reverse=sort.startswith("-"))


async def test_a_cursor_belongs_to_its_sorting(api: Api) -> None:
    """A cursor of one sorting is refused under another instead of skipping rows."""
    ada = await api.sign_up()
    for _ in range(2):
        await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)
    cursor = (await api.get("/keys?limit=1", by=ada)).data["next_cursor"]
    assert (await api.get("/keys", by=ada, sort="name", cursor=cursor)).code == "cursor_invalid"


async def test_filters(api: Api, worker: Database, clock: ManualClock) -> None:
    """By environment and by what was decided."""
    ada = await api.sign_up()
    await api.verify(worker, ada, now=clock.now())
    live = (await api.post("/keys", {"name": "live"}, by=ada)).data["id"]
    test = (await api.post("/keys", {"name": "test", "environment": "test"}, by=ada)).data["id"]
    await api.call("DELETE", f"/keys/{live}", by=ada)
    for query, expected in (
        ("environment=live", [live]),
        ("status=active", [test]),
        ("status=revoked", [live]),
    ):
        assert [key["id"] for key in (await api.get(f"/keys?{query}", by=ada)).data["items"]] == expected


async def test_a_key_is_pending_until_the_gateway_has_it(api: Api, worker: Database) -> None:
    """The state follows what the gateways have applied: pending, enforced, revoking, revoked."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    key = (await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)).data["id"]

    async def state() -> str:
        return str((await api.get(f"/keys/{key}", by=ada)).data["state"])

    async def catch_up() -> None:
        async with worker.transaction() as session:
            revision = await session.scalar(text("SELECT edge_revision FROM organizations"))
        await planting.enforced(worker, organization, revision)

    assert await state() == "pending"
    await catch_up()
    assert await state() == "enforced"
    revoked = (await api.call("DELETE", f"/keys/{key}", by=ada)).data
    assert (revoked["state"], await state()) == ("revoking", "revoking")
    await catch_up()
    assert await state() == "revoked"
    again = await api.call("DELETE", f"/keys/{key}", by=ada)
    assert (again.status, again.data["state"], again.data["revoked_at"]) == (
        200,
        "revoked",
        revoked["revoked_at"],
    )


async def test_a_key_expires(api: Api, worker: Database, clock: ManualClock) -> None:
    """A key may end by itself, in the future only."""
    ada = await api.sign_up()
    body = {"name": "n", "environment": "test", "expires_at": "2026-03-10T12:30:00+00:00"}
    key = (await api.post("/keys", body, by=ada)).data
    assert key["expires_at"] == "2026-03-10T12:30:00Z"
    clock.advance(timedelta(minutes=31))
    assert (await api.get(f"/keys/{key['id']}", by=ada)).data["state"] == "expired"
    assert (await api.post("/keys", body, by=ada)).code == "expiry_in_the_past"


async def test_an_organization_has_a_bounded_number_of_keys(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound holds under a race too; a revoked key makes room."""
    monkeypatch.setattr(service, "KEYS_PER_ORGANIZATION", 3)
    ada = await api.sign_up()
    body = {"name": "n", "environment": "test"}
    replies = await asyncio.gather(*(api.post("/keys", body, by=ada) for _ in range(8)))
    issued = [reply.data["id"] for reply in replies if reply.status == 201]
    assert len(issued) == 3
    assert {reply.code for reply in replies if reply.status != 201} == {"too_many_keys"}
    await api.call("DELETE", f"/keys/{issued[0]}", by=ada)
    assert (await api.post("/keys", body, by=ada)).status == 201
