"""Disputes: https://docs.stripe.com/api/disputes. Opened by test cards, or by `/sandbox/disputes`.

Evidence decides as in Stripe's test mode: `uncategorized_text` "winning_evidence" or "losing_evidence".
"""

from typing import Final

from stripe.params import (
    DisputeCloseParams,
    DisputeListParams,
    DisputeRetrieveParams,
    DisputeUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.charges import moved
from farebox.sandbox.stripe.errors import Refusal
from farebox.sandbox.stripe.parameters import parameters_of

_WEEK: Final = 7 * 86_400
_FEE: Final = 1500


def opened(call: Call, charge: Obj, *, reason: str = "fraudulent") -> Obj:
    """The holder takes the money back: the amount and a fee leave the balance."""
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise Refusal(400, f"Charge {charge['id']} cannot be disputed.", param="charge")
    amount = charge["amount_captured"] - charge["amount_refunded"]
    body = call.start(
        "du",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence=dict.fromkeys(sorted(_evidence_fields())),
        evidence_details={
            "due_by": call.now + _WEEK,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": None,
        },
        is_charge_refundable=False,
        metadata={},
        payment_intent=charge["payment_intent"],
        reason=reason,
        network_reason_code="10.4",
        status="needs_response",
        payment_method_details={
            "type": "card",
            "card": {
                "brand": charge["payment_method_details"]["card"]["brand"],
                "case_type": "chargeback",
                "network_reason_code": "10.4",
            },
        },
    )
    leaves = moved(call, "adjustment", -amount, charge["currency"], body["id"], fee=_FEE)
    body["balance_transactions"] = [leaves]
    charge["disputed"] = True
    call.keep(charge)
    call.emit("charge.dispute.created", call.keep(body))
    call.emit("charge.dispute.funds_withdrawn", body)
    return body


def _evidence_fields() -> frozenset[str]:
    from stripe.params._dispute_update_params import DisputeUpdateParamsEvidence

    return frozenset(parameters_of(DisputeUpdateParamsEvidence))


def retrieve(call: Call) -> Obj:
    """GET /v1/disputes/{id}."""
    return call.find("dispute", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/disputes/{id}: evidence; with `submit` the bank decides at once."""
    body = call.find("dispute", call.named["id"])
    if body["status"] not in {"needs_response", "warning_needs_response"}:
        raise Refusal(400, f"This dispute is {body['status']}; evidence can no longer be given.")
    evidence = call.params.get("evidence") or {}
    body["evidence"] |= evidence
    body["evidence_details"]["has_evidence"] |= bool(evidence)
    call.remember_metadata(body)
    if not call.params.get("submit", bool(evidence)):
        call.emit("charge.dispute.updated", call.keep(body))
        return body
    body["evidence_details"]["submission_count"] += 1
    body["status"] = "under_review"
    call.emit("charge.dispute.updated", call.keep(body))
    said = body["evidence"].get("uncategorized_text")
    if said in {"winning_evidence", "losing_evidence"}:
        return closed(call, body, won=said == "winning_evidence")
    return body


def closed(call: Call, body: Obj, *, won: bool) -> Obj:
    """The bank has decided; a won dispute returns the money."""
    body["status"] = "won" if won else "lost"
    if won:
        back = moved(call, "adjustment", body["amount"], body["currency"], body["id"])
        body["balance_transactions"] = [*body["balance_transactions"], back]
    call.emit("charge.dispute.closed", call.keep(body))
    if won:
        call.emit("charge.dispute.funds_reinstated", body)
    return body


def close(call: Call) -> Obj:
    """POST /v1/disputes/{id}/close: give up; it is lost."""
    body = call.find("dispute", call.named["id"])
    if body["status"] not in {"needs_response", "warning_needs_response"}:
        raise Refusal(400, f"This dispute is {body['status']} and cannot be closed.")
    return closed(call, body, won=False)


def listed(call: Call) -> Obj:
    """GET /v1/disputes."""
    wanted = {name: call.params[name] for name in ("charge", "payment_intent") if name in call.params}
    return call.page(
        "dispute",
        "/v1/disputes",
        keeps=lambda body: all(body[name] == value for name, value in wanted.items()),
    )


ENDPOINTS: Final = (
    Endpoint("GET", "/v1/disputes", DisputeListParams, listed, LISTING | {"charge", "payment_intent"}),
    Endpoint("GET", "/v1/disputes/{id}", DisputeRetrieveParams, retrieve),
    Endpoint("POST", "/v1/disputes/{id}", DisputeUpdateParams, update, names("evidence metadata submit")),
    Endpoint("POST", "/v1/disputes/{id}/close", DisputeCloseParams, close),
)
