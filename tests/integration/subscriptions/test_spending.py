"""A customer's cap and thresholds: over HTTP, at the gateways' door, and told once."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from tests.integration.subscriptions.operators import operator
from tests.support import planting
from tests.support.api_client import Api, Person

from farebox.clock import ManualClock
from farebox.db import Database
from farebox_worker import snapshot, translate
from farebox_worker.subscriptions import alerts, due

CAP = "/billing/spending-cap"


async def consumer(worker: Database, person: Person, clock: ManualClock) -> dict[str, Any]:
    """The plugins of the organization's consumer, as they go to the gateways."""
    organization = await planting.organization_uuid(worker, person)
    async with worker.transaction() as session:
        [facts] = await snapshot.organizations(session, [organization], now=clock.now())
    found: dict[str, Any] = translate.organization(facts, now=clock.now())[0].body["plugins"]
    return found


async def told(worker: Database) -> list[dict[str, Any]]:
    """Every event of a passed threshold."""
    async with worker.transaction() as session:
        rows = await session.scalars(
            text("SELECT payload FROM outbox WHERE job = 'usage.threshold' ORDER BY id")
        )
        return [dict(row) for row in rows]


async def test_a_cap_is_a_hard_quota_at_the_gateways(api: Api, worker: Database, clock: ManualClock) -> None:
    """Set, it follows the plan's price; taken away, the plan's quota holds again."""
    ada = await api.sign_up()
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    assert "quota" not in (await consumer(worker, ada, clock))["farebox-limit"]
    shown = (await api.call("PUT", CAP, by=ada, json={"amount": "60.00"})).data
    assert (shown["cap"]["minor"], shown["units"]) == (6000, 15_000)
    limit = (await consumer(worker, ada, clock))["farebox-limit"]
    assert limit["quota"] == {"units": 15_000, "kind": "hard"}
    for amount, code in (("9.99", "cap_too_low"), ("0", "cap_too_low"), ("60.001", "invalid_request"),
                         ("-1", "invalid_request"), ("1e3", "invalid_request"), ("٤٢", "invalid_request"),
                         ("", "invalid_request")):  # fmt: skip
        assert (await api.call("PUT", CAP, by=ada, json={"amount": amount})).code == code
    assert (await api.get(CAP, by=ada)).data["cap"]["decimal"] == "60.00"
    assert (await api.call("DELETE", CAP, by=ada)).data["cap"] is None
    assert "quota" not in (await consumer(worker, ada, clock))["farebox-limit"]


async def test_suspended_and_paused_are_refused_at_the_gateways(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """What the edge knows is the consumer's state; a past-due or cancelled subscription still serves."""
    root, ada = await operator(api, worker), await api.sign_up()
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    act = f"/admin/organizations/{ada.organization_id}/subscription/act"

    async def state() -> str:
        return str((await consumer(worker, ada, clock))["farebox-auth"]["state"])

    for action, subscription, edge in (
        ("suspend", "suspended", "suspended"),
        ("suspend", "suspended", "suspended"),
        ("reinstate", "active", "active"),
        ("pause", "paused", "suspended"),
        ("suspend", "suspended", "suspended"),
        ("reinstate", "paused", "suspended"),
        ("resume", "active", "active"),
        ("cancel", "cancelled", "active"),
        ("suspend", "suspended", "suspended"),
        ("reinstate", "cancelled", "active"),
        ("undo_cancel", "active", "active"),
    ):
        shown = (await api.post(act, {"action": action, "reason": "test"}, by=root)).data
        assert (action, shown["state"], await state()) == (action, subscription, edge)
    await api.post(act, {"action": "suspend", "reason": "unpaid"}, by=root)
    refused = await api.post("/billing/subscription/change", {"plan": "pro"}, by=ada)
    assert (refused.status, refused.code) == (409, "subscription_state")
    fled = (await api.post(act, {"action": "cancel_now", "reason": "asked"}, by=root)).data
    assert (fled["plan"]["code"], fled["state"], await state()) == ("free", "suspended", "suspended")
    past = (await api.get(f"/admin/organizations/{ada.organization_id}/subscription/history", by=root)).data
    assert past["items"][0]["actor"].startswith("operator user_")


async def test_an_override_takes_the_plans_place(api: Api, worker: Database, clock: ManualClock) -> None:
    """An operator's limits hold on whatever plan, until taken away."""
    root, ada = await operator(api, worker), await api.sign_up()
    path = f"/admin/organizations/{ada.organization_id}/limits"
    mine = {"limits": [{"name": "minute", "requests": 5, "window": 60}], "reason": "abuse"}
    await api.call("PUT", path, by=root, json={**mine, "quota": {"units": 7, "kind": "hard"}})
    limit = (await consumer(worker, ada, clock))["farebox-limit"]
    assert (limit["limits"], limit["quota"]) == (mine["limits"], {"units": 7, "kind": "hard"})
    assert (await api.get("/billing/current", by=ada)).data["quota"] == {"units": 7, "kind": "hard"}
    await api.call("PUT", path, by=root, json={"reason": "over"})
    assert not {"limits", "quota"} & (await consumer(worker, ada, clock))["farebox-limit"].keys()


async def test_a_threshold_tells_once_in_a_period(api: Api, worker: Database, clock: ManualClock) -> None:
    """However often and however many at once look, and anew in the next period.

    With a cap of 60 dollars the quota that holds is the 15,000 units that it lets through.
    """
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    wanted = [
        {"kind": "quota_percent", "value": 80},
        {"kind": "quota_percent", "value": 90},
        {"kind": "cap_percent", "value": 20},
        {"kind": "amount", "value": 1001},
    ]
    await api.call("PUT", "/billing/alerts", by=ada, json={"thresholds": [*wanted, wanted[0]]})
    key = (await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)).data["id"]
    await planting.usage(worker, organization, clock.now(), key=key, requests=8_000)
    assert sum(await asyncio.gather(*(alerts.run(worker, clock) for _ in range(4)))) == 1
    assert await told(worker) == [
        {
            "organization": ada.organization_id,
            "threshold": {"kind": "quota_percent", "value": 80},
            "period_start": "2026-03-10T12:00:00+00:00",
            "currency": "USD",
            "used": 8_000,
            "of": 10_000,
        }
    ]
    await api.call("PUT", CAP, by=ada, json={"amount": "60.00"})
    await planting.usage(worker, organization, clock.now(), key=key, requests=2_500, status=201)
    assert await alerts.run(worker, clock) == 2
    assert await alerts.run(worker, clock) == 0
    shown = (await api.get("/billing/alerts", by=ada)).data["thresholds"]
    fired = {(each["kind"], each["value"]): each["fired_at"] for each in shown}
    assert fired.pop(("quota_percent", 90)) is None
    assert set(fired.values()) == {"2026-03-10T12:00:00Z"}
    shown = (await api.call("PUT", "/billing/alerts", by=ada, json={"thresholds": wanted[:1]})).data
    assert [(each["value"], each["fired_at"]) for each in shown["thresholds"]] == [
        (80, "2026-03-10T12:00:00Z")
    ]
    clock.instant = datetime(2026, 4, 10, 1, tzinfo=UTC)
    ada = await api.log_in(ada.email, ada.organization_id)
    await api.get("/billing/subscription", by=ada)
    await planting.usage(worker, organization, clock.now(), key=key, requests=12_000, status=202)
    await due.run(worker, clock)
    assert await alerts.run(worker, clock) == 1


async def test_add_ons_count_in_caps_and_thresholds(api: Api, worker: Database, clock: ManualClock) -> None:
    """Two pieces of 5 dollars leave 20 dollars of a cap of 30, at a cent 2,000 units.

    A plan that prices other meters too is capped by its units; what its meters came to passes thresholds.
    """
    root, ada = await operator(api, worker), await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    priced = {"model": "per_unit", "description": "x"}
    plan = {
        "code": "metered", "name": "Metered", "meters": [{"code": "calls", "aggregation": "count"}],
        "charges": [{"code": "u", "unit_price": "0.01", **priced},
                    {"code": "c", "unit_price": "0.02", "meter": "calls", **priced}],
    }  # fmt: skip
    assert (await api.post("/admin/plans", plan, by=root)).status == 201
    await api.post("/admin/plan-versions/metered-1/publish", {}, by=root)
    five = {"code": "five", "model": "flat", "description": "Five", "amount": "5.00"}
    more = {"code": "five", "name": "Five", "charges": [five]}
    await api.post("/admin/add-ons", more, by=root)
    await api.post("/billing/subscription/change", {"plan": "metered"}, by=ada)
    await api.call("PUT", "/billing/subscription/add-ons", by=ada, json={"add_on": "five", "quantity": 2})
    shown = (await api.call("PUT", CAP, by=ada, json={"amount": "30.00"})).data
    assert shown["units"] == 2_000
    hard = {"units": 2_000, "kind": "hard"}
    assert (await consumer(worker, ada, clock))["farebox-limit"]["quota"] == hard
    assert (await api.get("/billing/current", by=ada)).data["quota"] == hard
    await api.call(
        "PUT", "/billing/alerts", by=ada, json={"thresholds": [{"kind": "amount", "value": 13_00}]}
    )
    assert await alerts.run(worker, clock) == 0
    key = (await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)).data["id"]
    await planting.usage(worker, organization, clock.now(), key=key, requests=100)
    assert await alerts.run(worker, clock) == 1
    [event] = await told(worker)
    assert (event["used"], event["of"], event["currency"]) == (13_00, 13_00, "USD")
    assert (await api.get("/billing/current", by=ada)).data["total"]["minor"] == 13_00
