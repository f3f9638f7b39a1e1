"""Checkout sessions for a payment or for saving a card: https://docs.stripe.com/api/checkout/sessions."""

from typing import Final
from urllib.parse import urlsplit

from stripe.params.checkout import (
    SessionCreateParams,
    SessionExpireParams,
    SessionListParams,
    SessionRetrieveParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import payment_intents, setup_intents
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.customers import existing
from farebox.sandbox.stripe.errors import Refusal, invalid, missing_parameter
from farebox.sandbox.stripe.money import chargeable, currency
from farebox.sandbox.stripe.payment_methods import new_method, typed_card

KIND: Final = "checkout.session"
_LIFETIME: Final = 86_400
_INTENT_DATA: Final = names("description metadata receipt_email setup_future_usage capture_method")


def create(call: Call) -> Obj:
    """POST /v1/checkout/sessions, mode payment or setup."""
    given, mode = call.params, call.params.get("mode")
    if mode not in {"payment", "setup"}:
        raise invalid("Invalid mode: the sandbox simulates payment and setup", "mode")
    if "success_url" not in given:
        raise missing_parameter("success_url")
    for name in ("success_url", "cancel_url"):
        if name in given and urlsplit(given[name]).scheme not in {"http", "https"}:
            raise Refusal(400, "Not a valid URL", code="url_invalid", param=name)
    if "customer" in given and "customer_email" in given:
        raise Refusal(
            400, "You may only specify one of these parameters: customer, customer_email.", param="customer"
        )
    if "customer" in given:
        existing(call, given["customer"])
    items, total, code = _items(call, mode)
    expires = given.get("expires_at", call.now + _LIFETIME)
    if not call.now + 1800 <= expires <= call.now + _LIFETIME:
        raise invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.", "expires_at"
        )
    body = call.start(
        "cs",
        adaptive_pricing=None,
        after_expiration=None,
        allow_promotion_codes=None,
        amount_subtotal=total,
        amount_total=total,
        automatic_tax={"enabled": False, "liability": None, "provider": None, "status": None},
        billing_address_collection=given.get("billing_address_collection"),
        cancel_url=given.get("cancel_url"),
        client_reference_id=given.get("client_reference_id"),
        client_secret=None,
        consent=None,
        consent_collection=None,
        currency=code,
        currency_conversion=None,
        custom_fields=[],
        custom_text={
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        customer=given.get("customer"),
        customer_creation=given.get("customer_creation", "if_required"),
        customer_details=None,
        customer_email=given.get("customer_email"),
        discounts=[],
        expires_at=expires,
        invoice=None,
        locale=given.get("locale"),
        metadata={},
        mode=mode,
        payment_intent=None,
        payment_link=None,
        payment_method_collection="always",
        payment_method_types=["card"],
        recovered_from=None,
        setup_intent=None,
        payment_status="no_payment_required" if mode == "setup" else "unpaid",
        shipping_address_collection=None,
        shipping_cost=None,
        shipping_options=[],
        status="open",
        submit_type=None,
        subscription=None,
        success_url=given["success_url"],
        ui_mode="hosted_page",
        _items=items,
        _error="",
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}
        if mode == "payment"
        else None,
        _intent=given.get("payment_intent_data" if mode == "payment" else "setup_intent_data", {}),
    )
    body["id"] = f"cs_test_{call.world.store.new_text(40)}"
    body["url"] = f"{call.world.base_url}/checkout/{body['id']}"
    if unknown := body["_intent"].keys() - _INTENT_DATA:
        raise invalid(f"The sandbox does not simulate {min(unknown)} there.", "payment_intent_data")
    call.remember_metadata(body)
    return call.keep(body)


def _items(call: Call, mode: str) -> tuple[list[Obj], int | None, str | None]:
    given = call.params.get("line_items")
    if mode == "setup":
        if given:
            raise invalid("`line_items` are not allowed in `setup` mode.", "line_items")
        return [], None, currency(call.params["currency"]) if "currency" in call.params else None
    if not given:
        raise missing_parameter("line_items")
    items, codes = [], set()
    for index, item in enumerate(given):
        if unknown := item.keys() - {"price", "price_data", "quantity"}:
            raise invalid(f"The sandbox does not simulate {min(unknown)} there.", f"line_items[{index}]")
        if "quantity" not in item:
            raise missing_parameter(f"line_items[{index}][quantity]")
        name, amount, code, price = _priced(call, item, index)
        codes.add(code)
        total = amount * item["quantity"]
        items.append(
            {
                "id": call.new_id("li"),
                "object": "item",
                "amount_discount": 0,
                "amount_subtotal": total,
                "amount_tax": 0,
                "amount_total": total,
                "currency": code,
                "description": name,
                "price": price,
                "quantity": item["quantity"],
            }
        )
    if len(codes) > 1:
        raise invalid("All prices of a session must have the same currency.", "line_items")
    total = sum(item["amount_total"] for item in items)
    code = codes.pop()
    return items, chargeable(total, code, param="line_items"), code


def _priced(call: Call, item: Obj, index: int) -> tuple[str, int, str, Obj | None]:
    where = f"line_items[{index}]"
    if ("price" in item) == ("price_data" in item):
        raise invalid("Give one of price and price_data.", where)
    if "price" in item:
        price = call.referred("price", f"{where}[price]", object_id=item["price"])
        if price["recurring"] is not None:
            raise invalid("You specified `payment` mode but passed a recurring price.", where)
        return call.find("product", price["product"])["name"], price["unit_amount"], price["currency"], price
    data = item["price_data"]
    if unknown := data.keys() - {"currency", "unit_amount", "product", "product_data"}:
        raise invalid(f"The sandbox does not simulate {min(unknown)} there.", f"{where}[price_data]")
    if "unit_amount" not in data:
        raise missing_parameter(f"{where}[price_data][unit_amount]")
    if "product" in data:
        name = call.referred("product", f"{where}[price_data][product]", object_id=data["product"])["name"]
    elif "product_data" in data:
        name = data["product_data"]["name"]
    else:
        raise missing_parameter(f"{where}[price_data][product_data]")
    return name, data["unit_amount"], currency(data["currency"]), None


def pay(call: Call, body: Obj, typed: Obj) -> Obj:
    """A person has typed a card on the page. Answers the intent; Refusal for a card that is declined."""
    card = typed_card(call, typed["card"])
    method = call.keep(new_method(call, card, billing=typed["billing_details"]))
    data = body["_intent"]
    if body["mode"] == "setup":
        fresh = Call(call.world, {"customer": body["customer"], **data} if body["customer"] else dict(data))
        intent = setup_intents.create(fresh)
        body["setup_intent"] = intent["id"]
    else:
        fresh = Call(call.world, dict(data))
        intent = payment_intents.new_intent(
            fresh, body["amount_total"], body["currency"], customer=body["customer"]
        )
        call.emit("payment_intent.created", intent)
        body["payment_intent"] = intent["id"]
    intent["payment_method"] = method["id"]
    address = typed["billing_details"].get("address") or {}
    email = typed["billing_details"].get("email") or body["customer_email"]
    body["customer_details"] = {
        "address": {
            **dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
            **address,
        },
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": typed["billing_details"].get("name"),
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    call.keep(body)
    back = f"{call.world.base_url}/checkout/{body['id']}/return"
    if body["mode"] == "setup":
        return setup_intents.confirm(fresh, intent, back)
    return payment_intents.confirm(fresh, intent, return_url=back)


def complete(call: Call, body: Obj) -> Obj:
    """The intent has succeeded: the session is over. Once."""
    if body["status"] == "open":
        body |= {
            "status": "complete",
            "payment_status": "paid" if body["mode"] == "payment" else "no_payment_required",
        }
        call.emit("checkout.session.completed", call.keep({**body, "url": None}))
    return body


def retrieve(call: Call) -> Obj:
    """GET /v1/checkout/sessions/{id}."""
    return expired(call, call.find(KIND, call.named["id"], param="session"))


def expired(call: Call, body: Obj) -> Obj:
    """The session, expired if its time is over."""
    return _end(call, body) if body["status"] == "open" and body["expires_at"] <= call.now else body


def _end(call: Call, body: Obj) -> Obj:
    body |= {"status": "expired", "url": None}
    call.emit("checkout.session.expired", call.keep(body))
    return body


def expire(call: Call) -> Obj:
    """POST /v1/checkout/sessions/{id}/expire."""
    body = call.find(KIND, call.named["id"], param="session")
    if body["status"] != "open":
        raise Refusal(
            400,
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a '
            f"status of {body['status']}.",
        )
    return _end(call, body)


def listed(call: Call) -> Obj:
    """GET /v1/checkout/sessions."""
    fields = ("customer", "payment_intent", "status")
    wanted = {name: call.params[name] for name in fields if name in call.params}
    return call.page(
        KIND,
        "/v1/checkout/sessions",
        keeps=lambda body: all(body[name] == value for name, value in wanted.items()),
    )


def line_items(_call: Call, body: Obj) -> Obj:
    """What expand[]=line_items shows."""
    url = f"/v1/checkout/sessions/{body['id']}/line_items"
    return {"object": "list", "data": body["_items"], "has_more": False, "url": url}


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/checkout/sessions",
        SessionCreateParams,
        create,
        names(
            "mode line_items success_url cancel_url customer customer_email customer_creation "
            "client_reference_id "
            "metadata currency expires_at locale payment_intent_data setup_intent_data "
            "billing_address_collection"
        ),
    ),
    Endpoint(
        "GET",
        "/v1/checkout/sessions",
        SessionListParams,
        listed,
        LISTING | names("customer payment_intent status"),
    ),
    Endpoint("GET", "/v1/checkout/sessions/{id}", SessionRetrieveParams, retrieve),
    Endpoint("POST", "/v1/checkout/sessions/{id}/expire", SessionExpireParams, expire),
)
