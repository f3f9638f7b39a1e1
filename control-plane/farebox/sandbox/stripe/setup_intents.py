"""Setup intents: saving a card for later. https://docs.stripe.com/api/setup_intents."""

from typing import Final

from stripe.params import (
    SetupIntentCancelParams,
    SetupIntentConfirmParams,
    SetupIntentCreateParams,
    SetupIntentListParams,
    SetupIntentRetrieveParams,
    SetupIntentUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
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
from farebox.sandbox.stripe.payment_methods import attach, card_of, checks, method_named, usable

_HONOURED: Final = names(
    "customer payment_method description metadata usage allowed_payment_method_types "
    "automatic_payment_methods"
)


def create(call: Call) -> Obj:
    """POST /v1/setup_intents."""
    from farebox.sandbox.stripe.customers import existing

    given = call.params
    if "customer" in given:
        existing(call, given["customer"])
    intent = call.start(
        "seti",
        application=None,
        cancellation_reason=None,
        customer=given.get("customer"),
        description=given.get("description"),
        flow_directions=None,
        last_setup_error=None,
        latest_attempt=None,
        mandate=None,
        metadata={},
        next_action=None,
        on_behalf_of=None,
        payment_method=None,
        payment_method_configuration_details=None,
        payment_method_options={
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        **payment_method_choice(call),
        single_use_mandate=None,
        status="requires_payment_method",
        usage=given.get("usage", "off_session"),
    )
    intent["client_secret"] = f"{intent['id']}_secret_{call.world.store.new_text()}"
    call.remember_metadata(intent)
    if "payment_method" in given:
        intent["payment_method"] = usable(call, given["payment_method"], intent["customer"])["id"]
        intent["status"] = "requires_confirmation"
    if given.get("confirm"):
        check_return_url(intent, given.get("return_url"), "SetupIntent")
    elif "return_url" in given:
        raise Refusal(400, "`return_url` can only be passed with `confirm`=true.", param="return_url")
    call.emit("setup_intent.created", call.keep(intent))
    return confirm(call, intent, given.get("return_url")) if given.get("confirm") else intent


def confirmed(call: Call) -> Obj:
    """POST /v1/setup_intents/{id}/confirm, by a server or by our form."""
    intent = by_secret(call, call.find("setup_intent", call.named["id"], param="intent"), "setup_intent")
    given = call.params
    if intent["status"] not in {"requires_payment_method", "requires_confirmation", "requires_action"}:
        raise unexpected(intent, "confirm")
    if not call.publishable:
        check_return_url(intent, given.get("return_url"), "SetupIntent")
    if "payment_method" in given:
        intent["payment_method"] = usable(call, given["payment_method"], intent["customer"])["id"]
    return confirm(call, intent, given.get("return_url"))


def confirm(call: Call, intent: Obj, return_url: str | None) -> Obj:
    """Try the card: saved, declined, or a question to its holder."""
    if intent["payment_method"] is None:
        raise Refusal(
            400,
            "You cannot confirm this SetupIntent because it's missing a payment method. Update the "
            "SetupIntent "
            "with a payment method and then confirm it again.",
            param="payment_method",
            code="parameter_missing",
        )
    method = method_named(call, intent["payment_method"])
    intent["_return_url"] = return_url
    if card_of(method).authentication != "never":
        intent |= {"status": "requires_action", "next_action": next_action(call, intent, return_url)}
        call.emit("setup_intent.requires_action", call.keep(intent))
        return intent
    return finish(call, intent, method)


def finish(call: Call, intent: Obj, method: Obj) -> Obj:
    """The card after its holder was asked, or with no need to: saved with the customer, or declined (402)."""
    if (error := verdict(call, method, saving=True)) is not None:
        intent |= {
            "status": "requires_payment_method",
            "payment_method": None,
            "last_setup_error": error,
            "next_action": None,
        }
        call.emit("setup_intent.setup_failed", call.keep(intent))
        raise refused(error, "setup_intent", intent)
    method["card"]["checks"] = checks(method)
    method["_authenticated"] = True
    call.keep(method)
    if intent["customer"] is not None:
        attach(call, method, intent["customer"])
    intent |= {"status": "succeeded", "last_setup_error": None, "next_action": None}
    call.emit("setup_intent.succeeded", call.keep(intent))
    return intent


def fail_authentication(call: Call, intent: Obj) -> Obj:
    """The holder did not prove who they are."""
    error = {
        "code": "setup_intent_authentication_failure",
        "type": "invalid_request_error",
        "message": "We are unable to authenticate your payment method. Please choose a different "
        "payment method and "
        "try again.",
    }
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_setup_error": error,
        "next_action": None,
    }
    call.emit("setup_intent.setup_failed", call.keep(intent))
    return intent


def retrieve(call: Call) -> Obj:
    """GET /v1/setup_intents/{id}."""
    return by_secret(call, call.find("setup_intent", call.named["id"], param="intent"), "setup_intent")


def update(call: Call) -> Obj:
    """POST /v1/setup_intents/{id}."""
    from farebox.sandbox.stripe.customers import existing

    intent, given = call.find("setup_intent", call.named["id"], param="intent"), call.params
    if intent["status"] in {"succeeded", "canceled"} and set(given) - {"metadata", "description", "expand"}:
        raise unexpected(intent, "update")
    if "customer" in given:
        intent["customer"] = existing(call, given["customer"])["id"]
    if "payment_method" in given:
        intent["payment_method"] = usable(call, given["payment_method"], intent["customer"])["id"]
        intent["status"] = "requires_confirmation"
    if "description" in given:
        intent["description"] = given["description"]
    call.remember_metadata(intent)
    return call.keep(intent)


def cancel(call: Call) -> Obj:
    """POST /v1/setup_intents/{id}/cancel."""
    intent = call.find("setup_intent", call.named["id"], param="intent")
    if intent["status"] in {"succeeded", "canceled"}:
        raise unexpected(intent, "cancel")
    intent |= {
        "status": "canceled",
        "cancellation_reason": call.params.get("cancellation_reason"),
        "next_action": None,
    }
    call.emit("setup_intent.canceled", call.keep(intent))
    return intent


def listed(call: Call) -> Obj:
    """GET /v1/setup_intents."""
    wanted = {name: call.params[name] for name in ("customer", "payment_method") if name in call.params}
    return call.page(
        "setup_intent",
        "/v1/setup_intents",
        keeps=lambda body: all(body[name] == value for name, value in wanted.items()),
    )


ENDPOINTS: Final = (
    Endpoint(
        "POST", "/v1/setup_intents", SetupIntentCreateParams, create, _HONOURED | {"confirm", "return_url"}
    ),
    Endpoint(
        "GET", "/v1/setup_intents", SetupIntentListParams, listed, LISTING | {"customer", "payment_method"}
    ),
    Endpoint(
        "GET",
        "/v1/setup_intents/{id}",
        SetupIntentRetrieveParams,
        retrieve,
        names("client_secret"),
        publishable=True,
    ),
    Endpoint(
        "POST",
        "/v1/setup_intents/{id}",
        SetupIntentUpdateParams,
        update,
        names("customer payment_method description metadata"),
    ),
    Endpoint(
        "POST",
        "/v1/setup_intents/{id}/confirm",
        SetupIntentConfirmParams,
        confirmed,
        names("payment_method return_url use_stripe_sdk client_secret"),
        publishable=True,
        also=names("client_secret"),
    ),
    Endpoint(
        "POST", "/v1/setup_intents/{id}/cancel", SetupIntentCancelParams, cancel, names("cancellation_reason")
    ),
)
