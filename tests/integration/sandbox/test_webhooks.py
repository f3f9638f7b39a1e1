"""Webhooks: signed, retried, and misbehaving on demand."""

import hashlib
import hmac
import json
from typing import Any

import aiohttp
import pytest
import stripe
from stripe import StripeClient

from farebox.sandbox.app import Sandbox


async def _events(receiver: Any, number: int) -> list[dict[str, Any]]:
    return [json.loads((await receiver.next())[0]) for _ in range(number)]


async def test_the_sdk_accepts_the_signature(sandbox: Sandbox, client: StripeClient, receiver: Any) -> None:
    """The raw body and its header satisfy Stripe's own check; with another secret they do not."""
    customer = await client.v1.customers.create_async({"name": "Anna"})
    body, headers = await receiver.next()
    event = stripe.Webhook.construct_event(
        body, headers["Stripe-Signature"], sandbox.keys.stripe_webhook_secret
    )
    assert (event.type, event.data.object["id"]) == ("customer.created", customer.id)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, headers["Stripe-Signature"], "whsec_other")


async def test_it_is_sent_until_it_is_taken(
    client: StripeClient, receiver: Any, http: aiohttp.ClientSession
) -> None:
    """An endpoint that refuses twice gets the same event a third time."""
    receiver.answers = [500, 302]
    await client.v1.customers.create_async({"name": "Anna"})
    assert len({event["id"] for event in await _events(receiver, 3)}) == 1
    async with http.get("/sandbox/state") as answer:
        assert (await answer.json())["objects"]["event"] == 1


async def test_forged_and_old_ones_on_demand(
    sandbox: Sandbox, client: StripeClient, receiver: Any, control: Any
) -> None:
    """Both arrive, and neither passes the SDK's check."""
    await client.v1.customers.create_async({"name": "Anna"})
    (event,) = await _events(receiver, 1)
    for kind in ("forged", "old"):
        await control("deliveries/send", event=event["id"], signature=kind)
        body, headers = await receiver.next()
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(
                body, headers["Stripe-Signature"], sandbox.keys.stripe_webhook_secret
            )


async def test_reordered_doubled_and_lost_on_demand(
    client: StripeClient, receiver: Any, control: Any
) -> None:
    """Held events come in the order that was asked for, as often as was asked for; lost ones never."""
    await control("deliveries/lose", type="customer.created", times=1)
    await control("settings", webhooks_held=True)
    names = ["a", "b", "c"]
    for name in names:
        await client.v1.customers.create_async({"name": name})
    sent = await control("deliveries/release", order="reversed", duplicates=1)
    assert sent["sent"] == 4
    got = [event["data"]["object"]["name"] for event in await _events(receiver, 4)]
    assert got == ["c", "b", "c", "b"]
    listed = await client.v1.events.list_async({"type": "customer.created"})
    assert len(listed.data) == 3  # the lost one can still be listed


async def test_a_paystack_payment_is_announced(sandbox: Sandbox, receiver: Any) -> None:
    """HMAC-SHA512 of the raw body with the secret key, in x-paystack-signature."""
    headers = {"Authorization": f"Bearer {sandbox.keys.paystack_secret_key}"}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        given = {"email": "ada@example.com", "amount": "500000", "reference": "r-1"}
        async with session.post("/transaction/initialize", json=given) as answer:
            url = (await answer.json())["data"]["authorization_url"]
        await session.post(url, data={"number": "4084 0840 8408 4081", "expiry": "12/40", "cvv": "408"})
    body, got = await receiver.next()
    expected = hmac.new(sandbox.keys.paystack_secret_key.encode(), body, hashlib.sha512).hexdigest()
    assert got["x-paystack-signature"] == expected
    assert json.loads(body)["event"] == "charge.success"
