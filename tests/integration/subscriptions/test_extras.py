"""What an organization has beside its plan: coupons, credits, entitlements; over HTTP and by command."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from tests.integration.subscriptions.operators import operator
from tests.support import planting
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.credits import service as credits_
from farebox.db import Database
from farebox.organizations import test_clock


async def test_a_coupon_is_offered_redeemed_and_withdrawn(api: Api, worker: Database) -> None:
    """It lowers the current bill at once; a withdrawn one is kept by who has it and redeemed by nobody."""
    root, ada = await operator(api, worker), await api.sign_up()
    bob = await api.sign_up("bob@example.com", "Bob's")
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    half: dict[str, Any] = {"code": "HALF", "name": "Half", "percent": "50", "periods": 2}
    assert (await api.post("/admin/coupons", half, by=ada)).code == "operators_only"
    assert (await api.post("/admin/coupons", half, by=root)).data["items"][0]["redeemed"] == 0
    taken = await api.post("/admin/coupons", half, by=root)
    assert (taken.status, taken.body["error"]["details"]["fields"][0]["field"]) == (422, "code")
    for wrong in ({"percent": None}, {"amount_minor": 5}, {"percent": "101"}, {"percent": "0"}):
        refused = await api.post("/admin/coupons", {**half, "code": "X", **wrong}, by=root)
        assert refused.status == 422, wrong
    assert (await api.post("/billing/coupons", {"code": "NONE"}, by=ada)).code == "coupon_unknown"
    redeemed = (await api.post("/billing/coupons", {"code": "HALF"}, by=ada)).data["items"]
    assert [(each["code"], each["periods_left"]) for each in redeemed] == [("HALF", 2)]
    assert (await api.post("/billing/coupons", {"code": "HALF"}, by=ada)).code == "coupon_used"
    bill = (await api.get("/billing/current", by=ada)).data
    assert [(line["kind"], line["amount"]["minor"]) for line in bill["lines"]][-1] == (
        "discount", -bill["total"]["minor"],
    )  # fmt: skip
    assert (await api.call("DELETE", "/admin/coupons/HALF", by=root)).status == 200
    theirs = f"/admin/organizations/{bob.organization_id}/coupons"
    assert (await api.post(theirs, {"code": "HALF"}, by=root)).code == "coupon_unknown"
    assert len((await api.get("/billing/coupons", by=ada)).data["items"]) == 1


async def test_credit_pays_the_bill_and_expires_in_its_own_time(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """An organization with a test clock loses what expired when its own time comes there, others keep it."""
    root, ada = await operator(api, worker), await api.sign_up()
    bob = await api.sign_up("bob@example.com", "Bob's")
    body = {"kind": "prepaid", "amount_minor": 700, "currency": "USD", "reason": "bought",
            "expires_at": "2026-03-20T00:00:00Z"}  # fmt: skip
    for who in (ada, bob):
        path = f"/admin/organizations/{who.organization_id}/credits"
        assert (await api.post(path, body, by=root)).data["left"][0]["minor"] == 700
    past = {**body, "expires_at": "2026-03-01T00:00:00Z"}
    assert (await api.post(path, past, by=root)).code == "invalid_request"
    organization = await planting.organization_uuid(worker, ada)
    async with worker.transaction() as session:
        await session.execute(
            text("UPDATE organizations SET test_mode = true WHERE id = :id"), {"id": organization}
        )
        await test_clock.advance(session, organization, to=datetime(2026, 3, 19, tzinfo=UTC), clock=clock)
    clock.advance(timedelta(seconds=1))
    async with worker.transaction() as session:
        assert await credits_.expire(session, now=clock.now()) == 0
        await test_clock.advance(session, organization, by=timedelta(days=2), clock=clock)
    clock.advance(timedelta(seconds=1))
    async with worker.transaction() as session:
        assert await credits_.expire(session, now=clock.now()) == 1
        assert await credits_.expire(session, now=clock.now()) == 0
    ada = await api.log_in(ada.email, ada.organization_id)
    [grant] = (await api.get("/billing/credits", by=ada)).data["items"]
    assert (grant["remaining"]["minor"], grant["amount"]["minor"]) == (0, 700)
    [kept] = (await api.get("/billing/credits", by=bob)).data["items"]
    assert kept["remaining"]["minor"] == 700
    gone = await api.call("DELETE", f"{path}/{kept['id']}", by=root)
    assert gone.data["left"] == []
    foreign = await api.call("DELETE", f"{path}/{grant['id']}", by=root)
    assert foreign.status == 404


async def test_entitlements_are_merged_and_checked(api: Api, worker: Database) -> None:
    """The plan's, an add-on's over it, an operator's over both; each with its type and what says so."""
    root, ada = await operator(api, worker), await api.sign_up()
    flat = {"model": "flat", "description": "x", "amount": "1"}
    plan = {"code": "gold", "name": "Gold", "charges": [{"code": "g", **flat}],
            "entitlements": {"sso": False, "seats": 5, "support": "email"}}  # fmt: skip
    await api.post("/admin/plans", plan, by=root)
    await api.post("/admin/plan-versions/gold-1/publish", {}, by=root)
    more = {"code": "more", "name": "More", "charges": [{"code": "m", **flat}], "entitlements": {"seats": 9}}
    await api.post("/admin/add-ons", more, by=root)
    await api.post("/billing/subscription/change", {"plan": "gold"}, by=ada)
    await api.call("PUT", "/billing/subscription/add-ons", by=ada, json={"add_on": "more", "quantity": 1})
    limits = f"/admin/organizations/{ada.organization_id}/limits"
    granted = {"entitlements": {"sso": True}, "reason": "pilot"}
    assert (await api.call("PUT", limits, by=root, json=granted)).data["entitlements"] == {"sso": True}
    items = (await api.get("/entitlements", by=ada)).data["items"]
    assert [(each["name"], each["type"], each["value"], each["source"]) for each in items] == [
        ("seats", "number", 9, "more-1"),
        ("sso", "boolean", True, "override"),
        ("support", "text", "email", "plan"),
    ]
    for name, has, value in (("sso", True, True), ("seats", True, 9), ("nothing", False, None)):
        found = (await api.get(f"/entitlements/{name}", by=ada)).data
        assert found == {"name": name, "granted": has, "value": value}
