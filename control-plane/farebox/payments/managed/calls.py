"""Stripe's subscriptions, prices, invoices and invoice items, through its SDK. Orders out, `Seen…` back.

https://docs.stripe.com/api/subscriptions, /invoices, /invoiceitems. Knows no tables.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final, cast

from stripe import Invoice, InvoiceLineItem, StripeClient, Subscription

from farebox.money import Money
from farebox.payments import stripe_reading as reading
from farebox.payments.managed.seen import InvoiceState, SeenInvoice, SeenLine, SeenSubscription, Wanted
from farebox.payments.provider import ProviderRefusedError
from farebox.payments.stripe_errors import speaking

PAGE_SIZE: Final = 100
_PARTS: Final = ["payments"]


class StripeSubscriptions:
    """What Stripe does by itself, and how to steer it. All raise what `speaking` raises."""

    def __init__(self, client: StripeClient) -> None:
        """Talk through the SDK's client."""
        self._api = client.v1

    async def price(self, version: str, name: str, amount: Money) -> str:
        """Make a price by the month; returns its id. For one version the same is returned for a day."""
        async with speaking():
            made = await self._api.prices.create_async(
                {
                    "currency": amount.currency.lower(),
                    "unit_amount": reading.to_stripe(amount),
                    "recurring": {"interval": "month"},
                    "product_data": {"name": name},
                    "metadata": {"plan_version": version},
                },
                {"idempotency_key": f"price-{version}-{amount.minor}"},
            )
        return made.id

    async def start(self, wanted: Wanted) -> SeenSubscription:
        """Make a subscription that asks for money from `starts_at` on, unless it is there."""
        found = await self.find(wanted.customer, wanted.named)
        if found is not None:
            return found
        begins = int(wanted.starts_at.timestamp())
        async with speaking():
            made = await self._api.subscriptions.create_async(
                {
                    "customer": wanted.customer,
                    "items": [{"price": wanted.price}],
                    "default_payment_method": wanted.method,
                    "trial_end": begins,
                    "metadata": {"subscription": wanted.named, "organization": wanted.organization},
                },
                {"idempotency_key": f"subscription-{wanted.named}-{begins}"},
            )
        return subscription(made)

    async def find(self, customer: str, named: str) -> SeenSubscription | None:
        """Look for the subscription that carries our row's id."""
        async with speaking():
            found = await self._api.subscriptions.list_async(
                {"customer": customer, "status": "all", "limit": PAGE_SIZE}
            )
            async for each in found.auto_paging_iter():
                if reading.carried(each.metadata).get("subscription") == named:
                    return subscription(each)
        return None

    async def observe(self, provider_id: str) -> SeenSubscription:
        """Return the subscription as it is now."""
        async with speaking():
            return subscription(await self._api.subscriptions.retrieve_async(provider_id))

    async def reprice(self, provider_id: str, item: str, price: str) -> SeenSubscription:
        """Ask for another price from the next period on; we prorate ourselves."""
        async with speaking():
            return subscription(
                await self._api.subscriptions.update_async(
                    provider_id, {"items": [{"id": item, "price": price}], "proration_behavior": "none"}
                )
            )

    async def charge_with(self, provider_id: str, method: str) -> SeenSubscription:
        """Charge another card from now on."""
        async with speaking():
            return subscription(
                await self._api.subscriptions.update_async(provider_id, {"default_payment_method": method})
            )

    async def end_with_period(self, provider_id: str, *, ends: bool) -> SeenSubscription:
        """Have it end with its period, or go on after all."""
        async with speaking():
            return subscription(
                await self._api.subscriptions.update_async(provider_id, {"cancel_at_period_end": ends})
            )

    async def cancel(self, provider_id: str) -> SeenSubscription:
        """End it now; one that is over already is returned as it is."""
        try:
            async with speaking():
                return subscription(await self._api.subscriptions.cancel_async(provider_id))
        except ProviderRefusedError as error:
            if error.code != "resource_missing":
                raise
        return await self.observe(provider_id)

    async def invoice(self, provider_id: str) -> SeenInvoice:
        """Return one of Stripe's invoices as it is now."""
        async with speaking():
            return invoice(await self._api.invoices.retrieve_async(provider_id, {"expand": _PARTS}))

    async def invoices(
        self, subscription_id: str, *, status: str | None = None
    ) -> AsyncIterator[SeenInvoice]:
        """List a subscription's invoices, the newest first."""
        wanted: Any = {"subscription": subscription_id, "limit": PAGE_SIZE, "expand": ["data.payments"]}
        if status is not None:
            wanted["status"] = status
        async with speaking():
            found = await self._api.invoices.list_async(wanted)
            async for each in found.auto_paging_iter():
                yield invoice(each)

    async def put(
        self, item: str, customer: str, subscription_id: str, amount: Money, text: str, *, draft: str | None
    ) -> tuple[str, str | None]:
        """Put an amount on a draft, or on whatever invoice comes next; returns the item and its invoice.

        `item` is our row's id: an item that carries it is returned instead of a second.
        """
        async with speaking():
            found = await self._api.invoice_items.list_async({"customer": customer, "limit": PAGE_SIZE})
            async for each in found.auto_paging_iter():
                if reading.carried(each.metadata).get("item") == item:
                    return each.id, reading.id_of(each.invoice)
            wanted: Any = {
                "customer": customer,
                "amount": reading.to_stripe(amount),
                "currency": amount.currency.lower(),
                "description": text,
                "metadata": {"item": item},
            }
            wanted |= {"subscription": subscription_id} if draft is None else {"invoice": draft}
            made = await self._api.invoice_items.create_async(
                wanted, {"idempotency_key": f"item-{item}-{draft or 'next'}"}
            )
        return made.id, reading.id_of(made.invoice)

    async def gather(self, customer: str, subscription_id: str, currency: str, key: str) -> SeenInvoice:
        """Make an invoice of what waits for the next one; Stripe finalizes and collects it by itself."""
        async with speaking():
            made = await self._api.invoices.create_async(
                {
                    "customer": customer,
                    "subscription": subscription_id,
                    "currency": currency.lower(),
                    "pending_invoice_items_behavior": "include",
                    "auto_advance": True,
                    "expand": _PARTS,
                },
                {"idempotency_key": f"gather-{key}"},
            )
        return invoice(made)

    async def try_again(self, provider_id: str, method: str) -> None:
        """Charge an open invoice once more; a card that declines is no error."""
        try:
            async with speaking():
                await self._api.invoices.pay_async(
                    provider_id, {"payment_method": method, "off_session": True}
                )
        except ProviderRefusedError:
            return


def subscription(found: Subscription) -> SeenSubscription:
    """Read a subscription; ours has one item."""
    item = found["items"]["data"][0]
    details = found.cancellation_details
    return SeenSubscription(
        provider_id=found.id,
        named=reading.carried(found.metadata).get("subscription"),
        status=found.status,
        ending=bool(found.cancel_at_period_end),
        asked=details is None or details.reason not in {"payment_failed", "payment_disputed"},
        item=str(item["id"]),
        price=str(item["price"]["id"]),
        method=reading.id_of(found.default_payment_method),
    )


def invoice(found: Invoice) -> SeenInvoice:
    """Read an invoice with its payments."""
    parent = found.parent.subscription_details if found.parent is not None else None
    intent = None
    for each in found.payments.data if found.payments is not None else []:
        if intent is None or each.status == "paid":
            intent = reading.id_of(each.payment.payment_intent) or intent
    return SeenInvoice(
        provider_id=found.id or "",
        subscription=reading.id_of(parent.subscription) if parent is not None else None,
        state=cast("InvoiceState", found.status or "draft"),
        due=reading.from_stripe(found.amount_due, found.currency),
        paid=reading.from_stripe(found.amount_paid, found.currency),
        attempts=found.attempt_count,
        intent=intent,
        url=found.hosted_invoice_url,
        created_at=datetime.fromtimestamp(found.created, UTC),
        lines=tuple(_line(each) for each in found.lines.data),
    )


def _line(found: InvoiceLineItem) -> SeenLine:
    details = found.parent.invoice_item_details if found.parent is not None else None
    priced = found.pricing.price_details if found.pricing is not None else None
    return SeenLine(
        amount=reading.from_stripe(found.amount, found.currency),
        until=datetime.fromtimestamp(found.period.end, UTC),
        price=reading.id_of(priced.price) if priced is not None and details is None else None,
        item=reading.carried(found.metadata).get("item"),
        item_id=details.invoice_item if details is not None else None,
    )
