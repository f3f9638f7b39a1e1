"""Invoice items: what waits for the next invoice, such as usage. https://docs.stripe.com/api/invoiceitems."""

from typing import Final

from stripe.params import (
    InvoiceItemCreateParams,
    InvoiceItemDeleteParams,
    InvoiceItemListParams,
    InvoiceItemRetrieveParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.customers import existing
from farebox.sandbox.stripe.errors import Refusal, invalid, missing_parameter
from farebox.sandbox.stripe.invoice_drafts import take_in, totalled
from farebox.sandbox.stripe.money import currency


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


def pending_of(call: Call, owner: str, subscription: str | None) -> list[Obj]:
    """A customer's items that are on no invoice yet, of this subscription or of none."""
    found = call.all_of("invoiceitem", oldest_first=True, customer=owner, invoice=None)
    return [item for item in found if subscription is None or item["_subscription"] in {None, subscription}]


def pending(call: Call, owner: str, subscription: str, code: str) -> list[Obj]:
    """What the next invoice of a subscription takes in."""
    return [item for item in pending_of(call, owner, subscription) if item["currency"] == code]


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


ENDPOINTS: Final = (
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
