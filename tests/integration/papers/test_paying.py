"""From a credit note to the customer's card, and from an invoice's page to the provider's."""

from datetime import timedelta

import aiohttp
from tests.integration.payments.conftest import api, clock, house, sandbox, settings
from tests.integration.payments.house import House
from tests.support.web import SECRET, worker

from farebox import ids
from farebox.credit_notes import service
from farebox.credit_notes.service import NoteView, Wanted
from farebox.invoices import links
from farebox.payments import service as payments
from farebox_worker import credit_notes

__all__ = ["api", "clock", "house", "sandbox", "settings", "worker"]


async def credited(house: House, minor: int | None = None) -> NoteView:
    """Pay an invoice of 60.00 by card, and credit it with a refund."""
    await house.card()
    invoice = await house.invoice(60_00)
    paid = await payments.collect(house.till, house.organization, invoice, actor="test")
    assert paid.state == "succeeded"
    async with house.worker.transaction() as session:
        lines = None if minor is None else {1: minor}
        wanted = Wanted("Outage", lines, "refund")
        return await service.issue(session, invoice, wanted, actor="operator test", now=house.clock.now())


async def refund(house: House, note: NoteView) -> None:
    await credit_notes.refund(house.context, house.organization, {"credit_note": note.public_id})


async def test_a_credit_note_is_refunded_once(house: House) -> None:
    """The worker refunds what the note planned; done twice it gives the money back once, and the invoice,
    which is credited, stays paid.
    """
    note = await credited(house, 25_00)
    assert (note.note.refund_minor, note.refunds[0].state) == (25_00, "planned")
    assert await house.announced("credit_note.refund") == 1
    await refund(house, note)
    await refund(house, note)
    rows = await house.rows("SELECT state, amount_minor FROM refunds")
    assert rows == [{"state": "succeeded", "amount_minor": 25_00}]
    row = await house.one("SELECT state FROM credit_note_refunds")
    assert row["state"] == "refunded"
    assert await house.owed(note.invoice.id) == ("paid", 0)
    assert await house.balance() == 0


async def test_what_cannot_be_refunded_becomes_balance(house: House) -> None:
    """An operator has refunded the payment meanwhile: the note's promise is kept as balance, once."""
    note = await credited(house, 25_00)
    [row] = note.refunds
    await payments.refund(
        house.till, house.organization, row.payment_id, amount=None, reason="Mistake", reopens=True,
        actor="operator test",
    )  # fmt: skip
    await refund(house, note)
    await refund(house, note)
    assert (await house.one("SELECT state FROM credit_note_refunds"))["state"] == "balance"
    assert await house.balance() == 25_00


async def test_the_button_leads_to_the_providers_page(house: House) -> None:
    """Whoever holds the link posts and is sent to a checkout session for what is open; a second press opens
    the same session, so that two tabs cannot pay twice.
    """
    settings = house.settings
    assert settings.link_secret.get_secret_value() == SECRET
    invoice = await house.invoice(60_00)
    token = links.sign(SECRET, ids.encode("inv", invoice), expires=house.clock.now() + timedelta(days=1))
    url = f"{house.api.address}/invoices/{token}"
    async with aiohttp.ClientSession() as browser:
        led = []
        for _ in range(2):
            async with browser.post(url + "/pay", allow_redirects=False) as response:
                assert response.status == 303
                led.append(response.headers["Location"])
        assert led[0] == led[1]
        assert led[0].startswith(house.sandbox.url)
        async with browser.get(led[0]) as response:
            assert response.status == 200
        async with browser.get(house.api.address + "/portal/payments/pay_whatever") as response:
            assert (response.status, "receipt comes by mail" in await response.text()) == (200, True)
        async with browser.get(url) as response:
            assert house.sandbox.url in response.headers["Content-Security-Policy"]
    row = await house.one("SELECT actor, state, amount_minor FROM payments")
    assert row == {
        "actor": f"link {ids.encode('inv', invoice)}", "state": "requires_action", "amount_minor": 60_00,
    }  # fmt: skip


async def test_a_provider_that_is_away_is_said_on_the_page(house: House) -> None:
    """Nothing is charged, and the page says so instead of an error in JSON."""
    await house.fault("error_before", "/v1/checkout/sessions", times=20)
    invoice = await house.invoice(60_00)
    token = links.sign(SECRET, ids.encode("inv", invoice), expires=house.clock.now() + timedelta(days=1))
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(f"{house.api.address}/invoices/{token}/pay", allow_redirects=False) as response,
    ):
        page = await response.text()
    assert response.status in {402, 503}
    assert "Nothing was charged" in page
