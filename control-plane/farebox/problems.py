"""Refusals: what a caller did wrong, or what we cannot do now, as values with a stable code.

A `Problem` is the kind (its code never changes its meaning and has a heading in `docs/errors.md`); a
`Refusal` is one occurrence with two texts: `message` for the caller, `log` for us. Domain code raises
refusals and knows no HTTP beyond the status that the kind carries; one middleware turns them into answers,
as our error envelope, or as `application/problem+json` (RFC 9457) where the Accept header asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from farebox_contract import problems as contract

ENVELOPE: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of refusal: `code`, HTTP `status`, and the text a caller reads unless one says it better."""

    code: str
    status: int
    message: str


class Refusal(Exception):  # noqa: N818 - refusing is a result of the domain, not a fault of ours
    """A request is refused. Nothing of it has been kept."""

    def __init__(
        self,
        problem: Problem,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        log: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say what is refused; `message` and `details` go to the caller, `log` stays with us."""
        super().__init__(log or message or problem.message)
        self.problem = problem
        self.message = message or problem.message
        self.details = dict(details or {})
        self.log = log
        self.headers = dict(headers or {})


MALFORMED_JSON: Final = Problem("malformed_json", 400, "The body is no valid JSON.")
INVALID_REQUEST: Final = Problem(
    "invalid_request", 422, "Some fields cannot be accepted; `details.fields` names each with its remedy."
)
UNSUPPORTED_MEDIA_TYPE: Final = Problem(
    "unsupported_media_type", 415, "Send the body as JSON, with the header Content-Type: application/json."
)
BODY_TOO_LARGE: Final = Problem("body_too_large", 413, "The body is larger than 1 MiB.")
BAD_REQUEST: Final = Problem("bad_request", 400, "The request cannot be read as HTTP.")
NOT_FOUND: Final = Problem("not_found", 404, "There is nothing here that you can see.")
METHOD_NOT_ALLOWED: Final = Problem(
    "method_not_allowed", 405, "This path does not take that method; the Allow header lists those it takes."
)
UNAUTHENTICATED: Final = Problem(
    "unauthenticated",
    401,
    "Send an access token: Authorization: Bearer <token>. POST /api/v1/auth/login gives one.",
)
INVALID_TOKEN: Final = Problem(
    "invalid_token", 401, "The access token is not valid or has expired; log in again."
)
NO_ORGANIZATION: Final = Problem(
    "no_organization", 403, "The access token carries no organization; switch to one or make one."
)
FORBIDDEN: Final = Problem("forbidden", 403, "Your role in this organization does not allow that.")
OPERATORS_ONLY: Final = Problem("operators_only", 403, "Only operators may do that.")
RATE_LIMITED: Final = Problem(
    contract.RATE_LIMITED, 429, "Too many requests; wait as long as Retry-After says."
)
UNAVAILABLE: Final = Problem(
    "service_unavailable", 503, "The service cannot answer now; try again after Retry-After seconds."
)
INTERNAL: Final = Problem(
    "internal_error",
    500,
    "Something went wrong on our side; nothing was kept. The request id helps us find it.",
)

IDEMPOTENCY_KEY_INVALID: Final = Problem(
    "idempotency_key_invalid", 400, "Idempotency-Key must be 1 to 255 visible ASCII characters."
)
IDEMPOTENCY_KEY_REUSED: Final = Problem(
    "idempotency_key_reused", 422, "This Idempotency-Key was used with another payload; take a new key."
)
IDEMPOTENCY_IN_FLIGHT: Final = Problem(
    "idempotency_in_flight", 409, "A request with this Idempotency-Key is still under way; try again shortly."
)
DRY_RUN_INVALID: Final = Problem("dry_run_invalid", 400, "Dry-Run must be `true` or `false`.")
CURSOR_INVALID: Final = Problem(
    "cursor_invalid", 422, "The cursor is none of ours for this sorting; begin again without one."
)

EMAIL_TAKEN: Final = Problem(
    "email_taken",
    409,
    "An account with this e-mail exists; log in, and add an organization with POST /api/v1/organizations.",
)
PASSWORD_TOO_WEAK: Final = Problem("password_too_weak", 422, "Choose another password.")
WRONG_CREDENTIALS: Final = Problem("wrong_credentials", 401, "The e-mail or the password is wrong.")
VERIFICATION_INVALID: Final = Problem(
    "verification_token_invalid",
    400,
    "The token is unknown, used or older than 24 hours; POST /api/v1/auth/request-email-verification sends "
    "another.",
)
EMAIL_NOT_VERIFIED: Final = Problem(
    "email_not_verified",
    403,
    "Verify your e-mail before issuing live keys; POST /api/v1/auth/request-email-verification sends the "
    "mail again. Test keys need no verification.",
)
BUSY: Final = Problem("too_busy", 503, "Too many log-ins at once; try again after Retry-After seconds.")
TOO_MANY_ORGANIZATIONS: Final = Problem(
    "too_many_organizations", 409, "You belong to as many organizations as a user may."
)
USAGE_BELOW_ZERO: Final = Problem(
    "usage_below_zero", 409, "The period holds less than that; `details.quantity` is what it holds."
)
CORRECTION_REVERSED: Final = Problem("correction_reversed", 409, "This correction was reversed before.")
KEY_IS_OVER: Final = Problem("key_is_over", 409, "This key is revoked or expired; issue another.")
KEY_ALREADY_ROTATED: Final = Problem(
    "key_already_rotated", 409, "This key was rotated before; rotate its successor, `details.replaced_by`."
)
KEY_ALREADY_KNOWN: Final = Problem(
    "key_already_known", 409, "A key with this digest is known already; `details.rows` names the rows."
)
TOO_MANY_KEYS: Final = Problem(
    "too_many_keys", 409, "The organization has as many active keys as it may; revoke one first."
)
EXPIRY_IN_THE_PAST: Final = Problem("expiry_in_the_past", 422, "`expires_at` must lie in the future.")
UNKNOWN_PLAN: Final = Problem(
    "unknown_plan", 404, "No plan on offer has this code; GET /api/v1/plans lists them."
)
UNKNOWN_ADD_ON: Final = Problem(
    "unknown_add_on", 404, "No add-on on offer has this code; GET /api/v1/add-ons lists them."
)
ALREADY_ON_PLAN: Final = Problem(
    "already_on_plan", 409, "The organization is on this plan already; nothing was changed."
)
SUBSCRIPTION_STATE: Final = Problem(
    "subscription_state", 409, "The subscription is in a state in which that cannot be done."
)
NOTHING_TO_CANCEL: Final = Problem(
    "nothing_to_cancel", 409, "The organization is on the plan that needs no cancellation."
)
NOTHING_TO_REACTIVATE: Final = Problem(
    "nothing_to_reactivate", 409, "There is no ended subscription to take up again; choose a plan."
)
NO_SCHEDULED_CHANGE: Final = Problem("no_scheduled_change", 409, "No change of plan is scheduled.")
INSTANT_IN_THE_PAST: Final = Problem(
    "instant_in_the_past", 422, "The instant must lie in the future of the organization's own time."
)
PLAN_VERSION_FROZEN: Final = Problem(
    "plan_version_frozen", 409, "A published version never changes; create a draft of the next one."
)
CAP_TOO_LOW: Final = Problem(
    "cap_too_low", 422, "The cap is below what the plan costs without any usage; set a higher one."
)
AMOUNT_TOO_LARGE: Final = Problem(
    "amount_too_large", 422, "The amount is beyond what an invoice may carry; ask for fewer units."
)
STILL_IN_USE: Final = Problem(
    "still_in_use", 409, "Something still leads there; `details.used_by` names what. Lead it elsewhere first."
)
INVOICE_STATE: Final = Problem(
    "invoice_state", 409, "The invoice is in a state in which that cannot be done."
)
NOT_CREDITABLE: Final = Problem(
    "not_creditable", 409, "That much of this invoice cannot be credited; `details.left` is what could be."
)
LINKS_UNAVAILABLE: Final = Problem(
    "links_unavailable", 503, "Links to invoices are not set up here; the setting `link_secret` is empty."
)
COUPON_UNKNOWN: Final = Problem("coupon_unknown", 404, "No coupon on offer has this code.")
COUPON_USED: Final = Problem("coupon_used", 409, "This coupon was redeemed before, or is used up.")
PAYMENTS_UNAVAILABLE: Final = Problem(
    "payments_unavailable", 503, "Payments of this kind are not set up here. Nothing was charged."
)
PAYMENT_PROVIDER_AWAY: Final = Problem(
    "payment_provider_away",
    503,
    "The payment provider did not answer. Look at the payment before you try again: it may have been made.",
)
PAYMENT_REFUSED: Final = Problem("payment_refused", 402, "The payment was refused; nothing was charged.")
PAYMENT_IN_PROGRESS: Final = Problem(
    "payment_in_progress", 409, "A payment for this is under way. Wait for it, or finish it."
)
COLLECTED_BY_STRIPE: Final = Problem(
    "collected_by_stripe", 409, "A subscription at Stripe collects this; it is charged nowhere else."
)
NO_PAYMENT_METHOD: Final = Problem(
    "no_payment_method", 409, "There is no saved card to charge. Add one, or pay on a page."
)
NOTHING_TO_PAY: Final = Problem("nothing_to_pay", 409, "Nothing of this invoice is open.")
NOT_REFUNDABLE: Final = Problem("not_refundable", 409, "That much of this payment cannot be refunded.")
PAYMENT_REFERENCE_USED: Final = Problem(
    "payment_reference_used", 409, "A payment with this reference is recorded already."
)
DUNNING_STATE: Final = Problem("dunning_state", 409, "The dunning case is in another state.")
DUNNING_RULES: Final = Problem("dunning_rules", 422, "These rules of dunning cannot be followed.")
WEBHOOK_REFUSED: Final = Problem("webhook_refused", 400, "The webhook's signature cannot be believed.")

PROBLEMS: Final[Mapping[str, Problem]] = {
    value.code: value for value in list(globals().values()) if isinstance(value, Problem)
}
"""Every kind by its code."""


def wants_problem_json(accept: str) -> bool:
    """Tell whether an Accept header names `application/problem+json`."""
    return any(part.partition(";")[0].strip().lower() == PROBLEM_JSON for part in accept.split(","))


def as_problem_json(
    refusal: Refusal, *, request_id: str, instance: str, documentation: str
) -> dict[str, Any]:
    """Return the RFC 9457 object: the standard members, and ours as extensions."""
    return {
        "type": f"{documentation}#{refusal.problem.code}",
        "title": refusal.problem.code.replace("_", " ").capitalize(),
        "status": refusal.problem.status,
        "detail": refusal.message,
        "instance": instance,
        "code": refusal.problem.code,
        "details": refusal.details,
        "request_id": request_id,
    }


def as_envelope(refusal: Refusal, *, request_id: str) -> dict[str, Any]:
    """Return our error envelope, the one the edge answers with too."""
    return contract.envelope(
        refusal.problem.code, refusal.message, request_id=request_id, details=refusal.details
    )
