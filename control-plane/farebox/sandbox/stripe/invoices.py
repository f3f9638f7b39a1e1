"""Stripe's own invoices, for those who let Stripe run the subscription: https://docs.stripe.com/api/invoices.

draft → open → paid, void or uncollectible. Lines are invoice items and subscription items.
"""

from typing import Final

from stripe.params import (
    InvoiceCreateParams,
    InvoiceFinalizeInvoiceParams,
    InvoiceListParams,
    InvoicePayParams,
    InvoiceRetrieveParams,
    InvoiceUpdateParams,
    InvoiceVoidInvoiceParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import payment_intents
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.customers import existing
from farebox.sandbox.stripe.errors import Refusal, missing_parameter
from farebox.sandbox.stripe.invoice_drafts import DRAFT_SECONDS, draft, take_in, totalled
from farebox.sandbox.stripe.invoice_items import pending_of
from farebox.sandbox.stripe.money import currency

RETRY_SECONDS: Final = 3 * 86_400
MAX_ATTEMPTS: Final = 4


def create(call: Call) -> Obj:
    """POST /v1/invoices: a draft with the customer's pending items of one currency."""
    if "customer" not in call.params:
        raise missing_parameter("customer")
    owner, given = existing(call, call.params["customer"]), call.params
    pending = pending_of(call, owner["id"], given.get("subscription"))
    include = given.get("pending_invoice_items_behavior", "exclude") == "include"
    code = given.get("currency") or (pending[0]["currency"] if pending and include else "usd")
    body = draft(call, owner, currency(code), reason="manual", subscription=given.get("subscription"))
    body["collection_method"] = given.get("collection_method", "charge_automatically")
    if body["collection_method"] == "send_invoice":
        if "days_until_due" not in given:
            raise missing_parameter("days_until_due")
        body["due_date"] = call.now + given["days_until_due"] * 86_400
    body["auto_advance"] = given.get("auto_advance", False)
    body["automatically_finalizes_at"] = call.now + DRAFT_SECONDS if body["auto_advance"] else None
    body["description"] = given.get("description")
    call.remember_metadata(body)
    if include:
        take_in(call, body, [item for item in pending if item["currency"] == code])
    body = totalled(body)
    call.emit("invoice.created", call.keep(body))
    return body


def finalize(call: Call, body: Obj) -> Obj:
    """Draft → open, with a number; nothing to pay means paid."""
    body |= totalled(body)
    owner = call.find("customer", body["customer"])
    number = call.world.store.count_up(f"invoices_of_{owner['id']}")
    body |= {
        "status": "open",
        "number": f"{owner['invoice_prefix']}-{number:04}",
        "effective_at": call.now,
        "ending_balance": 0,
        "automatically_finalizes_at": None,
        "hosted_invoice_url": f"{call.world.base_url}/invoices/{body['id']}",
    }
    body["status_transitions"]["finalized_at"] = call.now
    call.emit("invoice.finalized", call.keep(body))
    return _paid(call, body) if body["amount_due"] == 0 else body


def collect(call: Call, body: Obj, method: str | None = None, *, off_session: bool = True) -> Obj:
    """Charge an open invoice. A declined card is a kept Refusal; the invoice stays open and is tried
    again.
    """
    owner = call.find("customer", body["customer"])
    behind = call.find("subscription", body["_subscription"]) if body["_subscription"] is not None else {}
    chosen = (
        method
        or body["default_payment_method"]
        or behind.get("default_payment_method")
        or owner["invoice_settings"]["default_payment_method"]
    )
    intent = intent_of(call, body)
    fresh = Call(call.world, {})
    body |= {"attempted": True, "attempt_count": body["attempt_count"] + 1}
    call.keep(body)
    try:
        if chosen is None:
            raise Refusal(  # noqa: TRY301 - kept like a declined card, below
                400,
                "There is no `default_payment_method` set on this Customer or Invoice. Please set a default "
                "payment method.",
                code="invoice_payment_intent_requires_payment_method",
                kept=True,
            )
        intent["payment_method"] = chosen
        payment_intents.confirm(fresh, intent, off_session=off_session)
    except Refusal as refusal:
        again = body["attempt_count"] < MAX_ATTEMPTS and body["auto_advance"]
        body["next_payment_attempt"] = call.now + RETRY_SECONDS if again else None
        call.emit("invoice.payment_failed", call.keep(body))
        refusal.kept = True
        raise
    if intent["status"] == "requires_action":
        call.emit("invoice.payment_action_required", body)
    return call.find("invoice", body["id"])


def intent_of(call: Call, body: Obj) -> Obj:
    """The payment intent of an open invoice, made on first use."""
    if body["_intent"] is None:
        fresh = Call(call.world, {"description": f"Payment for invoice {body['number']}"})
        intent = payment_intents.new_intent(
            fresh, body["amount_remaining"], body["currency"], customer=body["customer"]
        )
        intent |= {"_invoice": body["id"], "setup_future_usage": "off_session"}
        call.emit("payment_intent.created", call.keep(intent))
        body["_intent"] = intent["id"]
        call.keep(body)
    return call.find("payment_intent", body["_intent"])


def _paid(call: Call, body: Obj) -> Obj:
    body |= {
        "status": "paid",
        "amount_paid": body["amount_due"],
        "amount_remaining": 0,
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
    }
    body["status_transitions"]["paid_at"] = call.now
    call.emit("invoice.paid", call.keep(body))
    call.emit("invoice.payment_succeeded", body)
    if body["_subscription"] is not None:
        from farebox.sandbox.stripe.subscriptions import invoice_paid

        invoice_paid(call, body["_subscription"])
    return body


def paid_by(call: Call, invoice_id: str) -> None:
    """Its intent succeeded by another way, such as 3-D Secure or our form."""
    body = call.find("invoice", invoice_id)
    if body["status"] == "open":
        _paid(call, body)


def stop_collecting(call: Call, subscription: str) -> None:
    """Stripe stops to collect by itself what a canceled subscription still owes."""
    stopped = {"auto_advance": False, "automatically_finalizes_at": None, "next_payment_attempt": None}
    for made in list(call.all_of("invoice", _subscription=subscription)):
        if made["status"] in {"draft", "open"}:
            call.keep(made | stopped)


def retrieve(call: Call) -> Obj:
    """GET /v1/invoices/{id}."""
    return call.find("invoice", call.named["id"], param="invoice")


def _in_state(call: Call, *states: str) -> Obj:
    body = retrieve(call)
    if body["status"] not in states:
        raise Refusal(
            400,
            f"This invoice is {body['status']}; that needs one that is {' or '.join(states)}.",
            code="invoice_not_editable" if states == ("draft",) else None,
        )
    return body


def update(call: Call) -> Obj:
    """POST /v1/invoices/{id}."""
    body, given = retrieve(call), call.params
    if body["status"] != "draft" and given.keys() - {"metadata", "auto_advance", "expand"}:
        raise Refusal(400, "Finalized invoices can't be updated in this way.", code="invoice_not_editable")
    for name in ("description", "auto_advance", "default_payment_method"):
        if name in given:
            body[name] = given[name] if given[name] != "" else None
    call.remember_metadata(body)
    call.emit("invoice.updated", call.keep(body))
    return body


def finalized(call: Call) -> Obj:
    """POST /v1/invoices/{id}/finalize."""
    body = _in_state(call, "draft")
    body["auto_advance"] = call.params.get("auto_advance", body["auto_advance"])
    return finalize(call, body)


def pay(call: Call) -> Obj:
    """POST /v1/invoices/{id}/pay."""
    body = _in_state(call, "draft", "open", "uncollectible")
    if body["status"] == "draft":
        body = finalize(call, body)
    if body["status"] == "paid":
        return body
    if call.params.get("paid_out_of_band"):
        return _paid(call, body)
    return collect(
        call, body, call.params.get("payment_method"), off_session=call.params.get("off_session", True)
    )


def void(call: Call) -> Obj:
    """POST /v1/invoices/{id}/void."""
    body = _in_state(call, "open", "uncollectible")
    body |= {"status": "void", "auto_advance": False, "next_payment_attempt": None}
    body["status_transitions"]["voided_at"] = call.now
    call.emit("invoice.voided", call.keep(body))
    return body


def listed(call: Call) -> Obj:
    """GET /v1/invoices."""
    fields = ("customer", "status", "collection_method")
    wanted = {name: call.params[name] for name in fields if name in call.params}
    if "subscription" in call.params:
        wanted["_subscription"] = call.params["subscription"]
    return call.page(
        "invoice",
        "/v1/invoices",
        keeps=lambda body: all(body[name] == value for name, value in wanted.items()),
    )


def confirmation_secret(call: Call, body: Obj) -> Obj | None:
    """What expand[]=confirmation_secret shows: the browser confirms the intent with it."""
    if body["status"] != "open":
        return None
    return {"client_secret": intent_of(call, body)["client_secret"], "type": "payment_intent"}


def payments(_call: Call, body: Obj) -> Obj:
    """What expand[]=payments shows."""
    found = []
    if body["_intent"] is not None:
        done = body["status"] == "paid"
        found.append(
            {
                "id": f"inpay_{body['_intent'][3:]}",
                "object": "invoice_payment",
                "created": body["created"],
                "amount_paid": body["amount_paid"] if done else None,
                "amount_requested": body["amount_due"],
                "currency": body["currency"],
                "invoice": body["id"],
                "is_default": True,
                "livemode": False,
                "payment": {"payment_intent": body["_intent"], "type": "payment_intent"},
                "status": "paid" if done else "open",
                "status_transitions": {"canceled_at": None, "paid_at": body["status_transitions"]["paid_at"]},
            }
        )
    return {"object": "list", "data": found, "has_more": False, "url": "/v1/invoice_payments"}


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/invoices",
        InvoiceCreateParams,
        create,
        names(
            "customer subscription currency collection_method days_until_due auto_advance description "
            "metadata "
            "pending_invoice_items_behavior"
        ),
    ),
    Endpoint(
        "GET",
        "/v1/invoices",
        InvoiceListParams,
        listed,
        LISTING | names("customer status collection_method subscription"),
    ),
    Endpoint("GET", "/v1/invoices/{id}", InvoiceRetrieveParams, retrieve),
    Endpoint(
        "POST",
        "/v1/invoices/{id}",
        InvoiceUpdateParams,
        update,
        names("description auto_advance default_payment_method metadata"),
    ),
    Endpoint(
        "POST", "/v1/invoices/{id}/finalize", InvoiceFinalizeInvoiceParams, finalized, names("auto_advance")
    ),
    Endpoint(
        "POST",
        "/v1/invoices/{id}/pay",
        InvoicePayParams,
        pay,
        names("payment_method off_session paid_out_of_band"),
    ),
    Endpoint("POST", "/v1/invoices/{id}/void", InvoiceVoidInvoiceParams, void),
)
