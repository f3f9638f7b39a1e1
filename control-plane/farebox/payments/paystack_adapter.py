"""Paystack over HTTP: https://paystack.com/docs/api. Orders out, `Seen…` values back.

A transaction is named by our own reference (the payment's public id), which Paystack refuses to take twice:
that is its idempotency. It knows a customer by his address, so there is none to make. Knows no tables.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import quote

import aiohttp

from farebox.money import Money
from farebox.payments.provider import (
    Account,
    Card,
    Failure,
    Order,
    Page,
    ProviderAwayError,
    ProviderRefusedError,
    RefundOrder,
    Seen,
    SeenDispute,
    SeenRefund,
    State,
)

PAGE_SIZE: Final = 100
CURRENCIES: Final = frozenset({"NGN", "GHS", "ZAR", "KES", "USD"})
_STATES: Final[Mapping[str, State]] = {
    "success": "succeeded",
    "reversed": "succeeded",
    "failed": "failed",
    "abandoned": "requires_action",
    "open_url": "requires_action",
    "send_otp": "requires_action",
    "send_pin": "requires_action",
    "send_phone": "requires_action",
}
_REFUNDS: Final[Mapping[str, Literal["succeeded", "failed"]]] = {"processed": "succeeded", "failed": "failed"}
_LATER: Final = frozenset({401, 403, 429})


class Paystack:
    """The provider `paystack`."""

    name: Final = "paystack"
    reads_disputes: Final = False

    def __init__(self, key: str, url: str, session: aiohttp.ClientSession, *, timeout: float) -> None:
        """Talk to `url` with the secret key; a request may take `timeout` seconds."""
        self._url = url.rstrip("/")
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def customer(self, account: Account) -> str:
        """Return the name by which we know the organization; Paystack wants the address only."""
        return account.organization

    async def charge(self, order: Order) -> Seen:
        """POST /transaction/charge_authorization; a reference that is there already is read instead."""
        body = {**_order(order), "authorization_code": order.method}
        try:
            return _payment(await self._ask("POST", "/transaction/charge_authorization", body))
        except ProviderRefusedError as error:
            if error.code == "duplicate_reference":
                return await self.observe(order.payment)
            raise

    async def page(self, order: Order) -> Page:
        """POST /transaction/initialize."""
        body = {**_order(order), "callback_url": order.return_url}
        try:
            data = await self._ask("POST", "/transaction/initialize", body)
        except ProviderRefusedError as error:
            if error.code == "duplicate_reference":
                return await self.observe_page(order.payment)
            raise
        return Page(order.payment, data["authorization_url"], "open", order.payment)

    async def observe(self, provider_id: str) -> Seen:
        """GET /transaction/verify/{reference}."""
        return _payment(await self._ask("GET", f"/transaction/verify/{quote(provider_id, safe='')}"))

    async def observe_page(self, page_id: str) -> Page:
        """Read the page's transaction; its address is not told twice."""
        seen = await self.observe(page_id)
        if seen.state in {"succeeded", "processing"}:
            return Page(page_id, None, "complete", seen.payment, seen.provider_id)
        return Page(page_id, None, "expired" if seen.state == "failed" else "open", seen.payment)

    async def find(self, order: Order) -> Seen | None:
        """Look for our reference."""
        try:
            return await self.observe(order.payment)
        except ProviderRefusedError as error:
            if error.code == "transaction_not_found":
                return None
            raise

    async def cancel(self, provider_id: str) -> Seen:
        """Return the transaction: Paystack cancels none."""
        return await self.observe(provider_id)

    async def close_page(self, page_id: str) -> Page:
        """Return the page: Paystack closes none."""
        return await self.observe_page(page_id)

    async def refund(self, order: RefundOrder) -> SeenRefund:
        """POST /refund, with our id as the note; one with that note is returned instead of a second."""
        for found in await self.refunds_of(order.provider_id):
            if found.refund == order.refund:
                return found
        body = {
            "transaction": order.provider_id,
            "amount": order.amount.minor,
            "merchant_note": order.refund,
        }
        data = await self._ask("POST", "/refund", body)
        return _refund(data, order.provider_id)

    async def refunds_of(self, provider_id: str) -> list[SeenRefund]:
        """GET /refund of one transaction."""
        return [
            _refund(each, provider_id) async for each in self._list("/refund", {"transaction": provider_id})
        ]

    async def dispute(self, dispute_id: str) -> SeenDispute:
        """Refuse: Paystack's disputes are handled in its dashboard."""
        raise ProviderRefusedError("unsupported", f"Paystack's dispute {dispute_id} is not read by us.")

    async def forget_card(self, provider_id: str) -> None:
        """Do nothing: an authorization that is not charged any more is forgotten enough."""

    async def payments(self, start: datetime, end: datetime) -> AsyncIterator[Seen]:
        """GET /transaction."""
        window = {"from": _stamp(start), "to": _stamp(end)}
        async for each in self._list("/transaction", window):
            seen = _payment(each)
            if start <= seen.created_at < end:
                yield seen

    async def refunds(self, start: datetime, end: datetime) -> AsyncIterator[SeenRefund]:
        """GET /refund. The list names a transaction by its number, so each is looked up."""
        references: dict[str, str] = {}
        async for each in self._list("/refund", {"from": _stamp(start), "to": _stamp(end)}):
            number = str(each["transaction"])
            if number not in references:
                references[number] = str((await self._ask("GET", f"/transaction/{number}"))["reference"])
            seen = _refund(each, references[number])
            if start <= seen.created_at < end:
                yield seen

    async def disputes(self, start: datetime, end: datetime) -> AsyncIterator[SeenDispute]:  # noqa: ARG002 - as the protocol has it
        """List nothing, as `dispute` says."""
        nothing: tuple[SeenDispute, ...] = ()
        for each in nothing:
            yield each

    async def _list(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        page = 1
        while True:
            found = await self._ask(
                "GET", path, query={**query, "perPage": str(PAGE_SIZE), "page": str(page)}
            )
            for each in found:
                yield each
            if len(found) < PAGE_SIZE:
                return
            page += 1

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        try:
            async with self._session.request(
                method,
                self._url + path,
                json=body,
                params=query,
                headers=self._headers,
                timeout=self._timeout,
            ) as response:
                status, answer = response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ProviderAwayError("unreachable", f"Paystack did not answer: {error}"[:500]) from error
        if status < 300 and isinstance(answer, dict) and answer.get("status") is True:
            return answer["data"]
        said = answer if isinstance(answer, dict) else {}
        code, reason = str(said.get("code") or status), str(said.get("message") or "no reason given")[:500]
        if status >= 500 or status in _LATER:
            raise ProviderAwayError(code, reason)
        if reason.startswith("Duplicate Transaction Reference"):
            code = "duplicate_reference"
        if status == 404 or reason.startswith("Transaction reference not found"):
            code = "transaction_not_found"
        raise ProviderRefusedError(code, reason)


def _order(order: Order) -> dict[str, Any]:
    if order.amount.currency not in CURRENCIES:
        raise ProviderRefusedError("invalid_currency", f"Paystack does not take {order.amount.currency}.")
    return {
        "email": order.email,
        "amount": order.amount.minor,
        "currency": order.amount.currency,
        "reference": order.payment,
        "metadata": {"payment": order.payment, "organization": order.organization},
    }


def _payment(data: Mapping[str, Any]) -> Seen:
    state: State = _STATES.get(str(data["status"]), "processing")
    said = str(data.get("gateway_response") or data.get("message") or "no reason given")[:500]
    reference = str(data["reference"])
    carried = data.get("metadata")
    return Seen(
        provider_id=reference,
        payment=carried.get("payment") if isinstance(carried, dict) else None,
        state=state,
        amount=Money(str(data["currency"]), int(data["amount"])),
        created_at=_instant(data),
        failure=Failure("declined", said) if state == "failed" else None,
        charge_id=str(data["id"]) if state == "succeeded" else None,
        card=_card(data.get("authorization") or {}) if state == "succeeded" else None,
    )


def _card(found: Mapping[str, Any]) -> Card | None:
    if not found.get("reusable") or not found.get("authorization_code"):
        return None
    return Card(
        str(found["authorization_code"]), str(found.get("brand") or "card").strip(), str(found["last4"]),
        int(found["exp_month"]), int(found["exp_year"]),
    )  # fmt: skip


def _refund(data: Mapping[str, Any], reference: str) -> SeenRefund:
    return SeenRefund(
        provider_id=str(data["id"]),
        refund=data.get("merchant_note"),
        payment=reference,
        amount=Money(str(data["currency"]), int(data["amount"])),
        state=_REFUNDS.get(str(data["status"]), "processing"),
        created_at=_instant(data),
    )


def _instant(data: Mapping[str, Any]) -> datetime:
    text = data.get("created_at") or data.get("createdAt")
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
