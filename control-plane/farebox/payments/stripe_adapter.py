"""Stripe, through its own SDK: https://docs.stripe.com/api. Orders out, `Seen…` values back.

The session and the address are given, so that the sandbox and the real Stripe serve the same code. The SDK
retries by itself, with the same idempotency key. Knows no tables.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import aiohttp
import stripe
from stripe import AIOHTTPClient, PaymentIntent, StripeClient

from farebox.payments import stripe_reading as reading
from farebox.payments.managed.calls import StripeSubscriptions
from farebox.payments.provider import (
    Account,
    Card,
    Order,
    Page,
    ProviderRefusedError,
    RefundOrder,
    Seen,
    SeenDispute,
    SeenRefund,
)
from farebox.payments.stripe_errors import speaking

RETRIES: Final = 2
PAGE_SIZE: Final = 100
_SLACK: Final = timedelta(minutes=10)
"""How far the provider's clock may be from ours when we look for what an order made."""
_INTENT_PARTS: Final = ["latest_charge", "payment_method"]


class Stripe:
    """The provider `stripe`."""

    name: Final = "stripe"
    reads_disputes: Final = True

    def __init__(self, key: str, url: str, session: aiohttp.ClientSession, *, timeout: float) -> None:
        """Talk to `url` with the secret key; a request may take `timeout` seconds."""
        self._client = StripeClient(
            key,
            base_addresses={"api": url.rstrip("/")},
            http_client=AIOHTTPClient(session=session, timeout=timeout),
            max_network_retries=RETRIES,
        )
        self.subscriptions: Final = StripeSubscriptions(self._client)

    async def customer(self, account: Account) -> str:
        """Make a customer: https://docs.stripe.com/api/customers/create."""
        async with speaking():
            made = await self._client.v1.customers.create_async(
                {
                    "name": account.name,
                    "email": account.email,
                    "metadata": {"organization": account.organization},
                },
                {"idempotency_key": f"customer-{account.organization}"},
            )
        return made.id

    async def charge(self, order: Order) -> Seen:
        """Charge off-session. Where the bank asks for the holder, ask again, with a page for him."""
        if order.method is None:
            raise ValueError("an off-session charge needs a saved card")
        method = order.method

        async def confirm_now() -> PaymentIntent:
            return await self._client.v1.payment_intents.create_async(
                {
                    "amount": reading.to_stripe(order.amount),
                    "currency": order.amount.currency.lower(),
                    "customer": order.customer,
                    "payment_method": method,
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                    "confirm": True,
                    "off_session": True,
                    "description": order.description,
                    "metadata": reading.metadata(order, "charge"),
                    "expand": _INTENT_PARTS,
                },
                {"idempotency_key": order.key},
            )

        seen = await self._confirming(confirm_now)
        if seen.failure is None or seen.failure.code != "authentication_required":
            return seen
        return await self._confirming(
            lambda: self._client.v1.payment_intents.confirm_async(
                seen.provider_id,
                {"payment_method": method, "return_url": order.return_url, "expand": _INTENT_PARTS},
                {"idempotency_key": f"{order.key}-holder"},
            )
        )

    async def _confirming(self, ask: Callable[[], Awaitable[PaymentIntent]]) -> Seen:
        async with speaking():
            try:
                return reading.payment(await ask())
            except stripe.CardError as error:
                refused = error.error.payment_intent if error.error is not None else None
                if refused is None:
                    raise
                return reading.payment(refused)

    async def intent(self, order: Order) -> Seen:
        """Make an intent that a browser confirms with Elements; its card is saved for later charges."""
        async with speaking():
            return reading.payment(
                await self._client.v1.payment_intents.create_async(
                    {
                        "amount": reading.to_stripe(order.amount),
                        "currency": order.amount.currency.lower(),
                        "customer": order.customer,
                        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                        "setup_future_usage": "off_session",
                        "description": order.description,
                        "metadata": reading.metadata(order, "intent"),
                    },
                    {"idempotency_key": order.key},
                )
            )

    async def setup(self, customer: str, organization: str, key: str) -> tuple[str, str]:
        """Make a SetupIntent for Elements; returns its id and the secret for the browser."""
        async with speaking():
            made = await self._client.v1.setup_intents.create_async(
                {
                    "customer": customer,
                    "usage": "off_session",
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                    "metadata": {"organization": organization},
                },
                {"idempotency_key": key},
            )
        return made.id, made.client_secret or ""

    async def saved_by(self, setup_id: str) -> tuple[str | None, Card | None]:
        """Return the customer and the card that a SetupIntent saved; no card while it has not succeeded."""
        async with speaking():
            made = await self._client.v1.setup_intents.retrieve_async(
                setup_id, {"expand": ["payment_method"]}
            )
        customer = reading.id_of(made.customer)
        if made.status != "succeeded" or made.payment_method is None:
            return customer, None
        return customer, reading.card(made.payment_method)

    async def page(self, order: Order) -> Page:
        """Open a Checkout session: https://docs.stripe.com/api/checkout/sessions/create."""
        async with speaking():
            made = await self._client.v1.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "customer": order.customer,
                    "client_reference_id": order.payment,
                    "success_url": order.return_url,
                    "cancel_url": order.return_url,
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": order.amount.currency.lower(),
                                "unit_amount": reading.to_stripe(order.amount),
                                "product_data": {"name": order.description},
                            },
                        }
                    ],
                    "metadata": reading.metadata(order, "checkout"),
                    "payment_intent_data": {
                        "setup_future_usage": "off_session",
                        "metadata": reading.metadata(order, "checkout"),
                    },
                },
                {"idempotency_key": order.key},
            )
        return reading.page(made)

    async def observe(self, provider_id: str) -> Seen:
        """Return the intent with its latest charge and card."""
        async with speaking():
            return reading.payment(
                await self._client.v1.payment_intents.retrieve_async(provider_id, {"expand": _INTENT_PARTS})
            )

    async def observe_page(self, page_id: str) -> Page:
        """Return the Checkout session."""
        async with speaking():
            return reading.page(await self._client.v1.checkout.sessions.retrieve_async(page_id))

    async def find(self, order: Order) -> Seen | None:
        """Look through the customer's intents since the order, for the one that carries our id."""
        since = int((order.placed_at - _SLACK).timestamp())
        async with speaking():
            found = await self._client.v1.payment_intents.list_async(
                {"customer": order.customer, "created": {"gte": since}, "limit": PAGE_SIZE}
            )
            async for each in found.auto_paging_iter():
                if reading.carried(each.metadata).get("payment") == order.payment:
                    return await self.observe(each.id)
        return None

    async def cancel(self, provider_id: str) -> Seen:
        """Cancel the intent; one that cannot be canceled any more is returned as it is."""
        try:
            async with speaking():
                await self._client.v1.payment_intents.cancel_async(provider_id)
        except ProviderRefusedError as error:
            if error.code != "payment_intent_unexpected_state":
                raise
        return await self.observe(provider_id)

    async def close_page(self, page_id: str) -> Page:
        """Expire the session; one that is over already is returned as it is."""
        found = await self.observe_page(page_id)
        if found.state != "open":
            return found
        async with speaking():
            return reading.page(await self._client.v1.checkout.sessions.expire_async(page_id))

    async def refund(self, order: RefundOrder) -> SeenRefund:
        """Refund an intent: https://docs.stripe.com/api/refunds/create."""
        async with speaking():
            return reading.refund(
                await self._client.v1.refunds.create_async(
                    {
                        "payment_intent": order.provider_id,
                        "amount": reading.to_stripe(order.amount),
                        "metadata": {"refund": order.refund, "payment": order.payment},
                    },
                    {"idempotency_key": order.key},
                )
            )

    async def refunds_of(self, provider_id: str) -> list[SeenRefund]:
        """List an intent's refunds."""
        async with speaking():
            found = await self._client.v1.refunds.list_async(
                {"payment_intent": provider_id, "limit": PAGE_SIZE}
            )
            return [reading.refund(each) async for each in found.auto_paging_iter()]

    async def refund_seen(self, refund_id: str) -> SeenRefund:
        """Return one refund as it is now."""
        async with speaking():
            return reading.refund(await self._client.v1.refunds.retrieve_async(refund_id))

    async def intent_of_charge(self, charge_id: str) -> str | None:
        """Return the intent behind a charge, None for a charge without one."""
        async with speaking():
            return reading.id_of((await self._client.v1.charges.retrieve_async(charge_id)).payment_intent)

    async def dispute(self, dispute_id: str) -> SeenDispute:
        """Return the dispute."""
        async with speaking():
            return reading.dispute(await self._client.v1.disputes.retrieve_async(dispute_id))

    async def forget_card(self, provider_id: str) -> None:
        """Detach the card from its customer."""
        try:
            async with speaking():
                await self._client.v1.payment_methods.detach_async(provider_id)
        except ProviderRefusedError as error:
            gone = {"resource_missing", "payment_method_unexpected_state", "invalid_request_error"}
            if error.code not in gone:
                raise

    async def payments(self, start: datetime, end: datetime) -> AsyncIterator[Seen]:
        """List intents."""
        async with speaking():
            found = await self._client.v1.payment_intents.list_async(
                {"created": _window(start, end), "limit": PAGE_SIZE, "expand": ["data.latest_charge"]}
            )
            async for each in found.auto_paging_iter():
                yield reading.payment(each)

    async def refunds(self, start: datetime, end: datetime) -> AsyncIterator[SeenRefund]:
        """List refunds."""
        async with speaking():
            found = await self._client.v1.refunds.list_async(
                {"created": _window(start, end), "limit": PAGE_SIZE}
            )
            async for each in found.auto_paging_iter():
                yield reading.refund(each)

    async def disputes(self, start: datetime, end: datetime) -> AsyncIterator[SeenDispute]:
        """List disputes."""
        async with speaking():
            found = await self._client.v1.disputes.list_async(
                {"created": _window(start, end), "limit": PAGE_SIZE}
            )
            async for each in found.auto_paging_iter():
                yield reading.dispute(each)


def _window(start: datetime, end: datetime) -> stripe.params.PaymentIntentListParamsCreated:
    return {"gte": int(start.timestamp()), "lt": int(end.timestamp())}
