"""What each role may do, cell by cell, over HTTP; and what happens when a membership ends."""

from typing import Any

import pytest
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api, Person

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.organizations.permissions import MATRIX, Permission, Role

REQUESTS: dict[Permission, tuple[str, str, Any]] = {
    Permission.VIEW_ORGANIZATION: ("GET", "/organization", None),
    Permission.EDIT_ORGANIZATION: ("PATCH", "/organization", {"name": "New"}),
    Permission.VIEW_DASHBOARD: ("GET", "/dashboard/stats", None),
    Permission.VIEW_KEYS: ("GET", "/keys", None),
    Permission.CREATE_KEYS: ("POST", "/keys", {"name": "n", "environment": "test"}),
    Permission.VIEW_OWN_USAGE: ("GET", "/billing/usage", None),
    Permission.VIEW_BILLING: ("GET", "/billing/history", None),
    Permission.CHANGE_PLAN: ("POST", "/billing/upgrade", {"plan": "pro"}),
}


async def colleague(api: Api, worker: Database, owner: Person, role: str) -> Person:
    """Somebody else with a role in the owner's organization, logged in to it."""
    other = await api.sign_up(f"{role}-colleague@example.com", "Elsewhere")
    await planting.join(worker, other, await planting.organization_uuid(worker, owner), role)
    return await api.log_in(other.email, owner.organization_id)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("permission", list(REQUESTS))
async def test_each_cell_of_the_matrix_holds(
    api: Api, worker: Database, role: Role, permission: Permission
) -> None:
    """A role may do exactly what the matrix says; a refusal names role and permission."""
    owner = await api.sign_up()
    person = await colleague(api, worker, owner, role.value)
    method, path, body = REQUESTS[permission]
    reply = await api.call(method, path, by=person, json=body)
    if role in MATRIX[permission]:
        assert reply.status < 300, reply.body
    else:
        assert (reply.status, reply.code) == (403, "forbidden")
        assert reply.body["error"]["details"] == {"role": role.value, "permission": permission.value}


@pytest.mark.parametrize("role", list(Role))
async def test_members_revoke_their_own_keys_only(api: Api, worker: Database, role: Role) -> None:
    """Everyone revokes what he issued; owners and admins also what others did."""
    owner = await api.sign_up()
    person = await colleague(api, worker, owner, role.value)
    body = {"name": "n", "environment": "test"}
    own = (await api.post("/keys", body, by=person)).data["id"]
    others = (await api.post("/keys", body, by=owner)).data["id"]
    assert (await api.call("DELETE", f"/keys/{own}", by=person)).data["state"] == "revoking"
    reply = await api.call("DELETE", f"/keys/{others}", by=person)
    assert reply.status == (200 if role in MATRIX[Permission.REVOKE_ALL_KEYS] else 403)


@pytest.mark.parametrize("role", list(Role))
async def test_members_see_the_usage_of_their_own_keys(
    api: Api, worker: Database, clock: ManualClock, role: Role
) -> None:
    """Owners and admins see all usage; a member what the keys that he created used, nothing of others'."""
    owner = await api.sign_up()
    person = await colleague(api, worker, owner, role.value)
    organization = await planting.organization_uuid(worker, owner)
    body = {"name": "n", "environment": "test"}
    own = (await api.post("/keys", body, by=person)).data["id"]
    others = (await api.post("/keys", body, by=owner)).data["id"]
    await planting.usage(worker, organization, clock.now(), key=own, requests=3)
    await planting.usage(worker, organization, clock.now(), key=others, requests=40)
    seen = (await api.get("/billing/usage", by=person)).data
    sees_all = role in MATRIX[Permission.VIEW_ALL_USAGE]
    assert seen["scope"] == ("organization" if sees_all else "own_keys")
    assert seen["total"]["requests"] == (43 if sees_all else 3)
    assert {entry["key"] for entry in seen["by_key"]} == ({own, others} if sees_all else {own})
    assert (await api.get(f"/billing/usage?key={others}", by=person)).status == (200 if sees_all else 404)
    stats = (await api.get("/dashboard/stats", by=person)).data
    assert (stats["requests"], stats["active_keys"]) == ((43, 2) if sees_all else (3, 1))


async def test_a_token_dies_with_the_membership(api: Api, worker: Database) -> None:
    """The role is looked up at each request: who is removed is out at once, who is demoted is less."""
    owner = await api.sign_up()
    admin = await colleague(api, worker, owner, "admin")
    assert (await api.get("/billing/history", by=admin)).status == 200
    async with worker.transaction() as session:
        await session.execute(
            text("UPDATE memberships SET role = 'member' WHERE user_id = :user AND role = 'admin'"),
            {"user": admin.user_uuid},
        )
    assert (await api.get("/billing/history", by=admin)).code == "forbidden"
    async with worker.transaction() as session:
        await session.execute(
            text("DELETE FROM memberships WHERE user_id = :user AND role = 'member'"),
            {"user": admin.user_uuid},
        )
    assert (await api.get("/keys", by=admin)).code == "no_organization"


async def test_a_closed_organization_opens_to_nobody(api: Api, worker: Database) -> None:
    """Its members' tokens enter it no more, and it is in no list."""
    owner = await api.sign_up()
    async with worker.transaction() as session:
        await session.execute(text("UPDATE organizations SET state = 'closed'"))
    assert (await api.get("/keys", by=owner)).code == "no_organization"
    assert (await api.get("/organizations", by=owner)).data["items"] == []


async def test_one_user_in_several_organizations(api: Api) -> None:
    """A second organization has its own keys; a token acts in one of them, and switching gives another."""
    ada = await api.sign_up()
    second = (await api.post("/organizations", {"name": "Second", "time_zone": "Asia/Tokyo"}, by=ada)).data
    await api.post("/keys", {"name": "first's", "environment": "test"}, by=ada)
    switched = await api.post("/auth/switch-organization", {"organization_id": second["id"]}, by=ada)
    there = Person(ada.email, ada.user_id, second["id"], switched.data["access_token"])
    assert (await api.get("/keys", by=there)).data["items"] == []
    assert len((await api.get("/keys", by=ada)).data["items"]) == 1
    names = [
        (entry["name"], entry["role"]) for entry in (await api.get("/organizations", by=ada)).data["items"]
    ]
    assert names == [("Engines", "owner"), ("Second", "owner")]


async def test_a_user_has_a_bounded_number_of_organizations(api: Api) -> None:
    """The bound holds, and says what it is."""
    ada = await api.sign_up()
    for number in range(19):
        assert (await api.post("/organizations", {"name": f"N{number}"}, by=ada)).status == 201
    reply = await api.post("/organizations", {"name": "one too many"}, by=ada)
    assert (reply.code, reply.body["error"]["details"]) == ("too_many_organizations", {"maximum": 20})
