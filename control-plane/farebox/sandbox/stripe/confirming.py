"""What setup intents and payment intents have in common when they are confirmed: 3-D Secure, return URLs,
secrets.

https://docs.stripe.com/payments/paymentintents/lifecycle
"""

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import Call
from farebox.sandbox.stripe.errors import Refusal, no_such
from farebox.sandbox.stripe.payment_methods import card_of, checks, shown_method

_NEEDS_RETURN: Final = (
    "This {what} is configured to accept payment methods enabled in your Dashboard. Because some of "
    "these payment "
    "methods might redirect your customer off of your page, you must provide a `return_url`. If you "
    "don't want to "
    "accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and "
    "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
)


def payment_method_choice(call: Call) -> Obj:
    """`allowed_payment_method_types` and `automatic_payment_methods` of a new intent, with Stripe's
    defaults.
    """
    given = call.params
    allowed, automatic = given.get("allowed_payment_method_types"), given.get("automatic_payment_methods")
    if allowed and allowed != ["card"]:
        raise Refusal(
            400, "The sandbox simulates the payment method type card.", param="allowed_payment_method_types"
        )
    if allowed is None and (automatic is None or automatic.get("enabled")):
        automatic = {"enabled": True, "allow_redirects": (automatic or {}).get("allow_redirects", "always")}
    elif automatic is not None and not automatic.get("enabled"):
        automatic = None
    return {
        "allowed_payment_method_types": allowed,
        "automatic_payment_methods": automatic,
        "payment_method_types": ["card"],
    }


def check_return_url(intent: Obj, return_url: str | None, what: str) -> None:
    """Refusal where Stripe wants a `return_url` to confirm; publishable calls bring their own page."""
    automatic, only_cards = (
        intent["automatic_payment_methods"],
        intent["allowed_payment_method_types"] == ["card"],
    )
    redirects = automatic is not None and automatic.get("allow_redirects", "always") != "never"
    if return_url is None and redirects and not only_cards:
        raise Refusal(400, _NEEDS_RETURN.format(what=what), param="return_url")


def by_secret(call: Call, intent: Obj, kind: str) -> Obj:
    """The intent, if a publishable key comes with its `client_secret`; a secret key needs none."""
    given = call.params.get("client_secret")
    if given is not None and given != intent["client_secret"]:
        raise Refusal(
            400,
            f"The client_secret provided does not match any associated {kind} on this account.",
            param="client_secret",
        )
    if call.publishable and given is None:
        raise no_such(kind, intent["id"], param="intent", status=404)
    return intent


def next_action(call: Call, intent: Obj, return_url: str | None) -> Obj:
    """Where the person proves who they are: a page of the sandbox."""
    query = urlencode({"client_secret": intent["client_secret"]})
    url = f"{call.world.base_url}/3d-secure/{intent['id']}?{query}"
    if return_url is not None:
        return {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}
    return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url}}


def verdict(call: Call, method: Obj, *, saving: bool = False) -> Obj | None:
    """What the issuer, or the account's rule on postal codes, has against this card: the error, or None.

    `saving`: some cards can be saved and fail only when they are charged.
    """
    card, failed = card_of(method), checks(method)["address_postal_code_check"] == "fail"
    if card.declines and not (saving and card.attaches):
        code, reason, message = card.declines, card.decline_code, card.message
    elif failed and call.world.setting("block_failed_postal_code", default=True):
        code, reason, message = "incorrect_zip", "incorrect_zip", "Your card's zip code failed validation."
    else:
        return None
    return {
        "code": code,
        "decline_code": reason,
        "message": message,
        "type": "card_error",
        "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
        "payment_method": shown_method(method),
    }


def refused(error: Obj, name: str, intent: Obj) -> Refusal:
    """The answer to the confirmation that this error ended; what was done stays."""
    more = {key: value for key, value in error.items() if key not in {"message", "type", "doc_url"}}
    return Refusal(402, error["message"], kind="card_error", kept=True, **more, **{name: intent})


def return_address(intent: Obj, return_url: str) -> str:
    """The return URL with what Stripe adds to it."""
    kind = intent["object"]
    status = "succeeded" if intent["status"] in {"succeeded", "requires_capture"} else "failed"
    parts = urlsplit(return_url)
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        (kind, intent["id"]),
        (f"{kind}_client_secret", intent["client_secret"]),
        ("redirect_status", status),
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))


def unexpected(intent: Obj, verb: str) -> Refusal:
    """The refusal of something that an intent in its state cannot do; it carries the intent."""
    kind: str = intent["object"]
    name = "PaymentIntent" if kind == "payment_intent" else "SetupIntent"
    message = f"You cannot {verb} this {name} because it has a status of {intent['status']}."
    carried: dict[str, Any] = {kind: intent}
    return Refusal(400, message, code=f"{kind}_unexpected_state", **carried)
