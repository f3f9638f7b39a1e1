"""Stripe's own invoices, for those who let Stripe run the subscription: https://docs.stripe.com/api/invoices.

draft → open → paid, void or uncollectible. Lines are invoice items and subscription items.
"""

from typing import Final

from stripe.params import (
    InvoiceCreateParams,
    InvoiceFinalizeInvoiceParams,
    InvoiceItemCreateParams,
    InvoiceItemDeleteParams,
    InvoiceItemListParams,
    InvoiceItemRetrieveParams,
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
from farebox.sandbox.stripe.errors import Refusal, invalid, missing_parameter
from farebox.sandbox.stripe.money import currency

DRAFT_SECONDS: Final = 3600
RETRY_SECONDS: Final = 3 * 86_400
MAX_ATTEMPTS: Final = 4


def create(call: Call) -> Obj:
    """POST /v1/invoices: a draft with the customer's pending items of one currency."""
    if "customer" not in call.params:
        raise missing_parameter("customer")
    owner, given = existing(call, call.params["customer"]), call.params
    pending = _pending(call, owner["id"], given.get("subscription"))
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
    call.emit("invoice.created", call.keep(totalled(body)))
    return body


def draft(call: Call, owner: Obj, code: str, *, reason: str, subscription: str | None = None) -> Obj:
    """A draft without lines; it is not kept yet."""
    parent = None
    if subscription is not None:
        metadata = call.referred("subscription", "subscription", object_id=subscription)["metadata"]
        details = {"metadata": metadata, "subscription": subscription, "subscription_proration_date": None}
        parent = {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
    body = call.start(
        "in",
        account_country="US",
        account_name="Farebox sandbox",
        account_tax_ids=None,
        amount_due=0,
        amount_overpaid=0,
        amount_paid=0,
        amount_remaining=0,
        amount_shipping=0,
        application=None,
        attempt_count=0,
        attempted=False,
        auto_advance=True,
        automatically_finalizes_at=call.now + DRAFT_SECONDS,
        automatic_tax={
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        billing_reason=reason,
        collection_method="charge_automatically",
        currency=code,
        custom_fields=None,
        customer=owner["id"],
        customer_address=owner["address"],
        customer_email=owner["email"],
        customer_name=owner["name"],
        customer_phone=owner["phone"],
        customer_shipping=owner["shipping"],
        customer_tax_exempt=owner["tax_exempt"],
        customer_tax_ids=[],
        default_payment_method=None,
        default_source=None,
        default_tax_rates=[],
        description=None,
        discounts=[],
        due_date=None,
        effective_at=None,
        ending_balance=None,
        footer=None,
        from_invoice=None,
        hosted_invoice_url=None,
        invoice_pdf=None,
        issuer={"type": "self"},
        last_finalization_error=None,
        latest_revision=None,
        metadata={},
        next_payment_attempt=None,
        number=None,
        on_behalf_of=None,
        parent=parent,
        period_start=call.now,
        period_end=call.now,
        payment_settings={
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        post_payment_credit_notes_amount=0,
        pre_payment_credit_notes_amount=0,
        receipt_number=None,
        rendering=None,
        shipping_cost=None,
        shipping_details=None,
        starting_balance=0,
        statement_descriptor=None,
        status="draft",
        status_transitions={
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        subtotal=0,
        subtotal_excluding_tax=0,
        test_clock=None,
        total=0,
        total_discount_amounts=[],
        total_excluding_tax=0,
        total_pretax_credit_amounts=[],
        total_taxes=[],
        webhooks_delivered_at=None,
        _subscription=subscription,
        _intent=None,
    )
    url = f"/v1/invoices/{body['id']}/lines"
    body["lines"] = {"object": "list", "data": [], "has_more": False, "url": url, "total_count": 0}
    return body


def line(
    call: Call,
    body: Obj,
    amount: int,
    text: str,
    period: Obj,
    *,
    parent: Obj,
    quantity: int = 1,
    price: Obj | None = None,
) -> None:
    """Add a line to a draft."""
    pricing = None
    if price is not None:
        details = {"price": price["id"], "product": price["product"]}
        pricing = {
            "price_details": details,
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        }
    body["lines"]["data"].append(
        {
            "id": call.new_id("il"),
            "object": "line_item",
            "amount": amount,
            "currency": body["currency"],
            "description": text,
            "discount_amounts": [],
            "discountable": True,
            "discounts": [],
            "invoice": body["id"],
            "livemode": False,
            "metadata": {},
            "parent": parent,
            "period": period,
            "pretax_credit_amounts": [],
            "pricing": pricing,
            "quantity": quantity,
            "quantity_decimal": str(quantity),
            "subscription": body["_subscription"],
            "subtotal": amount,
            "taxes": [],
        }
    )


def take_in(call: Call, body: Obj, items: list[Obj]) -> None:
    """Pending items become lines of this draft."""
    for item in items:
        details = {
            "invoice_item": item["id"],
            "proration": item["proration"],
            "proration_details": {"credited_items": None},
            "subscription": body["_subscription"],
        }
        parent = {
            "invoice_item_details": details,
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
        line(call, body, item["amount"], item["description"] or "", item["period"], parent=parent)
        body["lines"]["data"][-1]["metadata"] = item["metadata"]
        call.keep({**item, "invoice": body["id"]})


def totalled(body: Obj) -> Obj:
    """The draft with its sums; a negative total is owed as nothing."""
    total = sum(one["amount"] for one in body["lines"]["data"])
    body["lines"]["total_count"] = len(body["lines"]["data"])
    due = max(0, total)
    return body | {
        "subtotal": total,
        "total": total,
        "amount_due": due,
        "amount_remaining": due - body["amount_paid"],
        "subtotal_excluding_tax": total,
        "total_excluding_tax": total,
    }


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
    """Charge an open invoice. A declined card is a kept Refusal; the invoice stays open and is tried again."""
    owner = call.find("customer", body["customer"])
    chosen = method or body["default_payment_method"] or owner["invoice_settings"]["default_payment_method"]
    intent = intent_of(call, body)
    fresh = Call(call.world, {})
    body |= {"attempted": True, "attempt_count": body["attempt_count"] + 1}
    call.keep(body)
    try:
        if chosen is None:
            raise Refusal(
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


def create_item(call: Call) -> Obj:
    """POST /v1/invoiceitems: pending, or on the draft that `invoice` names."""
    given = call.params
    if "customer" not in given:
        raise missing_parameter("customer")
    owner = existing(call, given["customer"])
    if "amount" not in given:
        raise missing_parameter("amount")
    target = call.referred("invoice", "invoice") if "invoice" in given else None
    code = currency(given.get("currency") or (target or {}).get("currency") or "usd")
    if target is not None and (target["status"] != "draft" or target["customer"] != owner["id"]):
        raise Refusal(
            400, "The invoice is no draft of this customer.", param="invoice", code="invoice_not_editable"
        )
    if target is not None and target["currency"] != code:
        raise invalid(f"The invoice is in {target['currency']}.", "currency")
    if "subscription" in given:
        call.referred("subscription", "subscription")
    item = item_of(
        call,
        owner["id"],
        given["amount"],
        code,
        given.get("description"),
        subscription=given.get("subscription"),
        period=given.get("period"),
    )
    item["discountable"] = given.get("discountable", True)
    call.remember_metadata(item)
    call.keep(item)
    if target is not None:
        take_in(call, target, [item])
        item["invoice"] = target["id"]
        call.emit("invoice.updated", call.keep(target | totalled(target)))
    call.emit("invoiceitem.created", item)
    return item


def item_of(
    call: Call,
    owner: str,
    amount: int,
    code: str,
    text: str | None,
    *,
    subscription: str | None,
    period: Obj | None,
    proration: bool = False,
) -> Obj:
    """A pending item; it is not kept yet."""
    parent = None
    if subscription is not None:
        parent = {
            "subscription_details": {"subscription": subscription, "subscription_item": None},
            "type": "subscription_details",
        }
    return call.start(
        "ii",
        amount=amount,
        currency=code,
        customer=owner,
        date=call.now,
        description=text,
        discountable=True,
        discounts=[],
        invoice=None,
        metadata={},
        net_amount=amount,
        parent=parent,
        period=period or {"start": call.now, "end": call.now},
        pricing=None,
        proration=proration,
        quantity=1,
        quantity_decimal="1",
        tax_rates=[],
        test_clock=None,
        _subscription=subscription,
    )


def _pending(call: Call, owner: str, subscription: str | None) -> list[Obj]:
    found = call.all_of("invoiceitem", oldest_first=True, customer=owner, invoice=None)
    return [item for item in found if subscription is None or item["_subscription"] in {None, subscription}]


def pending(call: Call, owner: str, subscription: str, code: str) -> list[Obj]:
    """What the next invoice of a subscription takes in."""
    return [item for item in _pending(call, owner, subscription) if item["currency"] == code]


def retrieve_item(call: Call) -> Obj:
    """GET /v1/invoiceitems/{id}."""
    return call.find("invoiceitem", call.named["id"])


def delete_item(call: Call) -> Obj:
    """DELETE /v1/invoiceitems/{id}: only while it is pending."""
    item = retrieve_item(call)
    if item["invoice"] is not None:
        raise Refusal(
            400, "This invoice item is on an invoice and cannot be deleted.", code="invoice_not_editable"
        )
    call.world.store.remove("invoiceitem", item["id"])
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def listed_items(call: Call) -> Obj:
    """GET /v1/invoiceitems."""
    wanted = {name: call.params[name] for name in ("customer", "invoice") if name in call.params}
    waiting = call.params.get("pending")
    return call.page(
        "invoiceitem",
        "/v1/invoiceitems",
        keeps=lambda body: (
            all(body[name] == value for name, value in wanted.items())
            and waiting in {None, body["invoice"] is None}
        ),
    )


def confirmation_secret(call: Call, body: Obj) -> Obj | None:
    """What expand[]=confirmation_secret shows: the browser confirms the intent with it."""
    if body["status"] != "open":
        return None
    return {"client_secret": intent_of(call, body)["client_secret"], "type": "payment_intent"}


def payments(call: Call, body: Obj) -> Obj:
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
            "customer subscription currency collection_method days_until_due auto_advance description metadata "
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
    Endpoint(
        "POST",
        "/v1/invoiceitems",
        InvoiceItemCreateParams,
        create_item,
        names("customer amount currency description invoice subscription period discountable metadata"),
    ),
    Endpoint(
        "GET",
        "/v1/invoiceitems",
        InvoiceItemListParams,
        listed_items,
        LISTING | names("customer invoice pending"),
    ),
    Endpoint("GET", "/v1/invoiceitems/{id}", InvoiceItemRetrieveParams, retrieve_item),
    Endpoint("DELETE", "/v1/invoiceitems/{id}", InvoiceItemDeleteParams, delete_item),
)
