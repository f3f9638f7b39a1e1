"""Customers, cards and payments through the real SDK."""

import pytest
import stripe
from stripe import StripeClient


async def _customer(client: StripeClient, card: str = "pm_card_visa") -> tuple[str, str]:
    customer = await client.v1.customers.create_async({"email": "anna@example.com"})
    method = await client.v1.payment_methods.attach_async(card, {"customer": customer.id})
    return customer.id, method.id


async def _charge(client: StripeClient, card: str, amount: int = 4299) -> stripe.PaymentIntent:
    customer, method = await _customer(client, card)
    return await client.v1.payment_intents.create_async(
        {
            "amount": amount,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "confirm": True,
            "off_session": True,
            "allowed_payment_method_types": ["card"],
            "expand": ["latest_charge.balance_transaction"],
        }
    )


async def test_a_good_card_is_charged_off_session(client: StripeClient) -> None:
    """The charge, its fee and its net stand in the answer, expanded."""
    intent = await _charge(client, "pm_card_visa")
    assert (intent.status, intent.amount_received) == ("succeeded", 4299)
    charge = intent.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert isinstance(charge.balance_transaction, stripe.BalanceTransaction)
    assert charge.balance_transaction.net == 4299 - charge.balance_transaction.fee == 4299 - 155


async def test_a_declined_card_leaves_its_intent(client: StripeClient) -> None:
    """402 with the issuer's reason; the intent waits for another card and its failed charge is listed."""
    with pytest.raises(stripe.CardError) as declined:
        await _charge(client, "pm_card_chargeCustomerFail")
    error = declined.value.error
    assert error is not None
    assert error.payment_intent is not None
    assert (error.code, error.decline_code) == ("card_declined", "generic_decline")
    intent = await client.v1.payment_intents.retrieve_async(error.payment_intent.id)
    assert intent.status == "requires_payment_method"
    charges = await client.v1.charges.list_async({"payment_intent": intent.id})
    assert [charge.status for charge in charges.data] == ["failed"]


async def test_refunds_never_exceed_the_charge(client: StripeClient) -> None:
    """Part, then the rest, then 400 with the reason."""
    intent = await _charge(client, "pm_card_visa", 1000)
    first = await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 400})
    assert (first.amount, first.status) == (400, "succeeded")
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 601})
    assert (await client.v1.refunds.create_async({"payment_intent": intent.id})).amount == 600
    with pytest.raises(stripe.InvalidRequestError) as again:
        await client.v1.refunds.create_async({"payment_intent": intent.id})
    assert again.value.code == "charge_already_refunded"
