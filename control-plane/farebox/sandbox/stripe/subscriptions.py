"""Subscriptions that Stripe runs: https://docs.stripe.com/api/subscriptions.

The first invoice is charged at once, later ones when their period begins, after an hour as a draft into which
usage can be put. Prorations are by the second.
"""

from typing import Any, Final

from stripe.params import (
    SubscriptionCancelParams,
    SubscriptionCreateParams,
    SubscriptionListParams,
    SubscriptionRetrieveParams,
    SubscriptionUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import invoice_drafts, invoice_items, invoices
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.customers import existing
from farebox.sandbox.stripe.errors import Refusal, invalid, missing_parameter
from farebox.sandbox.stripe.payment_methods import usable
from farebox.sandbox.stripe.periods import after

_DAY: Final = 86_400
ALIVE: Final = frozenset({"trialing", "active", "past_due", "incomplete", "unpaid"})


def create(call: Call) -> Obj:
    """POST /v1/subscriptions."""
    given = call.params
    if "customer" not in given:
        raise missing_parameter("customer")
    owner = existing(call, given["customer"])
    if not given.get("items"):
        raise missing_parameter("items")
    prices = [_price(call, item, f"items[{index}]") for index, item in enumerate(given["items"])]
    if len({price["currency"] for price in prices}) > 1:
        raise invalid("All prices of a subscription must have the same currency.", "items")
    trial_end = _trial_end(call)
    body = call.start(
        "sub",
        application=None,
        application_fee_percent=None,
        automatic_tax={"disabled_reason": None, "enabled": False, "liability": None},
        billing_cycle_anchor=call.now,
        billing_cycle_anchor_config=None,
        billing_mode={"flexible": None, "type": "classic"},
        billing_schedules=[],
        billing_thresholds=None,
        cancel_at=None,
        cancel_at_period_end=given.get("cancel_at_period_end", False),
        canceled_at=None,
        cancellation_details={"comment": None, "feedback": None, "reason": None},
        collection_method=given.get("collection_method", "charge_automatically"),
        currency=prices[0]["currency"],
        customer=owner["id"],
        days_until_due=given.get("days_until_due"),
        default_payment_method=None,
        default_source=None,
        default_tax_rates=[],
        description=given.get("description"),
        discounts=[],
        ended_at=None,
        invoice_settings={"account_tax_ids": None, "issuer": {"type": "self"}},
        latest_invoice=None,
        metadata={},
        next_pending_invoice_item_invoice=None,
        on_behalf_of=None,
        pause_collection=None,
        payment_settings={
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        pending_invoice_item_interval=None,
        pending_setup_intent=None,
        pending_update=None,
        schedule=None,
        start_date=call.now,
        status="trialing" if trial_end else "incomplete",
        test_clock=None,
        transfer_data=None,
        trial_end=trial_end,
        trial_start=call.now if trial_end else None,
        trial_settings={"end_behavior": {"missing_payment_method": "create_invoice"}},
    )
    if "default_payment_method" in given:
        body["default_payment_method"] = usable(call, given["default_payment_method"], owner["id"])["id"]
    if body["collection_method"] == "send_invoice" and body["days_until_due"] is None:
        raise missing_parameter("days_until_due")
    call.remember_metadata(body)
    end = trial_end or after(call.now, call.now, prices[0])
    if trial_end:
        body["billing_cycle_anchor"] = trial_end
    body["items"] = {
        "object": "list",
        "has_more": False,
        "url": f"/v1/subscription_items?subscription={body['id']}",
    }
    body["items"]["data"] = [
        _item(call, body, price, item.get("quantity", 1), end)
        for price, item in zip(prices, given["items"], strict=True)
    ]
    call.emit("customer.subscription.created", call.keep(body))
    if trial_end:
        return body
    return _first_invoice(call, body, given.get("payment_behavior", "allow_incomplete"))


def _price(call: Call, item: Obj, where: str) -> Obj:
    if unknown := item.keys() - {"price", "quantity", "id", "deleted", "metadata"}:
        raise invalid(f"The sandbox does not simulate {min(unknown)} there.", where)
    if "price" not in item:
        raise missing_parameter(f"{where}[price]")
    price = call.referred("price", f"{where}[price]", object_id=item["price"])
    if price["recurring"] is None:
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts recurring prices.",
            where,
        )
    return price


def _item(call: Call, body: Obj, price: Obj, quantity: int, end: int) -> Obj:
    plan = {
        "id": price["id"],
        "object": "plan",
        "active": True,
        "amount": price["unit_amount"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "livemode": False,
        "metadata": {},
        "interval_count": price["recurring"]["interval_count"],
        "product": price["product"],
    }
    return call.start(
        "si",
        billed_until=None,
        billing_thresholds=None,
        current_period_start=call.now,
        current_period_end=end,
        discounts=[],
        metadata={},
        plan=plan,
        price=price,
        quantity=quantity,
        subscription=body["id"],
        tax_rates=[],
    ) | {"object": "subscription_item"}


def _trial_end(call: Call) -> int | None:
    given: dict[str, Any] = call.params
    if "trial_period_days" in given and "trial_end" in given:
        raise invalid(
            "You may only specify one of these parameters: trial_end, trial_period_days.", "trial_end"
        )
    if given.get("trial_period_days"):
        return call.now + int(given["trial_period_days"]) * _DAY
    end = given.get("trial_end", "now")
    if end == "now":
        return None
    if end <= call.now:
        raise invalid("The trial end must be in the future.", "trial_end")
    return int(end)


def period_invoice(call: Call, body: Obj, reason: str) -> Obj:
    """The draft for the period that begins."""
    owner = call.find("customer", body["customer"])
    made = invoice_drafts.draft(call, owner, body["currency"], reason=reason, subscription=body["id"])
    made |= {
        "collection_method": body["collection_method"],
        "default_payment_method": body["default_payment_method"],
    }
    if body["collection_method"] == "send_invoice":
        made["due_date"] = call.now + body["days_until_due"] * _DAY
    for item in body["items"]["data"]:
        price, period = (
            item["price"],
            {"start": item["current_period_start"], "end": item["current_period_end"]},
        )
        details = {
            "invoice_item": None,
            "proration": False,
            "proration_details": {"credited_items": None},
            "subscription": body["id"],
            "subscription_item": item["id"],
        }
        parent = {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        }
        name = call.find("product", price["product"])["name"]
        text = f"{item['quantity']} × {name}"  # noqa: RUF001 - as Stripe writes it
        amount = price["unit_amount"] * item["quantity"]
        invoice_drafts.line(
            call, made, amount, text, period, parent=parent, quantity=item["quantity"], price=price
        )
    waiting = invoice_items.pending(call, owner["id"], body["id"], body["currency"])
    invoice_drafts.take_in(call, made, waiting)
    body["latest_invoice"] = made["id"]
    call.keep(body)
    call.emit("invoice.created", call.keep(invoice_drafts.totalled(made)))
    return call.find("invoice", made["id"])


def _first_invoice(call: Call, body: Obj, behaviour: str) -> Obj:
    made = invoices.finalize(call, period_invoice(call, body, "subscription_create"))
    if body["collection_method"] == "send_invoice":
        return change(call, body["id"], status="active")
    if made["status"] == "open" and behaviour == "default_incomplete":
        invoices.intent_of(call, made)
    elif made["status"] == "open":
        try:
            invoices.collect(call, made, off_session=call.params.get("off_session", False))
        except Refusal as refusal:
            if behaviour == "error_if_incomplete":
                refusal.kept = False  # as if nothing had been asked for
                raise
    return call.find("subscription", body["id"])


def change(call: Call, subscription_id: str, **fields: Any) -> Obj:
    """The named change of state, and its event."""
    body = call.find("subscription", subscription_id)
    before = {name: body[name] for name in fields}
    body |= fields
    call.emit("customer.subscription.updated", call.keep(body), previous=before)
    return body


def invoice_paid(call: Call, subscription_id: str) -> None:
    """The latest invoice is paid: active again."""
    body = call.find("subscription", subscription_id)
    if body["status"] in {"incomplete", "past_due", "unpaid"}:
        change(call, subscription_id, status="active")


def retrieve(call: Call) -> Obj:
    """GET /v1/subscriptions/{id}."""
    return call.find("subscription", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/subscriptions/{id}: prices and quantities (prorated), cancellation at the end, metadata."""
    body, given = retrieve(call), call.params
    if body["status"] not in ALIVE:
        raise Refusal(
            400, f"This subscription is {body['status']} and cannot be updated.", code="resource_missing"
        )
    before = {
        name: body.get(name)
        for name in given.keys() - {"items", "proration_behavior", "expand", "off_session"}
    }
    for name in ("description", "cancel_at_period_end", "days_until_due", "collection_method"):
        if name in given:
            body[name] = given[name]
    if "cancel_at_period_end" in given:
        ends = body["items"]["data"][0]["current_period_end"]
        body |= (
            {"cancel_at": ends, "canceled_at": call.now}
            if given["cancel_at_period_end"]
            else {"cancel_at": None, "canceled_at": None}
        )
    if "default_payment_method" in given:
        body["default_payment_method"] = usable(call, given["default_payment_method"], body["customer"])["id"]
    if given.get("trial_end") == "now" and body["status"] == "trialing":
        body["trial_end"] = call.now
    call.remember_metadata(body)
    behaviour = given.get("proration_behavior", "create_prorations")
    for index, item in enumerate(given.get("items", [])):
        _change_item(call, body, item, f"items[{index}]", prorate=behaviour != "none")
    call.emit("customer.subscription.updated", call.keep(body), previous=before)
    if behaviour == "always_invoice" and "items" in given:
        owner = call.find("customer", body["customer"])
        made = invoice_drafts.draft(
            call, owner, body["currency"], reason="subscription_update", subscription=body["id"]
        )
        invoice_drafts.take_in(
            call, made, invoice_items.pending(call, owner["id"], body["id"], body["currency"])
        )
        call.emit("invoice.created", call.keep(invoice_drafts.totalled(made)))
        body = call.keep(body | {"latest_invoice": made["id"]})
        from farebox.sandbox.stripe.renewals import finalize_and_collect

        finalize_and_collect(call, call.find("invoice", made["id"]))
    return call.find("subscription", body["id"])


def _change_item(call: Call, body: Obj, given: Obj, where: str, *, prorate: bool) -> None:
    held: list[Obj] = body["items"]["data"]
    old = next((one for one in held if one["id"] == given.get("id")), None)
    if old is None and "id" in given:
        raise invalid(f"No such subscription item: '{given['id']}'", f"{where}[id]", code="resource_missing")
    if prorate and old is not None:
        _prorate(call, body, old, -1)
    if given.get("deleted"):
        body["items"]["data"] = [one for one in held if one is not old]
        return
    price = _price(call, given, where) if "price" in given or old is None else old["price"]
    if price["currency"] != body["currency"]:
        raise invalid(f"The subscription is in {body['currency']}.", where)
    if old is None:
        new = _item(call, body, price, given.get("quantity", 1), held[0]["current_period_end"])
        held.append(new | {"current_period_start": held[0]["current_period_start"]})
        old = held[-1]
    else:
        fresh = _item(
            call,
            body,
            price,
            int(given["quantity"] if "quantity" in given else old["quantity"]),
            old["current_period_end"],
        )
        old |= {name: fresh[name] for name in ("price", "plan", "quantity")}
    if prorate:
        _prorate(call, body, old, 1)


def _prorate(call: Call, body: Obj, item: Obj, sign: int) -> None:
    """Credit (-1) or charge (1) what is left of the period, by the second."""
    start, end = item["current_period_start"], item["current_period_end"]
    if body["status"] == "trialing" or end <= start:
        return
    whole, left = item["price"]["unit_amount"] * item["quantity"], max(0, end - call.now)
    amount = sign * ((2 * whole * left + (end - start)) // (2 * (end - start)))
    text = f"{'Remaining' if sign > 0 else 'Unused'} time on {item['quantity']} × {item['price']['id']}"  # noqa: RUF001 - as Stripe writes it
    made = invoice_items.item_of(
        call,
        body["customer"],
        amount,
        body["currency"],
        text,
        subscription=body["id"],
        proration=True,
        period={"start": call.now, "end": end},
    )
    call.emit("invoiceitem.created", call.keep(made))


def cancel(call: Call) -> Obj:
    """DELETE /v1/subscriptions/{id}: at once."""
    body = retrieve(call)
    if body["status"] not in ALIVE:
        raise Refusal(404, f"No such subscription: '{body['id']}'", code="resource_missing", param="id")
    return end(call, body)


def end(call: Call, body: Obj) -> Obj:
    """It is over."""
    body |= {"status": "canceled", "ended_at": call.now, "canceled_at": body["canceled_at"] or call.now}
    body["cancellation_details"]["reason"] = "cancellation_requested"
    invoices.stop_collecting(call, body["id"])
    call.emit("customer.subscription.deleted", call.keep(body))
    return body


def listed(call: Call) -> Obj:
    """GET /v1/subscriptions: without `status`, those that are not canceled."""
    given = call.params
    status, price = given.get("status"), given.get("price")

    def keeps(body: Obj) -> bool:
        fits = body["status"] != "canceled" if status is None else status in {"all", body["status"]}
        prices = {item["price"]["id"] for item in body["items"]["data"]}
        return (
            fits and given.get("customer") in {None, body["customer"]} and (price is None or price in prices)
        )

    return call.page("subscription", "/v1/subscriptions", keeps=keeps)


_SHARED: Final = names(
    "items default_payment_method metadata description cancel_at_period_end proration_behavior "
    "collection_method "
    "days_until_due off_session trial_end payment_behavior"
)
ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/subscriptions",
        SubscriptionCreateParams,
        create,
        _SHARED | names("customer trial_period_days"),
    ),
    Endpoint(
        "GET", "/v1/subscriptions", SubscriptionListParams, listed, LISTING | names("customer status price")
    ),
    Endpoint("GET", "/v1/subscriptions/{id}", SubscriptionRetrieveParams, retrieve),
    Endpoint(
        "POST", "/v1/subscriptions/{id}", SubscriptionUpdateParams, update, _SHARED - {"payment_behavior"}
    ),
    Endpoint("DELETE", "/v1/subscriptions/{id}", SubscriptionCancelParams, cancel),
)
