"""Add-ons on a subscription: one quantity at every instant, widening the limits, going along."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from tests.integration.subscriptions.operators import operator
from tests.integration.subscriptions.test_spending import consumer
from tests.support.api_client import Api

from farebox.add_ons.model import SubscriptionAddOn
from farebox.clock import ManualClock
from farebox.db import Database

PATH = "/billing/subscription/add-ons"
MORE: dict[str, Any] = {
    "code": "more",
    "name": "More requests",
    "charges": [{"code": "more", "model": "flat", "description": "1,000 more", "amount": "5.00"}],
    "quota_units": 1000,
    "limits": [{"name": "minute", "requests": 120, "window": 60}],
}


async def rows(worker: Database) -> list[SubscriptionAddOn]:
    """Every row in time."""
    async with worker.transaction() as session:
        ordered = select(SubscriptionAddOn).order_by(SubscriptionAddOn.from_at, SubscriptionAddOn.id)
        return list(await session.scalars(ordered))


async def test_pieces_widen_limits_and_go_along(api: Api, worker: Database, clock: ManualClock) -> None:
    """The gateways get the wider quota; a change of plan takes the pieces along; the free plan does not."""
    root, ada = await operator(api, worker), await api.sign_up()
    assert (await api.post("/admin/add-ons", MORE, by=ada)).code == "operators_only"
    assert (await api.post("/admin/add-ons", MORE, by=root)).data["version"] == "more-1"
    assert [each["code"] for each in (await api.get("/add-ons")).data["items"]] == ["more"]
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    unknown = await api.call("PUT", PATH, by=ada, json={"add_on": "less", "quantity": 1})
    assert unknown.code == "unknown_add_on"
    for quantity in (2, 2, 3):
        clock.advance(timedelta(minutes=1))
        await api.call("PUT", PATH, by=ada, json={"add_on": "more", "quantity": quantity})
    first, second = await rows(worker)
    assert (first.quantity, second.quantity, first.to_at, second.to_at) == (2, 3, second.from_at, None)
    limit = (await consumer(worker, ada, clock))["farebox-limit"]
    assert limit["quota"] == {"units": 13_000, "kind": "soft"}
    assert limit["limits"] == MORE["limits"]
    await api.post("/billing/subscription/change", {"plan": "pro"}, by=ada)
    *_, ended, carried = await rows(worker)
    assert (ended.to_at, carried.quantity, carried.to_at) == (carried.from_at, 3, None)
    assert (await api.get(PATH, by=ada)).data["items"][0]["quantity"] == 3
    await api.post("/billing/subscription/cancel", {"when": "now"}, by=ada)
    assert (await api.get(PATH, by=ada)).data["items"] == []
    assert all(row.to_at is not None for row in await rows(worker))


async def test_a_withdrawn_add_on_is_kept_but_not_sold(api: Api, worker: Database) -> None:
    """Who has pieces keeps them; nobody gets new ones."""
    root, ada = await operator(api, worker), await api.sign_up()
    bob = await api.sign_up("bob@example.com", "Bob's")
    await api.post("/admin/add-ons", MORE, by=root)
    await api.call("PUT", PATH, by=ada, json={"add_on": "more", "quantity": 1})
    assert (await api.call("DELETE", "/admin/add-ons/more", by=root)).status == 200
    assert (await api.get("/add-ons")).data["items"] == []
    refused = await api.call("PUT", PATH, by=bob, json={"add_on": "more", "quantity": 1})
    assert refused.code == "unknown_add_on"
    kept = await api.call("PUT", PATH, by=ada, json={"add_on": "more", "quantity": 4})
    assert kept.data["items"][0]["quantity"] == 4
    euros = {**MORE, "code": "euros", "currency": "EUR"}
    await api.post("/admin/add-ons", euros, by=root)
    wrong = await api.call("PUT", PATH, by=ada, json={"add_on": "euros", "quantity": 1})
    assert (wrong.code, "USD" in wrong.body["error"]["message"]) == ("unknown_add_on", True)
