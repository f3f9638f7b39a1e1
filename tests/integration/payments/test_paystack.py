"""Paystack: the same promises through another provider."""

from typing import Any

import aiohttp
from tests.integration.payments.house import House

from farebox.money import Money
from farebox.payments import service
from farebox_worker.payments import inbox

CARD = "4084084084084081"


async def on_the_page(house: House) -> Any:
    """Begin a payment in naira, and type a card on Paystack's page."""
    row = await service.open_checkout(
        house.till, house.organization, actor="test", amount=Money("NGN", 420000)
    )
    assert row.state == "requires_action"
    assert row.action_url is not None
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(row.action_url, data=card(), allow_redirects=False) as page,
    ):
        assert page.status < 400, await page.text()
    return row


def card() -> dict[str, str]:
    """Paystack's test card, as a person types it."""
    return {"number": CARD, "expiry": "12/30", "cvc": "408"}


async def test_a_payment_on_the_page_arrives_by_webhook_and_saves_the_card(house: House) -> None:
    """Paid on Paystack's page; the signed webhook tells; verified anew; the card charges later."""
    row = await on_the_page(house)
    await house.sandbox_asked("POST", "deliveries/release", {"duplicates": 1})
    await inbox.empty(house.till)
    found = await house.one("SELECT state, currency, amount_minor FROM payments WHERE id = :id", id=row.id)
    assert found == {"state": "succeeded", "currency": "NGN", "amount_minor": 420000}
    assert await house.balance() == 420000
    again = await service.pay(house.till, house.organization, Money("NGN", 10000), actor="test")
    assert again.state == "succeeded"
    assert await house.announced("payment.succeeded") == 2


async def test_a_refund_is_given_once(house: House) -> None:
    """A part goes back, and its webhook changes nothing more."""
    row = await on_the_page(house)
    await house.sandbox_asked("POST", "deliveries/release", {})
    await inbox.empty(house.till)
    back = await service.refund(
        house.till, house.organization, row.id, amount=Money("NGN", 20000), reason="test", reopens=True,
        actor="operator test",
    )  # fmt: skip
    assert back.state in {"processing", "succeeded"}
    await house.sandbox_asked("POST", "deliveries/release", {"duplicates": 2})
    await inbox.empty(house.till)
    assert await house.balance() == 400000
    refunds = await house.rows("SELECT state, amount_minor FROM refunds")
    assert refunds == [{"state": "succeeded", "amount_minor": 20000}]
