"""Each test card does what Stripe's page says."""

import re
from typing import Any

import aiohttp
import pytest
import stripe
from stripe import StripeClient

from farebox.sandbox.app import Sandbox
from farebox.sandbox.stripe.cards import CARDS, Card, passes_luhn


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_numbers_have_a_right_check_digit(card: Card) -> None:
    """A form that checks the number lets every test card through."""
    assert passes_luhn(card.number)


async def _intent(client: StripeClient, card: str, **more: Any) -> stripe.PaymentIntent:
    customer = await client.v1.customers.create_async({})
    given: Any = {
        "amount": 1000,
        "currency": "eur",
        "customer": customer.id,
        "payment_method": card,
        "confirm": True,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        **more,
    }
    return await client.v1.payment_intents.create_async(given)


@pytest.mark.parametrize(
    ("card", "code", "reason"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
async def test_a_decline_has_its_reason(client: StripeClient, card: str, code: str, reason: str) -> None:
    """402 with code and decline_code, on a charge and on saving the card alike."""
    with pytest.raises(stripe.CardError) as charged:
        await _intent(client, card)
    customer = await client.v1.customers.create_async({})
    with pytest.raises(stripe.CardError) as saved:
        await client.v1.payment_methods.attach_async(card, {"customer": customer.id})
    for refused in (charged.value, saved.value):
        assert refused.http_status == 402
        assert refused.error is not None
        assert (refused.error.code, refused.error.decline_code) == (code, reason)


async def test_off_session_needs_no_holder_or_says_so(client: StripeClient) -> None:
    """A card that must be authenticated is declined off-session, with authentication_required."""
    with pytest.raises(stripe.CardError) as refused:
        await _intent(client, "pm_card_authenticationRequired", off_session=True)
    assert refused.value.code == "authentication_required"


@pytest.mark.parametrize(("answer", "status"), [("yes", "succeeded"), ("no", "requires_payment_method")])
async def test_three_d_secure_asks_a_person(
    client: StripeClient, http: aiohttp.ClientSession, answer: str, status: str
) -> None:
    """The intent leads to a page; its answer decides, and the person is sent back with the outcome."""
    intent = await _intent(
        client, "pm_card_authenticationRequired", return_url="https://seller.example/back?a=1"
    )
    assert intent.status == "requires_action"
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    url = str(intent.next_action.redirect_to_url.url)
    async with http.get(url) as page:
        assert "Was it you?" in await page.text()
    async with http.post(url, data={"answer": answer}, allow_redirects=False) as back:
        assert back.headers["Location"].startswith("https://seller.example/back?a=1&payment_intent=pi_")
    assert (await client.v1.payment_intents.retrieve_async(intent.id)).status == status
    async with http.get(url.replace("_secret_", "_wrong_")) as page:
        assert page.status == 404


async def test_a_card_set_up_once_serves_off_session(
    client: StripeClient, http: aiohttp.ClientSession
) -> None:
    """SetupIntent with 3-D Secure, then charges without the holder."""
    customer = await client.v1.customers.create_async({})
    setup = await client.v1.setup_intents.create_async(
        {
            "customer": customer.id,
            "payment_method": "pm_card_authenticationRequiredOnSetup",
            "confirm": True,
            "return_url": "https://seller.example/back",
        }
    )
    assert setup.next_action is not None
    assert setup.next_action.redirect_to_url is not None
    await http.post(str(setup.next_action.redirect_to_url.url), data={"answer": "yes"}, allow_redirects=False)
    setup = await client.v1.setup_intents.retrieve_async(setup.id)
    assert setup.status == "succeeded"
    paid = await client.v1.payment_intents.create_async(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": str(setup.payment_method),
            "confirm": True,
            "off_session": True,
            "allowed_payment_method_types": ["card"],
        }
    )
    assert paid.status == "succeeded"


async def test_a_confirmation_without_a_way_back_is_refused(client: StripeClient) -> None:
    """With payment methods that may redirect, Stripe wants a return_url; so does the sandbox."""
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await client.v1.payment_intents.create_async(
            {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
        )


async def test_the_postal_code_is_checked(
    sandbox: Sandbox, http: aiohttp.ClientSession, client: StripeClient, control: Any
) -> None:
    """The card of the failing postal code is blocked, and passes where the account does not block."""
    publishable = {"Authorization": f"Bearer {sandbox.keys.stripe_publishable_key}"}
    card = {
        "type": "card",
        "card[number]": "4000000000000036",
        "card[exp_month]": "12",
        "card[exp_year]": "2040",
        "card[cvc]": "123",
        "billing_details[address][postal_code]": "12345",
    }
    async with http.post("/v1/payment_methods", data=card, headers=publishable) as answer:
        method = (await answer.json())["id"]
    with pytest.raises(stripe.CardError) as refused:
        await _intent(client, method)
    assert refused.value.code == "incorrect_zip"
    await control("settings", block_failed_postal_code=False)
    paid = await _intent(client, method, expand=["latest_charge"])
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert paid.latest_charge.payment_method_details is not None
    card_details = paid.latest_charge.payment_method_details.card
    assert card_details is not None
    assert card_details.checks is not None
    assert card_details.checks.address_postal_code_check == "fail"


async def test_a_disputed_card_is_disputed(client: StripeClient) -> None:
    """Money leaves with a fee; winning evidence brings it back; a refund is refused meanwhile."""
    paid = await _intent(client, "pm_card_createDispute")
    (dispute,) = (await client.v1.disputes.list_async({"payment_intent": paid.id})).data
    assert (dispute.status, dispute.amount) == ("needs_response", 1000)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.refunds.create_async({"payment_intent": paid.id})
    assert refused.value.code == "charge_disputed"
    evidence: Any = {"uncategorized_text": "winning_evidence"}
    won = await client.v1.disputes.update_async(dispute.id, {"evidence": evidence, "submit": True})
    assert won.status == "won"
    moves = (await client.v1.balance_transactions.list_async({"type": "adjustment"})).data
    assert sorted(move.amount for move in moves) == [-1000, 1000]


async def test_checkout_takes_a_person_there_and_back(
    client: StripeClient, http: aiohttp.ClientSession
) -> None:
    """A declined card stays on the page with the reason; a good one pays and leads back with the
    session's id.
    """
    session = await client.v1.checkout.sessions.create_async(
        {
            "mode": "payment",
            "success_url": "https://seller.example/ok?s={CHECKOUT_SESSION_ID}",
            "client_reference_id": "inv_1",
            "payment_intent_data": {"metadata": {"invoice": "inv_1"}},
            "line_items": [
                {
                    "quantity": 2,
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": 1250,
                        "product_data": {"name": "Credits"},
                    },
                }
            ],
        }
    )
    form = {
        "number": "4000000000009995",
        "expiry": "12 / 40",
        "cvc": "123",
        "name": "Anna",
        "postal_code": "1010",
    }
    assert session.url is not None
    async with http.post(session.url, data=form) as page:
        assert "insufficient funds" in await page.text()
    form["number"] = "4242 4242 4242 4242"
    async with http.post(session.url, data=form, allow_redirects=False) as page:
        assert page.headers["Location"] == f"https://seller.example/ok?s={session.id}"
    done = await client.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["payment_intent", "line_items"]}
    )
    assert (done.status, done.payment_status, done.amount_total) == ("complete", "paid", 2500)
    assert isinstance(done.payment_intent, stripe.PaymentIntent)
    assert done.payment_intent.metadata["invoice"] == "inv_1"


async def test_no_card_number_is_kept(
    sandbox: Sandbox, client: StripeClient, http: aiohttp.ClientSession
) -> None:
    """What the sandbox writes down holds no number: not in objects, events, answers or deliveries."""
    await test_checkout_takes_a_person_there_and_back(client, http)
    store = sandbox.world.store
    kept = [str(store.rows(f"SELECT * FROM {table}")) for table in ("objects", "answers", "deliveries")]
    assert not re.search(r"4242 ?4242 ?4242|4000000000009995", "".join(kept))
