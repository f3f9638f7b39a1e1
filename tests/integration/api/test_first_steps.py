"""From registering to the first key."""

from sqlalchemy import select
from tests.support.api_client import PASSWORD, Api

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.keys.model import ApiKey
from farebox.outbox import OutboxRow
from farebox_contract import keys


async def test_registering_gives_a_working_account(api: Api, worker: Database, clock: ManualClock) -> None:
    """One request makes user, organization, ownership and free plan; mail and gateway follow by outbox."""
    ada = await api.sign_up()
    me = (await api.get("/auth/me", by=ada)).data
    assert me["user"]["email"] == "ada@example.com"
    assert me["organization"] == {
        "id": ada.organization_id,
        "name": "Engines",
        "state": "active",
        "role": "owner",
    }
    async with worker.transaction() as session:
        jobs = [
            (row.job, row.payload) for row in await session.scalars(select(OutboxRow).order_by(OutboxRow.id))
        ]
    assert jobs[0] == ("mail.send", {"template": "verify_email", "to": "ada@example.com", "context": {}})
    assert {"gateway.sync", "subscription.changed"} <= {job for job, _ in jobs}


async def test_a_live_key_needs_a_verified_email(api: Api, worker: Database, clock: ManualClock) -> None:
    """An unverified user may try with test keys; a live key is refused with the remedy."""
    ada = await api.sign_up()
    refused = await api.post("/keys", {"name": "first"}, by=ada)
    assert (refused.status, refused.code) == (403, "email_not_verified")
    assert "request-email-verification" in refused.body["error"]["message"]
    assert (await api.post("/keys", {"name": "try", "environment": "test"}, by=ada)).status == 201
    await api.verify(worker, ada, now=clock.now())
    assert (await api.post("/keys", {"name": "first"}, by=ada)).status == 201


async def test_a_key_is_shown_once_and_kept_as_a_digest(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """The text of a key is in the answer that issues it and nowhere else."""
    ada = await api.sign_up()
    issued = (await api.post("/keys", {"name": "first", "environment": "test"}, by=ada)).data
    name = keys.parse(issued["key"])
    assert (f"org_{name.organization}", f"key_{name.key}") == (ada.organization_id, issued["id"])
    assert issued["state"] == "pending"
    shown = await api.get(f"/keys/{issued['id']}", by=ada)
    assert "key" not in shown.data
    assert issued["key"] not in str(shown.body)
    async with worker.transaction() as session:
        row = (await session.scalars(select(ApiKey))).one()
    assert row.digest == keys.digest(issued["key"])
    assert issued["key"].endswith(row.hint)


async def test_log_in_says_the_same_for_unknown_people_and_wrong_passwords(api: Api) -> None:
    """Nobody learns from log-in who has an account."""
    await api.sign_up()
    wrong = await api.post("/auth/login", {"email": "ada@example.com", "password": "not hers at all"})
    unknown = await api.post("/auth/login", {"email": "eve@example.com", "password": PASSWORD})
    assert wrong.status == unknown.status == 401
    for answer in (wrong, unknown):
        answer.body["error"].pop("request_id")
    assert wrong.body == unknown.body
