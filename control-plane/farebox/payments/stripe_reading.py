"""Stripe's objects read into our values. Pure.

Stripe counts ISK and UGX in hundredths though they have none, and takes three-decimal currencies in tens
(https://docs.stripe.com/currencies#special-cases).
"""

from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from stripe import Dispute, PaymentIntent, PaymentMethod, Refund, StripeObject
from stripe.checkout import Session

from farebox.money import MINOR_DIGITS, Money
from farebox.payments.provider import (
    Card,
    Failure,
    Order,
    Page,
    ProviderRefusedError,
    Seen,
    SeenDispute,
    SeenRefund,
    State,
)

_HUNDREDFOLD: Final = frozenset({"ISK", "UGX"})
_REASON_LENGTH: Final = 500
_STATES: Final[dict[str, State]] = {
    "requires_confirmation": "requires_action",
    "requires_action": "requires_action",
    "requires_capture": "processing",
    "processing": "processing",
    "succeeded": "succeeded",
    "canceled": "canceled",
}
_DISPUTES: Final[dict[str, Literal["won", "lost"]]] = {
    "won": "won",
    "warning_closed": "won",
    "prevented": "won",
    "lost": "lost",
}


def to_stripe(amount: Money) -> int:
    """Return the amount in Stripe's units. Raises `ProviderRefusedError` for what Stripe cannot charge."""
    if amount.currency in _HUNDREDFOLD:
        return amount.minor * 100
    if MINOR_DIGITS[amount.currency] == 3 and amount.minor % 10:
        raise ProviderRefusedError(
            "invalid_amount", f"Stripe takes {amount.currency} in steps of 0.010 only."
        )
    return amount.minor


def from_stripe(units: int, currency: str) -> Money:
    """Read an amount in Stripe's units."""
    code = currency.upper()
    return Money(code, units // 100 if code in _HUNDREDFOLD else units)


def metadata(order: Order, flow: str) -> dict[str, str]:
    """Return what an intent carries of ours."""
    always = {"payment": order.payment, "organization": order.organization, "flow": flow}
    return always | ({"invoice": order.invoice} if order.invoice else {})


def carried(found: StripeObject | None) -> dict[str, str]:
    """Return an object's metadata."""
    return found.to_dict() if found is not None else {}


def id_of(value: Any) -> str | None:
    """Return the id of a field that Stripe may have expanded."""
    if value is None or isinstance(value, str):
        return value
    return cast("str", value.id)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def payment(intent: PaymentIntent) -> Seen:
    """Read an intent: https://docs.stripe.com/payments/paymentintents/lifecycle."""
    mine = carried(intent.metadata)
    error = intent.last_payment_error
    failure = None
    if error is not None:
        code = error.decline_code or error.code or error.type
        code = "authentication_required" if error.code == "authentication_required" else code
        failure = Failure(str(code)[:100], (error.message or "no reason given")[:_REASON_LENGTH])
    if intent.status == "requires_payment_method":
        # A browser may try another card on the same intent; a charge of ours has had its one try.
        state: State = "failed" if failure and mine.get("flow") == "charge" else "requires_action"
    else:
        state = _STATES[intent.status]
    units = intent.amount_received if state == "succeeded" else intent.amount
    action = intent.next_action.redirect_to_url if intent.next_action is not None else None
    charge, check = intent.latest_charge, None
    if charge is not None and not isinstance(charge, str):
        details = charge.payment_method_details
        paid_by = details.card if details is not None else None
        check = paid_by.checks.address_postal_code_check if paid_by and paid_by.checks else None
    return Seen(
        provider_id=intent.id,
        payment=mine.get("payment"),
        state=state,
        amount=from_stripe(units, intent.currency),
        created_at=_instant(intent.created),
        failure=None if state == "succeeded" else failure,
        action_url=action.url if action is not None else None,
        charge_id=id_of(charge) if state == "succeeded" else None,
        postal_check=check,
        secret=intent.client_secret,
        customer=id_of(intent.customer),
        card=_kept_card(intent) if state == "succeeded" else None,
    )


def _kept_card(intent: PaymentIntent) -> Card | None:
    method = intent.payment_method
    if intent.setup_future_usage is None or method is None or isinstance(method, str):
        return None
    return card(method) if method.customer is not None else None


def card(method: str | PaymentMethod) -> Card | None:
    """Read an expanded payment method; None for anything but a card."""
    if isinstance(method, str) or method.card is None:
        return None
    found = method.card
    check = found.checks.address_postal_code_check if found.checks is not None else None
    return Card(method.id, found.brand, found.last4 or "", found.exp_month, found.exp_year, check)


def page(session: Session) -> Page:
    """Read a Checkout session."""
    states: dict[str | None, Literal["complete", "expired"]] = {"complete": "complete", "expired": "expired"}
    state: Literal["open", "complete", "expired"] = states.get(session.status) or "open"
    return Page(session.id, session.url, state, session.client_reference_id, id_of(session.payment_intent))


def refund(found: Refund) -> SeenRefund:
    """Read a refund."""
    states: dict[str | None, Literal["succeeded", "failed", "canceled"]] = {
        "succeeded": "succeeded",
        "failed": "failed",
        "canceled": "canceled",
    }
    return SeenRefund(
        provider_id=found.id,
        refund=carried(found.metadata).get("refund"),
        payment=id_of(found.payment_intent) or "",
        amount=from_stripe(found.amount, found.currency),
        state=states.get(found.status, "processing"),
        created_at=_instant(found.created),
        # Stripe leaves it out of a refund that has not failed.
        failure_reason=getattr(found, "failure_reason", None),
    )


def dispute(found: Dispute) -> SeenDispute:
    """Read a dispute; what is withdrawn is the net of its balance transactions, fees aside."""
    moved = -sum(each.amount for each in found.balance_transactions)
    return SeenDispute(
        provider_id=found.id,
        payment=id_of(found.payment_intent) or "",
        amount=from_stripe(found.amount, found.currency),
        withdrawn=from_stripe(max(0, min(moved, found.amount)), found.currency),
        state=_DISPUTES.get(found.status, "open"),
        reason=str(found.reason)[:100],
        created_at=_instant(found.created),
    )
