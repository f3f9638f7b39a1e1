"""Charging: the money that the provider has and what our rows say of it are the same, whatever goes wrong."""

import asyncio

import pytest
from tests.integration.payments.house import House

from farebox.money import Money
from farebox.payments import service
from farebox.problems import Refusal


async def test_an_invoice_is_collected_from_the_saved_card(house: House) -> None:
    """The open amount is charged once, the invoice is paid, and the success is announced once."""
    await house.card()
    invoice = await house.invoice(4299)
    row = await service.collect(house.till, house.organization, invoice, actor="system test")
    assert (row.state, row.amount_minor) == ("succeeded", 4299)
    assert row.charge_id is not None
    assert await house.owed(invoice) == ("paid", 0)
    assert await house.charged() == [4299]
    assert await house.announced("payment.succeeded") == 1


async def test_a_payment_pays_the_oldest_invoices_and_the_rest_is_balance(house: House) -> None:
    """Of 50.00 for invoices of 30.00 and 15.00, 5.00 become balance."""
    await house.card()
    older, newer = await house.invoice(3000), await house.invoice(1500)
    body = {"account_id": house.person.organization_id, "amount": "50.00"}
    paid = (await house.api.post("/payments", body, by=house.person)).data
    assert paid["state"] == "succeeded"
    assert [await house.owed(each) for each in (older, newer)] == [("paid", 0), ("paid", 0)]
    assert await house.balance() == 500


async def test_a_partial_payment_leaves_the_rest_open(house: House) -> None:
    """What is paid of an invoice is taken off, and the rest of it is collected later."""
    await house.card()
    invoice = await house.invoice(3000)
    body = {"account_id": house.person.organization_id, "amount": "10.00"}
    assert (await house.api.post("/payments", body, by=house.person)).status == 201
    assert await house.owed(invoice) == ("finalized", 2000)
    row = await service.collect(house.till, house.organization, invoice, actor="system test")
    assert row.amount_minor == 2000
    assert await house.charged() == [1000, 2000]


@pytest.mark.parametrize(
    "amount", ["42.999", "-1", "1e3", "٤٢", "", str(10**18), "0", "42.9", "+1", " 1", "1,000", "0x10", "NaN"]
)
async def test_what_is_no_amount_is_refused_with_its_remedy(house: House, amount: str) -> None:
    """Nothing that is not plainly an amount is charged; the answer names the field and what to send."""
    await house.card()
    body = {"account_id": house.person.organization_id, "amount": amount}
    reply = await house.api.post("/payments", body, by=house.person)
    assert reply.status == 422
    assert "must" in reply.fields["amount"]
    assert await house.charged() == []


async def test_a_declined_card_answers_with_the_bank_s_reason(house: House) -> None:
    """The caller reads why, the invoice stays open, and the failure is announced."""
    await house.card("chargeCustomerFail")
    invoice = await house.invoice(1000)
    body = {"account_id": house.person.organization_id, "amount": "10.00"}
    reply = await house.api.post("/payments", body, by=house.person)
    assert (reply.status, reply.code) == (402, "payment_refused")
    assert reply.body["error"]["details"]["reason"] == "Your card was declined."
    assert await house.owed(invoice) == ("finalized", 1000)
    assert await house.announced("payment.failed") == 1


async def test_a_card_that_asks_its_holder_gives_a_link(house: House) -> None:
    """3-D Secure off-session: nothing is charged yet, and the payer gets an address to go to."""
    await house.card("threeDSecureRequired")
    invoice = await house.invoice(1000)
    row = await service.collect(house.till, house.organization, invoice, actor="system test")
    assert row.state == "requires_action"
    assert row.action_url is not None
    assert row.action_url.startswith(house.sandbox.url)
    assert await house.charged() == []


async def test_many_browsers_that_pay_one_invoice_charge_it_once(house: House) -> None:
    """Eight at once: one charge, one success, and the others are told that it is under way or done."""
    await house.card()
    invoice = await house.invoice(2500)
    path = f"/billing/invoices/{await public(house)}/pay"
    replies = await asyncio.gather(*(house.api.post(path, by=house.person) for _ in range(8)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 7
    assert {reply.code for reply in replies if reply.status == 409} <= {
        "payment_in_progress",
        "nothing_to_pay",
    }
    assert await house.charged() == [2500]
    assert await house.owed(invoice) == ("paid", 0)


async def public(house: House) -> str:
    """The public id of the only invoice."""
    items = (await house.api.get("/billing/history", by=house.person)).data["items"]
    return str(items[0]["id"])


async def test_a_retried_top_up_with_the_same_key_charges_once(house: House) -> None:
    """A client that lost the answer sends again and gets the same payment; another amount is refused."""
    await house.card()
    body = {"account_id": house.person.organization_id, "amount": "10.00"}
    first, second = [
        await house.api.post("/payments", body, by=house.person, Idempotency_Key="top-up-1") for _ in range(2)
    ]
    assert first.data["id"] == second.data["id"]
    other = await house.api.post(
        "/payments", {**body, "amount": "11.00"}, by=house.person, Idempotency_Key="top-up-1"
    )
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert await house.charged() == [1000]


async def test_two_browsers_with_elements_share_one_intent(house: House) -> None:
    """Whoever begins to pay the same invoice again gets the same intent, which succeeds once at most."""
    await house.invoice(1200)
    body = {"invoice_id": await public(house)}
    first, second = [
        (await house.api.post("/billing/initiate-payment", body, by=house.person)).data for _ in range(2)
    ]
    assert first["client_secret"] == second["client_secret"] != ""
    assert first["publishable_key"] == house.sandbox.keys.stripe_publishable_key
    await house.stripe_asked(
        "POST",
        f"payment_intents/{first['payment']['provider_id']}/confirm",
        {"payment_method": "pm_card_visa"},
    )
    again = await house.api.post("/billing/initiate-payment", body, by=house.person)
    assert again.data["payment"]["state"] == "succeeded"
    assert await house.charged() == [1200]


async def test_a_charge_of_the_saved_card_gives_up_an_idle_intent(house: House) -> None:
    """An intent that nobody confirmed cannot be paid any more once the card was charged instead."""
    await house.card()
    invoice = await house.invoice(1200)
    body = {"invoice_id": await public(house)}
    begun = (await house.api.post("/billing/initiate-payment", body, by=house.person)).data
    row = await service.collect(house.till, house.organization, invoice, actor="system test")
    assert row.state == "succeeded"
    idle = await house.stripe_asked("GET", f"payment_intents/{begun['payment']['provider_id']}")
    assert idle["status"] == "canceled"
    assert await house.charged() == [1200]


async def test_nothing_is_charged_twice_when_nothing_is_open(house: House) -> None:
    """A paid invoice is refused, and one without a saved card says so."""
    invoice = await house.invoice(1000)
    with pytest.raises(Refusal) as without:
        await service.collect(house.till, house.organization, invoice, actor="system test")
    assert without.value.problem.code == "no_payment_method"
    await house.card()
    await service.collect(house.till, house.organization, invoice, actor="system test")
    with pytest.raises(Refusal) as again:
        await service.collect(house.till, house.organization, invoice, actor="system test")
    assert again.value.problem.code == "nothing_to_pay"


async def test_a_dry_run_charges_nothing(house: House) -> None:
    """`Dry-Run: true` says what would be charged and leaves no trace at the provider or here."""
    await house.card()
    body = {"account_id": house.person.organization_id, "amount": "10.00"}
    reply = await house.api.post("/payments", body, by=house.person, Dry_Run="true")
    assert reply.data["amount"]["minor"] == 1000
    assert await house.charged() == []
    assert await house.rows("SELECT 1 FROM payments") == []


async def test_payments_are_listed_newest_first_by_twenty(house: House) -> None:
    """25 payments come as 20 and 5, newest first, to their owner; nobody else sees them."""
    await house.card()
    for number in range(25):
        await service.record_manual(
            house.till, house.organization, Money("USD", 100 + number), reference=f"bank {number}",
            invoice_id=None, note=None, actor="operator test",
        )  # fmt: skip
    path = f"/{house.person.organization_id}/payments"
    first = (await house.api.get(path, by=house.person)).data
    second = (await house.api.get(path, by=house.person, cursor=first["next_cursor"])).data
    amounts = [each["amount"]["minor"] for each in first["items"] + second["items"]]
    assert len(first["items"]) == 20
    assert amounts == list(range(124, 99, -1))
    eve = await house.api.sign_up("eve@example.com", "Eve")
    assert (await house.api.get(path, by=eve)).status == 404
    body = {"account_id": house.person.organization_id, "amount": "10.00"}
    assert (await house.api.post("/payments", body, by=eve)).status == 404
