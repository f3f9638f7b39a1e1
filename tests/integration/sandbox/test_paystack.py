"""Paystack over HTTP: shapes, refusals, cards."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from farebox.sandbox.app import Sandbox


@pytest_asyncio.fixture
async def paystack(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that carries Paystack's key."""
    headers = {"Authorization": f"Bearer {sandbox.keys.paystack_secret_key}"}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        yield session


async def _ask(session: aiohttp.ClientSession, method: str, path: str, **given: Any) -> tuple[int, Any]:
    how: Any = {"json": given} if method == "POST" else {"params": given}
    async with session.request(method, path, **how) as answer:
        return answer.status, await answer.json()


async def _paid(
    session: aiohttp.ClientSession, reference: str, card: str = "4084084084084081"
) -> dict[str, Any]:
    _, made = await _ask(
        session,
        "POST",
        "/transaction/initialize",
        email="ada@example.com",
        amount=500000,
        reference=reference,
        callback_url="https://seller.example/back",
    )
    form = {"number": card, "expiry": "12/40", "cvv": "408"}
    async with session.post(made["data"]["authorization_url"], data=form, allow_redirects=False):
        pass
    found: dict[str, Any] = (await _ask(session, "GET", f"/transaction/verify/{reference}"))[1]["data"]
    return found


async def test_a_card_that_paid_can_be_charged_again(paystack: aiohttp.ClientSession) -> None:
    """initialize, page, verify, then charge_authorization without the holder; a reference counts once."""
    first = await _paid(paystack, "r-1")
    assert (first["status"], first["amount"], first["currency"]) == ("success", 500000, "NGN")
    again = {
        "email": "ada@example.com",
        "amount": "700000",
        "reference": "r-2",
        "authorization_code": first["authorization"]["authorization_code"],
    }
    status, second = await _ask(paystack, "POST", "/transaction/charge_authorization", **again)
    assert (status, second["data"]["status"]) == (200, "success")
    status, third = await _ask(paystack, "POST", "/transaction/charge_authorization", **again)
    assert (status, third["code"]) == (400, "duplicate_reference")
    _, listed = await _ask(paystack, "GET", "/transaction", perPage="1")
    assert (listed["meta"]["total"], listed["data"][0]["reference"]) == (2, "r-2")


async def test_declines_keep_their_reason(paystack: aiohttp.ClientSession) -> None:
    """On the page at once, or later when the card is charged again."""
    assert (await _paid(paystack, "r-1", "4084080000005408"))["status"] == "failed"
    good = await _paid(paystack, "r-2", "4084080000670037")
    _, later = await _ask(
        paystack,
        "POST",
        "/transaction/charge_authorization",
        email="ada@example.com",
        amount=500000,
        authorization_code=good["authorization"]["authorization_code"],
    )
    assert (later["data"]["status"], later["data"]["gateway_response"]) == ("failed", "Insufficient Funds")


async def test_refunds_never_exceed(paystack: aiohttp.ClientSession) -> None:
    """Part, the rest, and then a refusal."""
    await _paid(paystack, "r-1")
    assert (await _ask(paystack, "POST", "/refund", transaction="r-1", amount=200000))[0] == 200
    assert (await _ask(paystack, "POST", "/refund", transaction="r-1", amount=300001))[0] == 400
    status, rest = await _ask(paystack, "POST", "/refund", transaction="r-1")
    assert (status, rest["data"]["amount"]) == (200, 300000)
    assert (await _ask(paystack, "GET", "/transaction/verify/r-1"))[1]["data"]["status"] == "reversed"


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        (
            "POST",
            "/transaction/initialize",
            {"email": "a@b.co", "amount": 5000, "x": 1},
            400,
            "unknown_parameter",
        ),
        ("POST", "/transaction/charge_authorization", {"x": 1}, 400, "unknown_parameter"),
        ("POST", "/refund", {"x": 1}, 400, "unknown_parameter"),
        ("GET", "/transaction", {"x": "1"}, 400, "unknown_parameter"),
        ("GET", "/refund", {"x": "1"}, 400, "unknown_parameter"),
        ("GET", "/transaction/verify/r", {"x": "1"}, 400, "unknown_parameter"),
        ("POST", "/transaction/initialize", {"amount": 5000}, 400, "missing_params"),
        (
            "POST",
            "/transaction/initialize",
            {"email": "nobody", "amount": 5000},
            400,
            "invalid_email_address",
        ),
        ("POST", "/transaction/initialize", {"email": "a@b.co", "amount": "50.5"}, 400, "invalid_amount"),
        ("POST", "/transaction/initialize", {"email": "a@b.co", "amount": 4999}, 400, "invalid_amount"),
        ("POST", "/transaction/initialize", {"email": "a@b.co", "amount": True}, 400, "invalid_amount"),
        (
            "POST",
            "/transaction/initialize",
            {"email": "a@b.co", "amount": 5000, "currency": "EUR"},
            400,
            "unsupported_currency",
        ),
        ("GET", "/transaction/verify/none", {}, 404, "transaction_not_found"),
    ],
)
async def test_refusals_have_paystacks_shape(
    paystack: aiohttp.ClientSession, method: str, path: str, given: dict[str, Any], status: int, code: str
) -> None:
    """`status` false, a message, a code and a next step."""
    got, body = await _ask(paystack, method, path, **given)
    assert (got, body["status"], body["code"]) == (status, False, code)
    assert body["message"]
    assert body["meta"]["nextStep"]


async def test_the_key_is_checked(sandbox: Sandbox) -> None:
    """Stripe's key opens nothing here."""
    headers = {"Authorization": f"Bearer {sandbox.keys.stripe_secret_key}"}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        assert (await _ask(session, "GET", "/transaction"))[0] == 401
