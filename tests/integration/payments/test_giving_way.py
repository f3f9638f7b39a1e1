"""What waits for nobody: pages that cannot be closed, and queues longer than a batch."""

from datetime import timedelta

import pytest
from tests.integration.payments.house import House

from farebox import ids
from farebox.payments import cards, service
from farebox.payments.model import Payment
from farebox.payments.provider import Card
from farebox.problems import Refusal
from farebox_worker.payments import recovery


async def test_an_open_paystack_page_gives_way_after_an_hour(house: House) -> None:
    """Paystack closes no page: for an hour the invoice is paid there alone, then by card."""
    settings = house.settings.model_copy(update={"payment_providers": {"USD": "paystack"}})
    providers = type(house.providers)(
        house.providers.stripe, house.providers.paystack, "paystack", settings.payment_providers
    )
    till = type(house.till)(house.worker, providers, house.clock, settings.public_url)
    invoice = await house.invoice(1000)
    page = await service.open_checkout(till, house.organization, actor="test", invoice_id=invoice)
    assert page.state == "requires_action"
    await house.card()
    with pytest.raises(Refusal) as refused:
        await service.collect(house.till, house.organization, invoice, actor="test")
    assert refused.value.problem.code == "payment_in_progress"
    house.clock.advance(timedelta(hours=1))
    row = await service.collect(house.till, house.organization, invoice, actor="test")
    assert row.state == "succeeded"
    assert await house.owed(invoice) == ("paid", 0)
    gone = await house.one("SELECT state, failure_code FROM payments WHERE provider = 'paystack'")
    assert gone == {"state": "canceled", "failure_code": "abandoned"}


async def test_rows_that_cannot_be_looked_at_hold_up_no_others(house: House) -> None:
    """More stuck rows than a batch holds, older than the one that can be finished: it is finished."""
    await house.card()
    invoice = await house.invoice(1000)
    at = house.clock.now()
    async with house.worker.transaction() as session:
        for number in range(recovery.BATCH + 5):
            session.add(
                Payment(
                    id=ids.uuid7(), organization_id=house.organization, provider="paystack",
                    provider_id=f"../no/such {number}", idempotency_key=f"stuck-{number}", flow="checkout",
                    amount_minor=100, currency="NGN", state="requires_action", actor="test", created_at=at,
                    updated_at=at - timedelta(days=2),
                )
            )  # fmt: skip
    await house.fault("lost_answer", "/v1/payment_intents", method="POST", times=3)
    row = await service.collect(house.till, house.organization, invoice, actor="test")
    assert row.state == "created"
    house.clock.advance(timedelta(minutes=4))
    await recovery.recover(house.till)
    assert await house.owed(invoice) == ("paid", 0)


async def test_two_organizations_may_have_the_same_paystack_card(house: House) -> None:
    """Paystack names a card by the holder's address: each organization keeps its own row of it."""
    eve = await house.api.sign_up("eve@example.com", "Eve")
    other = await house.one(
        "SELECT id FROM organizations WHERE public_id = :id", id=eve.organization_id.removeprefix("org_")
    )
    card = Card("AUTH_shared", "visa", "4081", 12, 2040)
    for organization in (house.organization, other["id"], house.organization):
        async with house.worker.transaction(organization=organization) as session:
            await cards.keep(session, organization, "paystack", card, now=house.clock.now())
    rows = await house.rows("SELECT organization_id, is_default FROM payment_methods")
    assert {row["organization_id"] for row in rows} == {house.organization, other["id"]}
    assert [row["is_default"] for row in rows] == [True, True]
