"""Corrections of usage: dated entries by operators, never below zero, never changed, seen by their owner."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api, Person

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.usage import service as usage
from farebox.usage.measuring import corrected, corrections_for_periods, measured_for_periods
from farebox.usage.meters import parse


async def operator(api: Api, worker: Database) -> Person:
    """Somebody who is an operator."""
    root = await api.sign_up("root@example.com", "Operations")
    async with worker.transaction() as session:
        await session.execute(text("UPDATE users SET is_operator = true WHERE email = 'root@example.com'"))
    return root


def path(person: Person) -> str:
    """Where an organization's usage is corrected."""
    return f"/admin/organizations/{person.organization_id}/usage-corrections"


async def test_an_entry_is_added_shown_and_reversed_once(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """The quantity moves with the entry and back with its reversal; both stay for the organization to see."""
    ada, root = await api.sign_up(), await operator(api, worker)
    body = {"at": clock.now().isoformat(), "quantity": 250, "reason": "imported from the old system"}
    entry = (await api.post(path(ada), body, by=root)).data
    assert (entry["quantity"], entry["meter"], entry["reverses"]) == (250, "units", None)
    assert entry["actor"] == f"operator {root.user_id}"
    assert await quantity(worker) == 250
    back = (await api.post(f"{path(ada)}/{entry['id']}/reverse", {"reason": "twice"}, by=root)).data
    assert (back["quantity"], back["reverses"]) == (-250, entry["id"])
    assert await quantity(worker) == 0
    for each in (entry, back):
        again = await api.post(f"{path(ada)}/{each['id']}/reverse", {"reason": "again"}, by=root)
        assert (again.status, again.code) == (409, "correction_reversed")
    page = (await api.get("/billing/usage-corrections", by=ada, limit="1")).data
    rest = (await api.get("/billing/usage-corrections", by=ada, cursor=page["next_cursor"])).data
    assert page["items"] + rest["items"] == [back, entry]
    assert (await api.get("/billing/usage-corrections", by=root)).data["items"] == []


async def quantity(worker: Database) -> int:
    """The units of the first organization's running period, corrections included."""
    async with worker.transaction() as session:
        period = await session.scalar(text("SELECT id FROM billing_periods ORDER BY id LIMIT 1"))
        measured = await measured_for_periods(session, [period])
        entered = await corrections_for_periods(session, [period])
    return corrected((), measured[period], entered[period])["units"]


async def test_no_quantity_falls_below_zero(api: Api, worker: Database, clock: ManualClock) -> None:
    """Metered units can be taken away to the last one, and no further; refused requests do not count."""
    ada, root = await api.sign_up(), await operator(api, worker)
    organization = await planting.organization_uuid(worker, ada)
    await planting.usage(worker, organization, clock.now(), key="key_0000000001", requests=7)
    await planting.usage(
        worker,
        organization,
        clock.now(),
        key="key_0000000001",
        requests=5,
        outcome="rate_limited",
        status=429,
    )
    body = {"at": clock.now().isoformat(), "quantity": -8, "reason": "outage"}
    refused = await api.post(path(ada), body, by=root)
    assert (refused.status, refused.code) == (409, "usage_below_zero")
    assert refused.body["error"]["details"] == {"meter": "units", "quantity": 7}
    assert (await api.post(path(ada), {**body, "quantity": -7}, by=root)).status == 201
    assert (await api.post(path(ada), {**body, "quantity": -1}, by=root)).code == "usage_below_zero"
    assert await quantity(worker) == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity": 0}, "quantity"),
        ({"quantity": 10**12 + 1}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": "7"}, "quantity"),
        ({"meter": "gigabytes"}, "meter"),
        ({"at": "2020-01-01T00:00:00Z"}, "at"),
        ({"at": "2026-03-10T12:00:00"}, "at"),
        ({"reason": ""}, "reason"),
        ({"reason": "a\u202eb"}, "reason"),
    ],
)
async def test_bad_input_names_the_field(
    api: Api, worker: Database, clock: ManualClock, change: dict[str, object], field: str
) -> None:
    """Nothing is entered."""
    ada, root = await api.sign_up(), await operator(api, worker)
    body = {"at": clock.now().isoformat(), "quantity": 1, "reason": "why"}
    reply = await api.post(path(ada), {**body, **change}, by=root)
    assert (reply.status, list(reply.fields)) == (422, [field])
    assert (await api.get("/billing/usage-corrections", by=ada)).data["items"] == []


async def test_only_operators_enter_and_nobody_changes(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """An owner is refused; the database refuses the application even where the code would not."""
    ada = await api.sign_up()
    body = {"at": clock.now().isoformat(), "quantity": 1, "reason": "why"}
    assert (await api.post(path(ada), body, by=ada)).code == "operators_only"
    async with worker.transaction() as session:
        rights = await session.execute(
            text(
                "SELECT grantee, privilege_type FROM information_schema.role_table_grants "
                "WHERE table_name = 'usage_corrections' AND grantee <> 'farebox_owner' ORDER BY 1, 2"
            )
        )
        assert {row.privilege_type for row in rights} == {"INSERT", "SELECT"}


async def test_meters_agree_with_the_quantities_that_are_billed(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Two statements over the same rollups, one fine and one coarse, come to the same units and requests."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    for number, (route, status, outcome) in enumerate(
        [("a", 200, "served"), ("b", 404, "served"), ("a", 500, "served"), ("b", 429, "rate_limited")]
    ):
        at = clock.now() + timedelta(hours=number)
        await planting.usage(
            worker, organization, at, key=f"key_{number:010d}", requests=10 + number, route=route,
            status=status, outcome=outcome,
        )  # fmt: skip
    async with worker.transaction() as session:
        period = await session.scalar(text("SELECT id FROM billing_periods"))
        coarse = (await usage.quantities_for_periods(session, [period]))[period].billable
        fine = (await measured_for_periods(session, [period]))[period]
    found = corrected(parse([{"code": "lost", "aggregation": "count", "statuses": ["404"]}]), fine, ())
    assert (found["requests"], found["units"]) == (coarse.requests, coarse.units) == (21, 21)
    assert found["lost"] == 11
