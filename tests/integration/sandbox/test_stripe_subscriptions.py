"""Subscriptions that Stripe runs, through the real SDK, over months."""

from typing import Any

import stripe
from stripe import StripeClient

_MONTH = 32 * 86_400
_HOUR = 3601


async def _subscribed(client: StripeClient, card: str = "pm_card_visa") -> stripe.Subscription:
    customer = await client.v1.customers.create_async({"email": "anna@example.com"})
    method = await client.v1.payment_methods.attach_async(card, {"customer": customer.id})
    product = await client.v1.products.create_async({"name": "Pro"})
    price = await client.v1.prices.create_async(
        {"product": product.id, "currency": "usd", "unit_amount": 2900, "recurring": {"interval": "month"}}
    )
    return await client.v1.subscriptions.create_async(
        {
            "customer": customer.id,
            "items": [{"price": price.id}],
            "default_payment_method": method.id,
            "metadata": {"organization": "org_1"},
            "expand": ["latest_invoice.payments"],
        }
    )


async def test_overage_is_charged_with_the_next_period(client: StripeClient, control: Any) -> None:
    """A new period opens a draft; an item put into it within the hour is finalized and paid with it."""
    subscription = await _subscribed(client)
    assert subscription.status == "active"
    await control("clock", advance_seconds=_MONTH)
    drafts = await client.v1.invoices.list_async({"subscription": subscription.id, "status": "draft"})
    draft = drafts.data[0]
    await client.v1.invoice_items.create_async(
        {
            "customer": str(draft.customer),
            "invoice": draft.id,
            "amount": 777,
            "currency": "usd",
            "description": "Overage",
        }
    )
    await control("clock", advance_seconds=_HOUR)
    paid = await client.v1.invoices.retrieve_async(draft.id)
    assert (paid.status, paid.amount_paid) == ("paid", 2900 + 777)


async def test_a_card_that_fails_later_makes_it_past_due(client: StripeClient, control: Any) -> None:
    """The invoice stays open and is tried again; paying it with another card makes the subscription
    active.
    """
    subscription = await _subscribed(client)
    worse = await client.v1.payment_methods.attach_async(
        "pm_card_chargeCustomerFail", {"customer": str(subscription.customer)}
    )
    await client.v1.subscriptions.update_async(subscription.id, {"default_payment_method": worse.id})
    await control("clock", advance_seconds=_MONTH)
    await control("clock", advance_seconds=_HOUR)
    assert (await client.v1.subscriptions.retrieve_async(subscription.id)).status == "past_due"
    (unpaid,) = (
        await client.v1.invoices.list_async({"subscription": subscription.id, "status": "open"})
    ).data
    assert unpaid.next_payment_attempt is not None
    await client.v1.invoices.pay_async(
        unpaid.id, {"payment_method": str(subscription.default_payment_method)}
    )
    assert (await client.v1.subscriptions.retrieve_async(subscription.id)).status == "active"


async def test_an_upgrade_is_prorated_and_an_end_is_final(client: StripeClient) -> None:
    """Credit and charge for the rest of the period become pending items; canceling ends it at once."""
    subscription = await _subscribed(client)
    item = subscription["items"]["data"][0]
    price = await client.v1.prices.create_async(
        {
            "product": item["price"]["product"],
            "currency": "usd",
            "unit_amount": 9900,
            "recurring": {"interval": "month"},
        }
    )
    await client.v1.subscriptions.update_async(
        subscription.id, {"items": [{"id": item["id"], "price": price.id}]}
    )
    pending = await client.v1.invoice_items.list_async(
        {"customer": str(subscription.customer), "pending": True}
    )
    assert sorted(one.amount for one in pending.data) == [-2900, 9900]
    ended = await client.v1.subscriptions.cancel_async(subscription.id)
    assert ended.status == "canceled"
