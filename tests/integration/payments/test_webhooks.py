"""Webhooks: believed by their signature, kept before they are answered, harmless in any order and number."""

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.payments.house import House

from farebox.money import Money
from farebox.payments import service
from farebox.payments.service import refund
from farebox_worker.payments import inbox


async def begun(house: House, invoice: Any) -> str:
    """Begin a payment that a browser confirms; returns the intent's id."""
    row, _ = await service.start_intent(house.till, house.organization, actor="test", invoice_id=invoice)
    assert row.provider_id is not None
    return row.provider_id


async def confirm(house: House, intent: str) -> None:
    """Pay in the browser."""
    await house.stripe_asked("POST", f"payment_intents/{intent}/confirm", {"payment_method": "pm_card_visa"})


async def test_a_payment_in_the_browser_settles_the_invoice_by_webhook(house: House) -> None:
    """Nobody of ours was there when the card was confirmed; the webhook tells, and the invoice is paid."""
    invoice = await house.invoice(1900)
    await confirm(house, await begun(house, invoice))
    sent = await house.sandbox_asked("POST", "deliveries/release", {})
    assert set(sent["statuses"]) == {200}
    await inbox.empty(house.till)
    assert await house.owed(invoice) == ("paid", 0)
    assert await house.announced("payment.succeeded") == 1
    saved = (await house.api.get("/payment-methods", by=house.person)).data["items"]
    assert [(card["last4"], card["is_default"]) for card in saved] == [("4242", True)]
    states = await house.rows("SELECT DISTINCT state FROM webhook_events")
    assert {row["state"] for row in states} <= {"done", "ignored"}


async def test_events_shuffled_and_doubled_end_as_once_and_in_order(house: House) -> None:
    """Payments, declines, refunds and disputes: every event three times and shuffled changes nothing more."""
    invoices = [await house.invoice(1000 + number) for number in range(6)]
    for invoice in invoices[:4]:
        await confirm(house, await begun(house, invoice))
    declined = await begun(house, invoices[4])
    with pytest.raises(AssertionError):
        await house.stripe_asked(
            "POST", f"payment_intents/{declined}/confirm", {"payment_method": "pm_card_chargeDeclined"}
        )
    await house.sandbox_asked("POST", "deliveries/release", {"order": "shuffled", "seed": 7, "duplicates": 1})
    await inbox.empty(house.till)
    intents = await house.sandbox_asked("GET", "objects/payment_intent")
    paid = [each for each in intents if each["status"] == "succeeded"]
    await house.stripe_asked("POST", "refunds", {"payment_intent": paid[0]["id"], "amount": "300"})
    await house.sandbox_asked("POST", "disputes", {"charge": paid[1]["latest_charge"]})
    await house.sandbox_asked("POST", "deliveries/release", {"order": "shuffled", "seed": 8, "duplicates": 2})
    await inbox.empty(house.till)
    before = await state(house)
    for event in await house.rows("SELECT event_id FROM webhook_events ORDER BY md5(event_id)"):
        assert await inbox.replay(house.till, "stripe", event["event_id"])
    await inbox.empty(house.till)
    assert await state(house) == before
    assert await house.rows("SELECT 1 FROM webhook_events WHERE state IN ('parked', 'received')") == []
    opened = [minor for _, minor in [await house.owed(each) for each in invoices]]
    assert sorted(opened[:4]) == [0, 0, 300, 1002]
    assert await house.announced("payment.succeeded") == 4


async def state(house: House) -> list[Any]:
    """Everything that money touched."""
    return [
        await house.rows(query)
        for query in (
            "SELECT id, state, refunded_minor, amount_minor FROM payments ORDER BY id",
            "SELECT provider_id, state, amount_minor FROM refunds ORDER BY provider_id",
            "SELECT provider_id, state, withdrawn_minor FROM disputes ORDER BY provider_id",
            "SELECT id, state, paid_minor, disputed_at FROM invoices ORDER BY id",
            "SELECT invoice_id, amount_minor, reversed_minor FROM payment_allocations ORDER BY id",
            "SELECT job, count(*) FROM outbox GROUP BY job ORDER BY job",
        )
    ]


@pytest.mark.parametrize("signature", ["forged", "old"])
async def test_a_forged_or_old_webhook_is_refused_and_not_kept(house: House, signature: str) -> None:
    """400, nothing in the inbox, and the refusal's text shows no secret."""
    await begun(house, await house.invoice(1900))
    [delivery, *_] = await house.sandbox_asked("GET", "deliveries")
    answer = await house.sandbox_asked(
        "POST", "deliveries/send", {"event": delivery["event"], "signature": signature}
    )
    assert answer["status"] == 400
    assert await house.rows("SELECT 1 FROM webhook_events") == []


async def test_a_webhook_without_a_signature_is_refused(house: House) -> None:
    """Anybody can POST; nobody is believed without the secret. The other provider's secret is no help."""
    body = json.dumps(
        {"id": "evt_1", "type": "payment_intent.succeeded", "event": "charge.success", "data": {}}
    )
    for path in ("stripe", "paystack"):
        reply = await house.api.call("POST", f"/webhooks/{path}", raw=body.encode())
        assert (reply.status, reply.code) == (400, "webhook_refused")
    wrong = hmac.new(b"not the key", body.encode(), hashlib.sha512).hexdigest()
    reply = await house.api.call(
        "POST", "/webhooks/paystack", raw=body.encode(), headers={"x-paystack-signature": wrong}
    )
    assert reply.status == 400
    assert await house.rows("SELECT 1 FROM webhook_events") == []


async def test_an_amount_that_was_not_asked_for_is_parked(house: House) -> None:
    """An intent changed at the provider to another amount settles nothing and waits for a person."""
    invoice = await house.invoice(1900)
    intent = await begun(house, invoice)
    await house.stripe_asked("POST", f"payment_intents/{intent}", {"amount": "100"})
    await confirm(house, intent)
    await house.sandbox_asked("POST", "deliveries/release", {})
    await inbox.empty(house.till)
    assert await house.owed(invoice) == ("finalized", 1900)
    row = await house.one("SELECT state, parked FROM payments")
    assert "USD 1.00" in row["parked"]
    events = await house.rows("SELECT kind FROM webhook_events WHERE state = 'parked'")
    assert "payment_intent.succeeded" in {event["kind"] for event in events}


async def test_events_wait_while_the_provider_is_away(house: House) -> None:
    """The inbox holds what cannot be looked at now, and it is done when the provider is back."""
    invoice = await house.invoice(1900)
    await confirm(house, await begun(house, invoice))
    await house.sandbox_asked("POST", "deliveries/release", {})
    await house.fault("down", "/v1/.*", method="*", times=1000)
    await inbox.empty(house.till)
    assert await house.owed(invoice) == ("finalized", 1900)
    await house.sandbox_asked("DELETE", "faults")
    house.clock.advance(timedelta(minutes=5))
    await inbox.empty(house.till)
    assert await house.owed(invoice) == ("paid", 0)


async def test_a_chargeback_reopens_the_invoice_and_a_won_one_pays_it_again(house: House) -> None:
    """What the bank takes is owed again and disputed; when the dispute is won, all is as before."""
    invoice = await house.invoice(1900)
    await house.card()
    row = await service.collect(house.till, house.organization, invoice, actor="test")
    made = await house.sandbox_asked("POST", "disputes", {"charge": row.charge_id})
    await house.sandbox_asked("POST", "deliveries/release", {})
    await inbox.empty(house.till)
    assert (await house.owed(invoice))[1] == 1900
    assert (await house.one("SELECT disputed_at FROM invoices"))["disputed_at"] is not None
    await house.stripe_asked(
        "POST",
        f"disputes/{made['id']}",
        {"evidence[uncategorized_text]": "winning_evidence", "submit": "true"},
    )
    await house.sandbox_asked("POST", "deliveries/release", {"order": "reversed"})
    await inbox.empty(house.till)
    assert await house.owed(invoice) == ("paid", 0)
    assert (await house.one("SELECT disputed_at FROM invoices"))["disputed_at"] is None


async def test_a_refund_reopens_its_invoice_and_one_after_a_credit_note_does_not(house: House) -> None:
    """10.00 of 30.00 given back are owed again; 5.00 more after a credit note are not; 20.00 are too many."""
    invoice = await house.invoice(3000)
    await house.card()
    row = await service.collect(house.till, house.organization, invoice, actor="test")
    await give_back(house, row.id, 1000, reopens=True)
    assert await house.owed(invoice) == ("finalized", 1000)
    await give_back(house, row.id, 500, reopens=False)
    assert await house.owed(invoice) == ("finalized", 1000)
    with pytest.raises(Exception, match="refund"):
        await give_back(house, row.id, 2000, reopens=True)
    await house.sandbox_asked("POST", "deliveries/release", {"duplicates": 1})
    await inbox.empty(house.till)
    assert (await house.one("SELECT refunded_minor FROM payments"))["refunded_minor"] == 1500
    assert await house.owed(invoice) == ("finalized", 1000)


async def give_back(house: House, payment: Any, minor: int, *, reopens: bool) -> None:
    """Refund a part."""
    row = await refund(
        house.till, house.organization, payment, amount=Money("USD", minor), reason="test",
        reopens=reopens, actor="operator test",
    )  # fmt: skip
    assert row.state == "succeeded"
