"""An invoice's page: the link opens that invoice, for a while, and nothing else."""

from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api
from tests.support.web import SECRET

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.invoices import links


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser that follows nothing by itself."""
    async with aiohttp.ClientSession() as session:
        yield session


async def planted(api: Api, worker: Database, clock: ManualClock, *, number: str = "FB-7") -> str:
    owner = await api.sign_up()
    organization = await planting.organization_uuid(worker, owner)
    return await planting.invoice(worker, organization, number=number, at=clock.now(), minor=4200)


def address(api: Api, clock: ManualClock, invoice: str, *, days: int = 90, secret: str = SECRET) -> str:
    return f"{api.address}/invoices/{links.sign(secret, invoice, expires=clock.now() + timedelta(days=days))}"


async def test_a_link_opens_its_invoice(
    api: Api, worker: Database, clock: ManualClock, browser: aiohttp.ClientSession
) -> None:
    """The page shows it with a button to pay and the PDF; nobody indexes, caches or frames it, and its
    address leaves in no referrer.
    """
    url = address(api, clock, await planted(api, worker, clock))
    async with browser.get(url) as response:
        page = await response.text()
        headers = response.headers
        assert response.status == 200
    for said in ("Invoice", "FB-7", "$42.00", "Pay $42.00", "Download PDF", 'method="post"'):
        assert said in page
    assert "<script" not in page
    assert headers["X-Robots-Tag"].startswith("noindex")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "private, no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    async with browser.get(url + "/pdf") as response:
        assert response.status == 200
        assert (await response.read()).startswith(b"%PDF-")
        assert response.headers["X-Robots-Tag"].startswith("noindex")


async def test_another_link_opens_nothing(
    api: Api, worker: Database, clock: ManualClock, browser: aiohttp.ClientSession
) -> None:
    """Wrong, cut, of another house, of no invoice: 404, the same page, in the reader's language. Too old:
    410. Neither leads to the PDF or to a payment.
    """
    invoice = await planted(api, worker, clock)
    good = address(api, clock, invoice)
    wrong = [
        good[:-1], good + "x", good.replace("invoices/inv_", "invoices/inv_0"), f"{api.address}/invoices/x",
        f"{api.address}/invoices/{'x' * 300}", f"{api.address}/invoices/%D9%A4.%C3%A9.x",
        address(api, clock, invoice, secret="another secret of another house, as long"),
        address(api, clock, "inv_00000000000000000000000000"), address(api, clock, "org_4f7q2kx81k"),
    ]  # fmt: skip
    for url in wrong:
        async with browser.get(url, headers={"Accept-Language": "de-DE,de;q=0.9"}) as response:
            assert response.status == 404, url
            assert "Dieser Link öffnet keine Rechnung" in await response.text()
        async with browser.get(url + "/pdf") as response:
            assert response.status == 404
        async with browser.post(url + "/pay", allow_redirects=False) as response:
            assert response.status == 404
    clock.advance(timedelta(days=91))
    for path in ("", "/pdf"):
        async with browser.get(good + path) as response:
            assert response.status == 410
            assert "too old" in await response.text()


async def test_an_invoice_of_nothing_open_has_no_button(
    api: Api, worker: Database, clock: ManualClock, browser: aiohttp.ClientSession
) -> None:
    """Void or paid: the page says so, and who posts anyway is led back to it."""
    invoice = await planted(api, worker, clock)
    url = address(api, clock, invoice)
    async with worker.transaction() as session:
        await session.execute(text("UPDATE invoices SET state = 'void'"))
    async with browser.get(url) as response:
        page = await response.text()
    assert "Void" in page
    assert "<form" not in page
    async with browser.get(url.replace("inv_", "INV_")) as response:
        assert response.status == 404


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x>', "{{ 7 * 7 }}"])
async def test_a_name_is_shown_as_it_was_given(
    api: Api, worker: Database, clock: ManualClock, browser: aiohttp.ClientSession, name: str
) -> None:
    """What a customer calls himself is text on the page, never markup."""
    invoice = await planted(api, worker, clock, number=name)
    async with browser.get(address(api, clock, invoice)) as response:
        page = await response.text()
    assert name not in page or name.startswith("{{")
    assert "<script>" not in page
    assert "<img" not in page
