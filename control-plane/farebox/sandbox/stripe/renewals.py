"""What a subscription and its invoices do when their time has come."""

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import invoices
from farebox.sandbox.stripe.call import Call
from farebox.sandbox.stripe.errors import Refusal
from farebox.sandbox.stripe.periods import after
from farebox.sandbox.stripe.subscriptions import ALIVE, change, end, period_invoice


def due(call: Call, body: Obj) -> bool:
    """Do the one thing that is due for this subscription; whether there was one."""
    first = body["items"]["data"][0]
    if body["status"] not in ALIVE - {"incomplete"} or first["current_period_end"] > call.now:
        return False
    if body["cancel_at_period_end"]:
        end(call, body)
        return True
    for item in body["items"]["data"]:
        start = item["current_period_end"]
        item |= {
            "current_period_start": start,
            "current_period_end": after(start, body["billing_cycle_anchor"], item["price"]),
        }
    if body["status"] == "trialing":
        body["status"] = "active"
    call.emit("customer.subscription.updated", call.keep(body))
    period_invoice(call, body, "subscription_cycle")
    return True


def advance(call: Call, made: Obj) -> bool:
    """Do the one thing that is due for this invoice: finalize a draft, or try the card again."""
    if made["status"] == "draft" and (made["automatically_finalizes_at"] or call.now + 1) <= call.now:
        finalize_and_collect(call, made)
        return True
    if made["status"] == "open" and (made["next_payment_attempt"] or call.now + 1) <= call.now:
        _attempt(call, made)
        return True
    return False


def finalize_and_collect(call: Call, made: Obj) -> None:
    """The draft's hour is over."""
    opened = invoices.finalize(call, made)
    if opened["status"] == "open" and opened["collection_method"] == "charge_automatically":
        _attempt(call, opened)


def _attempt(call: Call, opened: Obj) -> None:
    try:
        invoices.collect(call, opened)
    except Refusal:
        subscription = opened["_subscription"]
        if subscription is not None and call.find("subscription", subscription)["status"] == "active":
            change(call, subscription, status="past_due")
