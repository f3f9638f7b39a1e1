"""The endpoints of cards and operators, and the provider's own page: who may, what is shown, what is kept."""

import re
from datetime import timedelta
from typing import Any

import aiohttp
from tests.integration.payments.house import House
from tests.integration.subscriptions.operators import operator
from tests.support import planting

from farebox_worker.payments import inbox, reconciliation


async def saved(house: House, card: str = "pm_card_visa") -> dict[str, Any]:
    """Save a card as a browser does: begin, confirm at Stripe, keep."""
    begun = (await house.api.post("/payment-methods/setup", by=house.person)).data
    await house.stripe_asked("POST", f"setup_intents/{begun['setup_id']}/confirm", {"payment_method": card})
    reply = await house.api.post("/payment-methods", {"setup_id": begun["setup_id"]}, by=house.person)
    assert reply.status == 201, reply.body
    return dict(reply.data)


async def test_a_card_is_saved_made_default_and_removed(house: House) -> None:
    """The first is charged until another is chosen; a removed one is gone here and at the provider."""
    visa, master = await saved(house), await saved(house, "pm_card_mastercard")
    assert (visa["brand"], visa["last4"], visa["is_default"]) == ("visa", "4242", True)
    chosen = await house.api.post(f"/payment-methods/{master['id']}/default", by=house.person)
    assert chosen.data["is_default"] is True
    gone = await house.api.call("DELETE", f"/payment-methods/{master['id']}", by=house.person)
    assert gone.status == 200
    listed = (await house.api.get("/payment-methods", by=house.person)).data["items"]
    assert [(each["id"], each["is_default"]) for each in listed] == [(visa["id"], True)]
    kept = await house.sandbox_asked("GET", "objects/payment_method")
    assert sorted(each["card"]["last4"] for each in kept if each["customer"]) == ["4242"]
    row = await house.rows("SELECT to_jsonb(m)::text AS whole FROM payment_methods m")
    assert not re.search(r"\d{12,}", re.sub(r'"(id|organization_id)": "[^"]*"', "", row[0]["whole"]))


async def test_another_organization_s_setup_is_not_found(house: House) -> None:
    """Whose SetupIntent it is decides the provider's customer: another's is answered like none."""
    begun = (await house.api.post("/payment-methods/setup", by=house.person)).data
    await house.stripe_asked(
        "POST", f"setup_intents/{begun['setup_id']}/confirm", {"payment_method": "pm_card_visa"}
    )
    eve = await house.api.sign_up("eve@example.com", "Eve")
    for setup in (begun["setup_id"], "seti_nobody"):
        reply = await house.api.post("/payment-methods", {"setup_id": setup}, by=eve)
        assert (reply.status, reply.code) == (404, "not_found")


async def test_only_who_may_pay_saves_cards(house: House) -> None:
    """An admin, who may only look, reads 403 wherever money would move, and nothing is asked of Stripe."""
    bob = await house.api.sign_up("bob@example.com", "Bob")
    await planting.join(house.worker, bob, house.organization, "admin")
    bob = await house.api.log_in(bob.email, house.person.organization_id)
    await house.invoice(1000)
    for method, path, body in (
        ("POST", "/payment-methods/setup", None),
        ("PUT", "/billing/collection", {"collector": "farebox"}),
        ("POST", "/payments", {"account_id": house.person.organization_id, "amount": "1.00"}),
        ("POST", "/billing/initiate-payment", {"amount": "1.00"}),
    ):
        reply = await house.api.call(method, path, json=body, by=bob)
        assert (reply.status, reply.code) == (403, "forbidden"), path
    assert await house.rows("SELECT 1 FROM payments") == []


async def test_an_operator_refunds_and_records_and_a_customer_does_not(house: House) -> None:
    """Refunds and transfers are operators'; a customer who tries reads 403, of his own payment too."""
    await saved(house)
    invoice = await house.invoice(3000)
    body = {"account_id": house.person.organization_id, "amount": "30.00"}
    paid = (await house.api.post("/payments", body, by=house.person)).data
    path = f"/admin/payments/{paid['id']}/refunds"
    assert (await house.api.post(path, {"reason": "x"}, by=house.person)).status == 403
    root = await operator(house.api, house.worker)
    part = {"amount": "10.00", "reason": "goodwill"}
    first, again = [await house.api.post(path, part, by=root, Idempotency_Key="r-1") for _ in range(2)]
    assert (first.status, first.data["id"]) == (201, again.data["id"])
    assert await house.owed(invoice) == ("finalized", 1000)
    reply = await house.api.post(path, {"amount": "20.01", "reason": "x"}, by=root)
    assert (reply.status, reply.code) == (409, "not_refundable")
    transfer = {**body, "amount": "10.00", "reference": "DE-1"}
    assert (await house.api.post("/admin/payments", transfer, by=house.person)).status == 403
    assert (await house.api.post("/admin/payments", transfer, by=root)).status == 201
    reply = await house.api.post("/admin/payments", transfer, by=root)
    assert (reply.status, reply.code) == (409, "payment_reference_used")
    assert await house.owed(invoice) == ("paid", 0)


async def test_an_invoice_is_paid_on_the_provider_s_page(house: House) -> None:
    """Two browsers get one page; a card is typed there; its webhook settles, and the charge id is shown."""
    invoice = await house.invoice(4200)
    named = (await house.api.get("/billing/history", by=house.person)).data["items"][0]["id"]
    pages = [
        (await house.api.post(f"/billing/invoices/{named}/checkout", by=house.person)).data for _ in range(2)
    ]
    assert pages[0]["action_url"] == pages[1]["action_url"]
    async with aiohttp.ClientSession() as browser:
        async with browser.get(pages[0]["action_url"]) as response:
            html = await response.text()
        fields = re.findall(r'<input[^>]*name="([^"]+)"', html)
        typed = {
            "email": "a@b.example", "number": "4242 4242 4242 4242", "expiry": "12 / 40", "cvc": "123",
            "name": "Ada", "postal_code": "10119",
        }  # fmt: skip
        assert sorted(fields) == sorted(typed)
        async with browser.post(pages[0]["action_url"], data=typed, allow_redirects=False) as response:
            assert response.status in {302, 303}, await response.text()
            assert response.headers["Location"].startswith(house.settings.public_url)
    await house.sandbox_asked("POST", "deliveries/release", {"order": "reversed", "duplicates": 1})
    await inbox.empty(house.till)
    assert await house.owed(invoice) == ("paid", 0)
    shown = (await house.api.get(f"/payments/{pages[0]['id']}", by=house.person)).data
    assert (shown["state"], shown["charge_id"][:3]) == ("succeeded", "ch_")
    assert await house.charged() == [4200]
    listed = (await house.api.get(f"/{house.person.organization_id}/payments", by=house.person)).data
    assert [each["id"] for each in listed["items"]] == [pages[0]["id"]]


async def test_yesterday_is_reconciled_once_with_each_provider(house: House) -> None:
    """The daily pass reports yesterday for each provider and does not do it again; Paystack's disputes are
    named as not read.
    """
    house.clock.advance(timedelta(days=1))
    reports = {each.provider: each for each in await reconciliation.due(house.till)}
    assert sorted(reports) == ["paystack", "stripe"]
    assert [each["fault"] for each in reports["paystack"].differences] == ["not_read"]
    assert (reports["stripe"].differences, reports["paystack"].parked) == ([], 0)
    assert await reconciliation.due(house.till) == []
