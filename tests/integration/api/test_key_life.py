"""The life of a key beyond its issue: restrictions, rotation, last use, import, leak reports."""

import hashlib
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api, Person

from farebox.clock import ManualClock
from farebox.db import Database

TEST = {"name": "n", "environment": "test"}


async def issue(api: Api, by: Person, **more: object) -> dict[str, object]:
    """Issue a test key."""
    issued: dict[str, object] = (await api.post("/keys", {**TEST, **more}, by=by)).data
    return issued


async def jobs(worker: Database, name: str) -> list[str]:
    """The keys named by the outbox rows of a job, oldest first."""
    async with worker.transaction() as session:
        rows = await session.execute(
            text("SELECT payload ->> 'key' FROM outbox WHERE job = :job ORDER BY id"), {"job": name}
        )
        return [row[0] for row in rows]


async def test_restrictions_are_kept_in_one_form_and_shown(api: Api) -> None:
    """Networks are shown as they are compared: prefixes cleared, mapped addresses as IPv4, each once."""
    ada = await api.sign_up()
    key = await issue(
        api,
        ada,
        scopes=["GET messages", "* admin*", "GET messages"],
        cidrs=["10.1.2.3/8", "::ffff:203.0.113.0/120", "2001:DB8::1", "10.0.0.0/8"],
    )
    assert key["scopes"] == ["GET messages", "* admin*"]
    assert key["cidrs"] == ["10.0.0.0/8", "203.0.113.0/24", "2001:db8::1/128"]
    shown = (await api.get(f"/keys/{key['id']}", by=ada)).data
    assert (shown["scopes"], shown["cidrs"]) == (key["scopes"], key["cidrs"])
    assert (await api.get("/keys", by=ada)).data["items"] == [shown]


@pytest.mark.parametrize(
    ("member", "wrong"),
    [
        ("scopes", ["get messages"]),
        ("scopes", ["GET"]),
        ("scopes", ["GET a b"]),
        ("scopes", []),
        ("scopes", ["GET messages"] * 65),
        ("cidrs", ["10.0.0.0/33"]),
        ("cidrs", ["10.0.0.0/255.0.0.0"]),
        ("cidrs", ["2001:db8::/129"]),
        ("cidrs", ["localhost"]),
        ("cidrs", ["10.0.0.1\x00"]),
        ("cidrs", []),
    ],
)
async def test_a_restriction_that_could_never_match_is_refused(api: Api, member: str, wrong: object) -> None:
    """The error names the field; no key is issued."""
    ada = await api.sign_up()
    reply = await api.post("/keys", {**TEST, member: wrong}, by=ada)
    assert (reply.status, reply.code) == (422, "invalid_request")
    assert any(field.startswith(member) for field in reply.fields)
    assert (await api.get("/keys", by=ada)).data["items"] == []


async def test_editing_changes_what_is_named_and_nothing_else(api: Api, worker: Database) -> None:
    """A changed restriction is pending until the gateways have it; a changed name is not."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    key = await issue(api, ada, scopes=["GET messages"], metadata={"a": "b"})
    await planting.enforced(worker, organization, 100)
    renamed = (await api.call("PATCH", f"/keys/{key['id']}", by=ada, json={"name": "other"})).data
    assert (renamed["name"], renamed["scopes"], renamed["metadata"], renamed["state"]) == (
        "other", ["GET messages"], {"a": "b"}, "enforced",
    )  # fmt: skip
    async with worker.transaction() as session:
        revision = await session.scalar(text("SELECT max(edge_revision) FROM organizations"))
    await planting.enforced(worker, organization, revision)
    freed = (await api.call("PATCH", f"/keys/{key['id']}", by=ada, json={"scopes": None})).data
    assert (freed["name"], freed["scopes"], freed["state"]) == ("other", None, "pending")
    nothing = await api.call("PATCH", f"/keys/{key['id']}", by=ada, json={"name": None})
    assert nothing.fields == {"name": "must not be null; leave it out to keep it"}


async def test_what_is_over_stays_over(api: Api, clock: ManualClock) -> None:
    """Neither an expired nor a revoked key is renewed by an edit or by a rotation."""
    ada = await api.sign_up()
    expiring = await issue(api, ada, expires_at=(clock.now() + timedelta(hours=1)).isoformat())
    revoked = await issue(api, ada)
    await api.call("DELETE", f"/keys/{revoked['id']}", by=ada)
    clock.advance(timedelta(minutes=50))
    ada = await api.log_in(ada.email, ada.organization_id)
    clock.advance(timedelta(minutes=10))
    later = (clock.now() + timedelta(days=1)).isoformat()
    for key in (expiring, revoked):
        for reply in (
            await api.call("PATCH", f"/keys/{key['id']}", by=ada, json={"expires_at": later}),
            await api.post(f"/keys/{key['id']}/rotate", {}, by=ada),
        ):
            assert (reply.status, reply.code) == (409, "key_is_over")
    assert (await api.get(f"/keys/{expiring['id']}", by=ada)).data["state"] == "expired"


async def test_rotation_gives_a_successor_and_a_grace(api: Api, clock: ManualClock) -> None:
    """The successor is like the old key; the old one ends at its grace and never gets a later end again."""
    ada = await api.sign_up()
    old = await issue(api, ada, scopes=["GET messages"], cidrs=["10.0.0.0/8"], metadata={"team": "one"})
    rotated = (await api.post(f"/keys/{old['id']}/rotate", {"grace_seconds": 3600}, by=ada)).data
    assert rotated["key"] != old["key"]
    for member in ("name", "environment", "scopes", "cidrs", "metadata"):
        assert rotated[member] == old[member]
    assert rotated["replaces"] == old["id"]
    ends = rotated["replaced"]["expires_at"]
    assert datetime.fromisoformat(ends) == clock.now() + timedelta(hours=1)
    assert (rotated["replaced"]["replaced_by"], rotated["replaced"]["state"]) == (rotated["id"], "pending")
    for wanted in (None, (clock.now() + timedelta(hours=2)).isoformat()):
        reply = await api.call("PATCH", f"/keys/{old['id']}", by=ada, json={"expires_at": wanted})
        assert (reply.status, reply.code) == (409, "key_is_over")
    again = await api.post(f"/keys/{old['id']}/rotate", {}, by=ada)
    assert (again.status, again.code) == (409, "key_already_rotated")
    assert again.body["error"]["details"] == {"replaced_by": rotated["id"]}


async def test_a_rotated_key_never_outlives_its_first_expiry(api: Api, clock: ManualClock) -> None:
    """A grace longer than the key's life is cut to it; the successor lives as long as the old was given."""
    ada = await api.sign_up()
    first = clock.now() + timedelta(hours=2)
    old = await issue(api, ada, expires_at=first.isoformat())
    clock.advance(timedelta(minutes=30))
    rotated = (await api.post(f"/keys/{old['id']}/rotate", {"grace_seconds": 86_400}, by=ada)).data
    assert datetime.fromisoformat(rotated["replaced"]["expires_at"]) == first
    assert datetime.fromisoformat(rotated["expires_at"]) == clock.now() + timedelta(hours=2)


async def test_a_rotation_without_a_grace_revokes_at_once(api: Api) -> None:
    """Nothing but the successor is left."""
    ada = await api.sign_up()
    old = await issue(api, ada)
    rotated = (await api.post(f"/keys/{old['id']}/rotate", {"grace_seconds": 0}, by=ada)).data
    assert (rotated["replaced"]["state"], rotated["replaced"]["revoked_reason"]) == ("revoking", "rotated")


async def test_members_change_their_own_keys_alone(api: Api, worker: Database, clock: ManualClock) -> None:
    """A member edits and rotates what he issued; another's key is the owners' and admins'."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    eve = await api.sign_up("eve@example.com", "Elsewhere")
    await planting.join(worker, eve, organization, "member")
    member = await api.log_in("eve@example.com", ada.organization_id)
    hers, his = await issue(api, member), await issue(api, ada)
    assert (await api.call("PATCH", f"/keys/{hers['id']}", by=member, json={"name": "x"})).status == 200
    assert (await api.post(f"/keys/{hers['id']}/rotate", {}, by=member)).status == 201
    assert (await api.call("PATCH", f"/keys/{his['id']}", by=member, json={"name": "x"})).code == "forbidden"
    assert (await api.post(f"/keys/{his['id']}/rotate", {}, by=member)).code == "forbidden"
    assert (await api.call("PATCH", f"/keys/{hers['id']}", by=ada, json={"name": "y"})).status == 200


async def test_last_use_is_the_newest_quarter_hour(api: Api, worker: Database, clock: ManualClock) -> None:
    """Across routes and outcomes; a key that was never used has none."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    used, unused = await issue(api, ada), await issue(api, ada)
    for hours, route in ((3, "messages"), (1, "files"), (2, "things")):
        at = clock.now() - timedelta(hours=hours)
        await planting.usage(worker, organization, at, key=str(used["id"]), requests=1, route=route)
    shown = {key["id"]: key["last_used_at"] for key in (await api.get("/keys", by=ada)).data["items"]}
    assert datetime.fromisoformat(shown[used["id"]]) == clock.now() - timedelta(hours=1)
    assert shown[unused["id"]] is None


async def test_a_leak_report_revokes_at_once_and_tells_nothing(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """A known and an unknown text are answered alike; the known one is revoked, its owner is told, once."""
    ada = await api.sign_up()
    key = await issue(api, ada)
    answers = [
        await api.post("/keys/report-leak", {"key": str(found), "found_at": "https://example.com/gist/1"})
        for found in (key["key"], str(key["key"])[:-1] + "x", key["key"])
    ]
    assert {reply.status for reply in answers} == {202}
    assert len({str(reply.body) for reply in answers}) == 1
    shown = (await api.get(f"/keys/{key['id']}", by=ada)).data
    assert (shown["state"], shown["revoked_reason"]) == ("revoking", "leaked")
    assert await jobs(worker, "key.leaked") == [str(key["id"])[4:]]
    async with worker.transaction() as session:
        pushed = await session.scalar(text("SELECT count(*) FROM outbox WHERE job = 'gateway.sync'"))
        kept = (await session.execute(text("SELECT * FROM outbox UNION ALL SELECT * FROM outbox"))).all()
    assert pushed == 3, "the organization's start, the key's issue, its revocation"
    assert str(key["key"]) not in str(kept)


async def test_keys_issued_elsewhere_are_taken_over_by_their_digest(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """All or none, by operators alone; a digest is one account's, whoever imports it."""
    ada = await api.sign_up()
    root = await api.sign_up("root@example.com", "Operations")
    path = f"/admin/organizations/{ada.organization_id}/keys/import"
    texts = [f"sk_live_{number:064x}" for number in range(3)]
    rows = [{"sha256": hashlib.sha256(each.encode()).hexdigest(), "name": each[-3:]} for each in texts]
    assert (await api.post(path, {"keys": rows}, by=root)).code == "operators_only"
    async with worker.transaction() as session:
        await session.execute(
            text("UPDATE users SET is_operator = true WHERE email = :email"), {"email": root.email}
        )
    imported = (await api.post(path, {"keys": rows[:2]}, by=root)).data["ids"]
    shown = {key["id"]: key for key in (await api.get("/keys", by=ada)).data["items"]}
    assert set(shown) == set(imported)
    assert {(key["origin"], key["state"], key["environment"]) for key in shown.values()} == {
        ("imported", "pending", "live")
    }
    again = await api.post(path, {"keys": [rows[2], rows[0], rows[1]]}, by=root)
    assert (again.code, again.body["error"]["details"]) == ("key_already_known", {"rows": [1, 2]})
    twice = await api.post(path, {"keys": [rows[2], rows[2]]}, by=root)
    assert (twice.code, twice.body["error"]["details"]) == ("key_already_known", {"rows": [0, 1]})
    assert len((await api.get("/keys", by=ada)).data["items"]) == 2
    elsewhere = f"/admin/organizations/{root.organization_id}/keys/import"
    assert (await api.post(elsewhere, {"keys": rows[:1]}, by=root)).code == "key_already_known"
    nobody = "/admin/organizations/org_0000000000/keys/import"
    assert (await api.post(nobody, {"keys": rows[2:]}, by=root)).status == 404
    dry = await api.call("POST", path, by=root, json={"keys": rows[2:]}, headers={"Dry-Run": "true"})
    assert dry.status == 201
    assert len((await api.get("/keys", by=ada)).data["items"]) == 2
    await api.post("/keys/report-leak", {"key": texts[0]})
    leaked = (await api.get(f"/keys/{imported[0]}", by=ada)).data
    assert leaked["revoked_reason"] == "leaked"
