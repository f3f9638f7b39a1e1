"""What is lost between us and the provider is found again: no money twice, none forgotten."""

from datetime import timedelta
from functools import partial

import pytest
from tests.integration.payments.house import House

from farebox.money import Money
from farebox.payments import service
from farebox.problems import Refusal
from farebox_worker.payments import customers, reconciliation, recovery


@pytest.mark.parametrize("kind", ["lost_answer", "error_after"])
async def test_a_charge_whose_answer_is_lost_is_charged_once_and_found(house: House, kind: str) -> None:
    """The provider charged and every answer of it was lost: the payment waits, and recovery finishes it."""
    await house.card()
    invoice = await house.invoice(4299)
    await house.fault(kind, "/v1/payment_intents", times=10)
    row = await service.collect(house.till, house.organization, invoice, actor="test")
    assert row.state in {"created", "succeeded"}
    await house.sandbox_asked("DELETE", "faults")
    house.clock.advance(timedelta(minutes=10))
    await recovery.recover(house.till)
    assert await house.charged() == [4299]
    assert await house.owed(invoice) == ("paid", 0)


async def test_a_charge_that_never_arrived_is_given_up_and_can_be_tried_again(house: House) -> None:
    """Nothing was charged; after a while the attempt is given up, and the next one charges."""
    await house.card()
    invoice = await house.invoice(4299)
    await house.fault("down", "/v1/payment_intents", times=10)
    row = await service.collect(house.till, house.organization, invoice, actor="test")
    assert row.state == "created"
    listed = (await house.api.get("/billing/history", by=house.person)).data["items"]
    reply = await house.api.post(f"/billing/invoices/{listed[0]['id']}/pay", by=house.person)
    assert reply.code == "payment_in_progress"
    await house.sandbox_asked("DELETE", "faults")
    house.clock.advance(timedelta(minutes=10))
    assert await recovery.recover(house.till) == 1
    again = await service.collect(house.till, house.organization, invoice, actor="test")
    assert again.state == "succeeded"
    assert await house.charged() == [4299]


async def test_a_payment_whose_webhook_was_lost_is_found_by_reconciliation(house: House) -> None:
    """The provider's own list shows a success that nobody told us of: repaired and reported."""
    invoice = await house.invoice(1900)
    row, _ = await service.start_intent(house.till, house.organization, actor="test", invoice_id=invoice)
    await house.stripe_asked(
        "POST", f"payment_intents/{row.provider_id}/confirm", {"payment_method": "pm_card_visa"}
    )
    start, end = house.clock.now() - timedelta(hours=1), house.clock.now() + timedelta(hours=1)
    stripe = house.providers.elements()
    report = await reconciliation.reconcile(house.till, stripe, start, end)
    assert [each["fault"] for each in report.differences] == ["state"]
    assert (report.repaired, report.parked) == (1, 0)
    assert await house.owed(invoice) == ("paid", 0)
    again = await reconciliation.reconcile(house.till, stripe, start, end)
    assert again.differences == []
    kept = await house.one("SELECT compared, repaired FROM reconciliation_reports")
    assert kept == {"compared": 1, "repaired": 0}


async def test_money_that_is_not_ours_is_reported_and_left_to_a_person(house: House) -> None:
    """A payment that was made by hand in the provider's dashboard is in the report and settles nothing."""
    await house.stripe_asked(
        "POST", "payment_intents",
        {"amount": "777", "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true",
         "automatic_payment_methods[enabled]": "true", "automatic_payment_methods[allow_redirects]": "never"},
    )  # fmt: skip
    start, end = house.clock.now() - timedelta(hours=1), house.clock.now() + timedelta(hours=1)
    report = await reconciliation.reconcile(house.till, house.providers.elements(), start, end)
    assert [each["done"] for each in report.differences] == ["parked: it names no payment of ours"]
    assert await house.rows("SELECT 1 FROM payments") == []


async def test_an_organization_is_known_to_stripe_from_its_sign_up(house: House) -> None:
    """Signing up writes the job; the job makes one customer, however often it runs."""
    assert await house.announced("payment.customer") == 1
    for _ in range(2):
        await customers.make_known(house.context, house.organization, {})
    [customer] = await house.sandbox_asked("GET", "objects/customer")
    assert customer["metadata"] == {"organization": house.person.organization_id}
    known = await house.one("SELECT provider_id FROM provider_customers")
    assert known["provider_id"] == customer["id"]


async def test_a_bank_transfer_is_recorded_once(house: House) -> None:
    """An operator records a transfer to an invoice; the same one again is refused; excess is balance."""
    invoice = await house.invoice(3000)
    record = partial(
        service.record_manual, house.till, house.organization, Money("USD", 3500),
        reference="DE-77", invoice_id=invoice, note=None, actor="operator test",
    )  # fmt: skip
    await record()
    with pytest.raises(Refusal) as again:
        await record()
    assert again.value.problem.code == "payment_reference_used"
    assert await house.owed(invoice) == ("paid", 0)
    assert await house.balance() == 500
