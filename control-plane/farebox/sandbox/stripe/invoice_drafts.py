"""Drafts of Stripe's invoices: lines and sums, before anything is owed."""

from typing import Final

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import Call

DRAFT_SECONDS: Final = 3600


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
