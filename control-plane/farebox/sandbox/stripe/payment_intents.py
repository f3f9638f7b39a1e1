"""Payment intents: https://docs.stripe.com/api/payment_intents and their life cycle.

A declined card answers 402 and leaves the intent behind, waiting for another card, as at Stripe.
"""

from typing import Final

from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    PaymentIntentUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import after_payment
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.charges import charge, settle
from farebox.sandbox.stripe.confirming import (
    by_secret,
    check_return_url,
    next_action,
    payment_method_choice,
    refused,
    unexpected,
    verdict,
)
from farebox.sandbox.stripe.errors import Refusal
from farebox.sandbox.stripe.money import chargeable, currency
from farebox.sandbox.stripe.payment_methods import attach, card_of, checks, method_named, usable

_PLAIN: Final = (
    "description receipt_email shipping statement_descriptor statement_descriptor_suffix setup_future_usage"
)
_CONFIRMING: Final = names("off_session return_url error_on_requires_action")
_CREATED: Final = names(
    _PLAIN + " amount currency customer payment_method metadata confirm capture_method confirmation_method"
    " allowed_payment_method_types automatic_payment_methods"
)
_OPEN: Final = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})


def create(call: Call) -> Obj:
    """POST /v1/payment_intents."""
    given = call.params
    intent = new_intent(call, given["amount"], given["currency"], customer=given.get("customer"))
    if "payment_method" in given:
        intent["payment_method"] = usable(call, given["payment_method"], intent["customer"])["id"]
        intent["status"] = "requires_confirmation"
    confirming = given.get("confirm", False)
    for name in _CONFIRMING & given.keys():
        if not confirming:
            raise Refusal(400, f"`{name}` can only be passed with `confirm`=true.", param=name)
    if confirming:
        check_return_url(intent, given.get("return_url"), "PaymentIntent")
    call.emit("payment_intent.created", call.keep(intent))
    return _confirm_as_asked(call, intent) if confirming else intent


def new_intent(call: Call, amount: int, code: str, *, customer: str | None) -> Obj:
    """An intent with the parameters of this call; it is not kept yet."""
    from farebox.sandbox.stripe.customers import existing

    given, code = call.params, currency(code)
    chargeable(amount, code)
    if customer is not None:
        existing(call, customer)
    intent = call.start(
        "pi",
        amount=amount,
        amount_capturable=0,
        amount_details={"tip": {}},
        amount_received=0,
        application=None,
        application_fee_amount=None,
        canceled_at=None,
        cancellation_reason=None,
        capture_method=given.get("capture_method", "automatic_async"),
        confirmation_method=given.get("confirmation_method", "automatic"),
        currency=code,
        customer=customer,
        last_payment_error=None,
        latest_charge=None,
        metadata={},
        next_action=None,
        on_behalf_of=None,
        payment_method=None,
        payment_method_configuration_details=None,
        payment_method_options={
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        **payment_method_choice(call),
        processing=None,
        review=None,
        source=None,
        status="requires_payment_method",
        transfer_data=None,
        transfer_group=None,
        **dict.fromkeys(_PLAIN.split()),
    )
    intent["client_secret"] = f"{intent['id']}_secret_{call.world.store.new_text()}"
    _change_plain(call, intent)
    return intent


def _change_plain(call: Call, intent: Obj) -> None:
    for name in _PLAIN.split():
        if name in call.params:
            intent[name] = None if call.params[name] == "" else call.params[name]
    call.remember_metadata(intent)


def confirmed(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/confirm, by a server or by our form."""
    intent = by_secret(call, call.find("payment_intent", call.named["id"], param="intent"), "payment_intent")
    given = call.params
    if intent["status"] not in _OPEN:
        raise unexpected(intent, "confirm")
    if not call.publishable:
        check_return_url(intent, given.get("return_url"), "PaymentIntent")
    elif {"off_session", "error_on_requires_action"} & given.keys():
        raise Refusal(400, "`off_session` needs a secret key.", param="off_session")
    if "payment_method" in given:
        intent["payment_method"] = usable(call, given["payment_method"], intent["customer"])["id"]
    _change_plain(call, intent)
    return _confirm_as_asked(call, intent)


def _confirm_as_asked(call: Call, intent: Obj) -> Obj:
    given = call.params
    return confirm(
        call,
        intent,
        return_url=given.get("return_url"),
        off_session=bool(given.get("off_session", False)),
        error_on_action=given.get("error_on_requires_action", False),
    )


def confirm(
    call: Call,
    intent: Obj,
    *,
    return_url: str | None = None,
    off_session: bool = False,
    error_on_action: bool = False,
) -> Obj:
    """Try the card: money, a refusal (402, kept), or a question to its holder. The intent is kept in any
    case.
    """
    if intent["payment_method"] is None:
        raise Refusal(
            400,
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can "
            "either update "
            "the PaymentIntent with a payment method and then confirm it again, or confirm it again "
            "directly with a "
            "payment method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
        )
    method = method_named(call, intent["payment_method"])
    intent["_return_url"] = return_url
    asks = card_of(method).authentication
    if asks == "always" or (asks == "set_up" and not method["_authenticated"]):
        if off_session or error_on_action:
            raise _needs_authentication(call, intent, method)
        intent |= {"status": "requires_action", "next_action": next_action(call, intent, return_url)}
        call.emit("payment_intent.requires_action", call.keep(intent))
        return intent
    return finish(call, intent, method, three_d_secure=False)


def finish(call: Call, intent: Obj, method: Obj, *, three_d_secure: bool) -> Obj:
    """The card after its holder was asked, or with no need to: charged, or declined (402)."""
    if (error := verdict(call, method)) is not None:
        raise _failed(call, intent, method, error, three_d_secure=three_d_secure)
    method["card"]["checks"] = checks(method)
    method["_authenticated"] = method["_authenticated"] or three_d_secure
    captured = intent["capture_method"] != "manual"
    made = charge(call, intent, method, error=None, captured=captured, three_d_secure=three_d_secure)
    intent |= {"latest_charge": made["id"], "last_payment_error": None, "next_action": None}
    if (
        intent["customer"] is not None
        and intent["setup_future_usage"] is not None
        and method["customer"] is None
    ):
        attach(call, method, intent["customer"])
    method["_spent"] = method["customer"] is None
    call.keep(method)
    if captured:
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        call.emit("payment_intent.succeeded", call.keep(intent))
        after_payment.succeeded(call, intent, made, card_of(method))
    else:
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        call.emit("payment_intent.amount_capturable_updated", call.keep(intent))
    return intent


def _needs_authentication(call: Call, intent: Obj, method: Obj) -> Refusal:
    error = {
        "code": "authentication_required",
        "decline_code": "authentication_required",
        "type": "card_error",
        "message": "Your card was declined. This transaction requires authentication.",
        "payment_method": method,
        "doc_url": "https://stripe.com/docs/error-codes/authentication-required",
    }
    return _failed(call, intent, method, error, three_d_secure=False)


def _failed(call: Call, intent: Obj, method: Obj, error: Obj, *, three_d_secure: bool) -> Refusal:
    made = charge(call, intent, method, error=error, captured=False, three_d_secure=three_d_secure)
    error = {**error, "charge": made["id"]}
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_payment_error": error,
        "latest_charge": made["id"],
        "next_action": None,
    }
    call.emit("payment_intent.payment_failed", call.keep(intent))
    return refused(error, "payment_intent", dict(intent))


def fail_authentication(call: Call, intent: Obj) -> Obj:
    """The holder did not prove who they are."""
    error = {
        "code": "payment_intent_authentication_failure",
        "type": "invalid_request_error",
        "message": "The provided PaymentMethod has failed authentication. You can provide "
        "payment_method_data or a new "
        "PaymentMethod to attempt to fulfill this PaymentIntent again.",
    }
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_payment_error": error,
        "next_action": None,
    }
    call.emit("payment_intent.payment_failed", call.keep(intent))
    return intent


def retrieve(call: Call) -> Obj:
    """GET /v1/payment_intents/{id}."""
    return by_secret(call, call.find("payment_intent", call.named["id"], param="intent"), "payment_intent")


def update(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}; a succeeded one takes metadata and description alone."""
    from farebox.sandbox.stripe.customers import existing

    given: Obj = call.params
    intent: Obj = call.find("payment_intent", call.named["id"], param="intent")
    if intent["status"] not in _OPEN and given.keys() - {
        "metadata",
        "description",
        "receipt_email",
        "expand",
    }:
        raise unexpected(intent, "update")
    intent["currency"] = currency(given["currency"] if "currency" in given else intent["currency"])
    intent["amount"] = chargeable(
        given["amount"] if "amount" in given else intent["amount"], intent["currency"]
    )
    if "customer" in given:
        intent["customer"] = existing(call, given["customer"])["id"]
    if "payment_method" in given:
        intent["payment_method"] = usable(call, given["payment_method"], intent["customer"])["id"]
        intent["status"] = "requires_confirmation"
    _change_plain(call, intent)
    return call.keep(intent)


def capture(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/capture, all of it or less."""
    intent = call.find("payment_intent", call.named["id"], param="intent")
    if intent["status"] != "requires_capture":
        raise unexpected(intent, "capture")
    amount: int = intent["amount_capturable"]
    if "amount_to_capture" in call.params:
        amount = call.params["amount_to_capture"]
    if not 1 <= amount <= intent["amount_capturable"]:
        raise Refusal(
            400,
            "The requested capture amount is greater than the amount you can capture for this charge.",
            param="amount_to_capture",
            code="amount_too_large",
        )
    taken = call.find("charge", intent["latest_charge"])
    settle(call, taken, amount)
    call.emit("charge.captured", taken)
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    call.emit("payment_intent.succeeded", call.keep(intent))
    return intent


def cancel(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/cancel."""
    intent = call.find("payment_intent", call.named["id"], param="intent")
    if intent["status"] not in _OPEN | {"requires_capture"}:
        raise unexpected(intent, "cancel")
    intent |= {
        "status": "canceled",
        "canceled_at": call.now,
        "next_action": None,
        "amount_capturable": 0,
        "cancellation_reason": call.params.get("cancellation_reason"),
    }
    call.emit("payment_intent.canceled", call.keep(intent))
    return intent


def listed(call: Call) -> Obj:
    """GET /v1/payment_intents."""
    customer = call.params.get("customer")
    if customer is not None:
        call.referred("customer", "customer")
    return call.page(
        "payment_intent", "/v1/payment_intents", keeps=lambda body: customer in {None, body["customer"]}
    )


ENDPOINTS: Final = (
    Endpoint("POST", "/v1/payment_intents", PaymentIntentCreateParams, create, _CREATED | _CONFIRMING),
    Endpoint("GET", "/v1/payment_intents", PaymentIntentListParams, listed, LISTING | {"customer"}),
    Endpoint(
        "GET",
        "/v1/payment_intents/{id}",
        PaymentIntentRetrieveParams,
        retrieve,
        names("client_secret"),
        publishable=True,
    ),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}",
        PaymentIntentUpdateParams,
        update,
        names(_PLAIN + " amount currency customer payment_method metadata"),
    ),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}/confirm",
        PaymentIntentConfirmParams,
        confirmed,
        _CONFIRMING
        | names("payment_method use_stripe_sdk client_secret receipt_email setup_future_usage shipping"),
        publishable=True,
        also=names("client_secret"),
    ),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}/capture",
        PaymentIntentCaptureParams,
        capture,
        names("amount_to_capture"),
    ),
    Endpoint(
        "POST",
        "/v1/payment_intents/{id}/cancel",
        PaymentIntentCancelParams,
        cancel,
        names("cancellation_reason"),
    ),
)
