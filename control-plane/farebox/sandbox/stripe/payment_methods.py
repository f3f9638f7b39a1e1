"""Payment methods: cards typed into our Elements form, and the `pm_card_…` test cards.

https://docs.stripe.com/api/payment_methods. A number is looked up in the list of test cards and forgotten:
what is kept is the card's name. The API refuses numbers that come with a secret key, as Stripe does.
"""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from stripe.params import (
    PaymentMethodAttachParams,
    PaymentMethodCreateParams,
    PaymentMethodDetachParams,
    PaymentMethodListParams,
    PaymentMethodRetrieveParams,
    PaymentMethodUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.cards import CARDS, Card, named, numbered, passes_luhn
from farebox.sandbox.stripe.errors import Refusal, invalid, no_such

_UNSAFE: Final = (
    "Sending credit card numbers directly to the Stripe API is generally unsafe. To continue processing use "
    "Stripe.js, the Stripe mobile bindings, or Stripe Elements."
)
_SPENT: Final = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, "
    "shared with "
    "a connected account without Customer attachment, or was detached from a Customer. It may not be "
    "used again. "
    "To use a PaymentMethod multiple times, you must attach it to a Customer first."
)
_BY_NAME: Final = {card.name: card for card in CARDS}


def card_of(method: Obj) -> Card:
    """What the test card behind a payment method does."""
    return _BY_NAME[method["_card"]]


def create(call: Call) -> Obj:
    """POST /v1/payment_methods: by our form with a publishable key, or from `card[token]`."""
    given = call.params
    if given.get("type") != "card":
        raise invalid("Invalid type: the sandbox simulates card", "type")
    details = given.get("card", {})
    if token := details.get("token"):
        if (card := named(token)) is None:
            raise no_such("token", token, param="card[token]")
        method = new_method(call, card, billing=given.get("billing_details"))
    else:
        if not call.publishable:
            raise Refusal(402, _UNSAFE)
        method = new_method(
            call, typed_card(call, details), billing=given.get("billing_details"), expires=_expiry(details)
        )
    call.remember_metadata(method)
    return call.keep(method)


def typed_card(call: Call, details: Obj) -> Card:
    """The test card behind typed details; Refusal 402 for what a person mistyped."""
    number = str(details.get("number", "")).replace(" ", "").replace("-", "")
    if not number.isascii() or not number.isdigit() or not 12 <= len(number) <= 19 or not passes_luhn(number):
        raise _typed("incorrect_number", "Your card number is incorrect.", "number")
    month, year = _expiry(details)
    today = datetime.fromtimestamp(call.now, UTC)
    if not 1 <= month <= 12:
        raise _typed("invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month")
    if not today.year <= year <= today.year + 50 or (year, month) < (today.year, today.month):
        raise _typed("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year")
    cvc = str(details.get("cvc", ""))
    if not (cvc.isascii() and cvc.isdigit() and len(cvc) in {3, 4}):
        raise _typed("invalid_cvc", "Your card's security code is invalid.", "cvc")
    card = numbered(number)
    if card is None:
        raise Refusal(
            402,
            "Your card was declined. Your request was in test mode, but used a non test card.",
            kind="card_error",
            code="card_declined",
            decline_code="test_mode_live_card",
            param="",
        )
    return card


def _expiry(details: Obj) -> tuple[int, int]:
    month, year = int(details.get("exp_month", 0)), int(details.get("exp_year", 0))
    return month, year + 2000 if year < 100 else year


def _typed(code: str, message: str, param: str) -> Refusal:
    return Refusal(402, message, kind="card_error", code=code, param=param)


def new_method(
    call: Call,
    card: Card,
    *,
    billing: Any = None,
    expires: tuple[int, int] | None = None,
    customer: str | None = None,
) -> Obj:
    """A payment method for a test card; it is not kept yet."""
    month, year = expires or (12, datetime.fromtimestamp(call.now, UTC).year + 3)
    given = billing or {}
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    seed = f"{call.world.store.note('seed')}:{card.number}".encode()
    return call.start(
        "pm",
        type="card",
        customer=customer,
        allow_redisplay="unspecified",
        metadata={},
        billing_details={
            "address": {**address, **(given.get("address") or {})},
            "tax_id": None,
            **{part: given.get(part) for part in ("email", "name", "phone")},
        },
        card={
            "brand": card.brand,
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": month,
            "exp_year": year,
            "fingerprint": sha256(seed).hexdigest()[:16],
            "funding": "credit",
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": "unchecked"
                if (given.get("address") or {}).get("postal_code")
                else None,
                "cvc_check": "unchecked",
            },
            "generated_from": None,
            "last4": card.last4,
            "regulated_status": "unregulated",
            "networks": {"available": [card.brand], "preferred": None},
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        _card=card.name,
        _authenticated=False,
        _spent=False,
    )


def method_named(call: Call, given: str, *, param: str = "payment_method") -> Obj:
    """The payment method of this id; `pm_card_…` becomes a new one. Refusal 400."""
    if (card := named(given)) is not None:
        return call.keep(new_method(call, card))
    return call.referred("payment_method", param, object_id=given)


def usable(call: Call, given: str, customer: str | None) -> Obj:
    """A payment method to be confirmed with, as this customer; Refusal where it is another's or spent."""
    method = method_named(call, given)
    if method["_spent"]:
        raise Refusal(400, _SPENT, param="payment_method")
    owner = method["customer"]
    if owner is not None and customer is None:
        raise Refusal(
            400,
            "The PaymentMethod supplied belongs to a Customer. Please include the Customer in the `customer` "
            "parameter on the PaymentIntent.",
            param="payment_method",
            code="payment_method_customer_required",
        )
    if owner is not None and owner != customer:
        raise Refusal(
            400,
            f"The PaymentMethod {method['id']} does not belong to the Customer {customer}.",
            param="payment_method",
        )
    return method


def retrieve(call: Call) -> Obj:
    """GET /v1/payment_methods/{id}."""
    return call.find("payment_method", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/payment_methods/{id}: billing details, expiry and metadata."""
    method = call.find("payment_method", call.named["id"])
    if method["customer"] is None:
        raise Refusal(400, "You must save this PaymentMethod to a customer before you can update it.")
    details = call.params.get("billing_details") or {}
    method["billing_details"]["address"] |= details.get("address") or {}
    method["billing_details"] |= {name: value for name, value in details.items() if name != "address"}
    method["card"] |= call.params.get("card", {})
    call.remember_metadata(method)
    call.emit("payment_method.updated", call.keep(method))
    return method


def attached(call: Call) -> Obj:
    """POST /v1/payment_methods/{id}/attach."""
    from farebox.sandbox.stripe.customers import existing

    if "customer" not in call.params:
        raise Refusal(400, "Missing required param: customer.", code="parameter_missing", param="customer")
    owner = existing(call, call.params["customer"])
    card = named(call.named["id"])
    if card is None:
        method = call.find("payment_method", call.named["id"], param="payment_method")
    else:
        method = call.keep(new_method(call, card))
    return attach(call, method, owner["id"])


def attach(call: Call, method: Obj, customer: str) -> Obj:
    """Save the card with the customer. Refusal 402 for cards that no issuer lets be saved."""
    if method["customer"] == customer:
        return method
    if method["customer"] is not None:
        raise Refusal(400, "The payment method you provided has already been attached to a customer.")
    if method["_spent"]:
        raise Refusal(400, _SPENT)
    card = card_of(method)
    if card.declines and not card.attaches:
        raise Refusal(
            402, card.message, kind="card_error", code=card.declines, decline_code=card.decline_code, param=""
        )
    method["customer"] = customer
    method["card"]["checks"] = checks(method)
    call.emit("payment_method.attached", call.keep(method))
    return method


def shown_method(method: Obj) -> Obj:
    """A copy to be put into another object, as it is now."""
    return {**method, "card": {**method["card"]}}


def checks(method: Obj) -> Obj:
    """What the issuer says of address and security code once it was asked."""
    card, address = card_of(method), method["billing_details"]["address"]
    return {
        "address_line1_check": "pass" if address["line1"] else None,
        "address_postal_code_check": card.postal_code_check if address["postal_code"] else None,
        "cvc_check": card.cvc_check,
    }


def detach(call: Call) -> Obj:
    """POST /v1/payment_methods/{id}/detach: it can never be used again."""
    method = call.find("payment_method", call.named["id"], param="payment_method")
    if method["customer"] is None:
        raise Refusal(
            400, "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    owner = method["customer"]
    method |= {"customer": None, "_spent": True}
    call.emit("payment_method.detached", call.keep(method), previous={"customer": owner})
    customer = call.world.store.get("customer", owner)
    if (
        customer is not None
        and customer.get("invoice_settings", {}).get("default_payment_method") == method["id"]
    ):
        customer["invoice_settings"]["default_payment_method"] = None
        call.keep(customer)
    return method


def listed(call: Call) -> Obj:
    """GET /v1/payment_methods?customer=."""
    owner, kind = call.params.get("customer"), call.params.get("type")
    if owner is not None:
        call.referred("customer", "customer")
    return call.page(
        "payment_method",
        "/v1/payment_methods",
        keeps=lambda body: body["customer"] == owner and owner is not None and kind in {None, body["type"]},
    )


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/payment_methods",
        PaymentMethodCreateParams,
        create,
        names("type card billing_details metadata"),
        publishable=True,
    ),
    Endpoint(
        "GET",
        "/v1/payment_methods",
        PaymentMethodListParams,
        listed,
        LISTING - {"created"} | {"customer", "type"},
    ),
    Endpoint("GET", "/v1/payment_methods/{id}", PaymentMethodRetrieveParams, retrieve),
    Endpoint(
        "POST",
        "/v1/payment_methods/{id}",
        PaymentMethodUpdateParams,
        update,
        names("billing_details card metadata"),
    ),
    Endpoint(
        "POST", "/v1/payment_methods/{id}/attach", PaymentMethodAttachParams, attached, names("customer")
    ),
    Endpoint("POST", "/v1/payment_methods/{id}/detach", PaymentMethodDetachParams, detach),
)
