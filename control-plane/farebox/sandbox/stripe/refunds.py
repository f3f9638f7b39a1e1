"""Refunds, whole and in part: https://docs.stripe.com/api/refunds."""

from typing import Final

from stripe.params import RefundCreateParams, RefundListParams, RefundRetrieveParams, RefundUpdateParams

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.charges import moved
from farebox.sandbox.stripe.errors import Refusal, invalid
from farebox.sandbox.stripe.payment_methods import card_of


def create(call: Call) -> Obj:
    """POST /v1/refunds: of a charge or of a payment intent's latest charge, never beyond what is left."""
    taken, given = _charge(call), call.params
    if taken["disputed"]:
        raise Refusal(
            400, f"Charge {taken['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    left = taken["amount_captured"] - taken["amount_refunded"]
    if left == 0:
        raise Refusal(
            400,
            f"Charge {taken['id']} has already been refunded.",
            code="charge_already_refunded",
            param="charge",
        )
    amount = given.get("amount", left)
    if amount < 1:
        raise invalid("Invalid positive integer", "amount", code="parameter_invalid_integer")
    if amount > left:
        raise Refusal(
            400,
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    body = call.start(
        "re",
        amount=amount,
        balance_transaction=None,
        charge=taken["id"],
        currency=taken["currency"],
        metadata={},
        destination_details={
            "card": {
                "reference": "7428",
                "reference_status": "available",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        payment_intent=taken["payment_intent"],
        reason=given.get("reason"),
        receipt_number=None,
        source_transfer_reversal=None,
        status="succeeded",
        transfer_reversal=None,
    )
    call.remember_metadata(body)
    leaves = moved(call, "refund", -amount, taken["currency"], body["id"])
    body["balance_transaction"] = leaves["id"]
    taken["amount_refunded"] += amount
    taken["refunded"] = taken["amount_refunded"] == taken["amount"]
    call.emit("refund.created", call.keep(body))
    call.emit("charge.refunded", call.keep(taken))
    if card_of(call.find("payment_method", taken["payment_method"])).refund_fails:
        _fail(call, body, taken)
    return body


def _charge(call: Call) -> Obj:
    given = call.params
    if ("charge" in given) == ("payment_intent" in given):
        raise Refusal(
            400,
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
            param="payment_intent",
        )
    if "charge" in given:
        taken = call.referred("charge", "charge")
    else:
        intent = call.referred("payment_intent", "payment_intent")
        if intent["status"] != "succeeded":
            raise Refusal(
                400,
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        taken = call.find("charge", intent["latest_charge"])
    if not taken["captured"]:
        raise Refusal(
            400, f"Charge {taken['id']} has not been captured; cancel its PaymentIntent.", param="charge"
        )
    return taken


def _fail(call: Call, body: Obj, taken: Obj) -> None:
    """The card's bank sends the money back: it is ours again."""
    back = moved(call, "refund_failure", body["amount"], body["currency"], body["id"])
    body |= {
        "status": "failed",
        "failure_reason": "expired_or_canceled_card",
        "failure_balance_transaction": back["id"],
    }
    taken["amount_refunded"] -= body["amount"]
    taken["refunded"] = False
    call.keep(taken)
    call.emit("refund.failed", call.keep(body))


def retrieve(call: Call) -> Obj:
    """GET /v1/refunds/{id}."""
    return call.find("refund", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/refunds/{id}: metadata."""
    body = call.find("refund", call.named["id"])
    call.remember_metadata(body)
    call.emit("refund.updated", call.keep(body))
    return body


def listed(call: Call) -> Obj:
    """GET /v1/refunds."""
    wanted = {name: call.params[name] for name in ("charge", "payment_intent") if name in call.params}
    return call.page(
        "refund", "/v1/refunds", keeps=lambda body: all(body[name] == value for name, value in wanted.items())
    )


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/refunds",
        RefundCreateParams,
        create,
        names("charge payment_intent amount reason metadata"),
    ),
    Endpoint("GET", "/v1/refunds", RefundListParams, listed, LISTING | {"charge", "payment_intent"}),
    Endpoint("GET", "/v1/refunds/{id}", RefundRetrieveParams, retrieve),
    Endpoint("POST", "/v1/refunds/{id}", RefundUpdateParams, update, names("metadata")),
)
