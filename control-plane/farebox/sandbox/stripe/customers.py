"""Customers: https://docs.stripe.com/api/customers."""

from typing import Final

from stripe.params import (
    CustomerCreateParams,
    CustomerDeleteParams,
    CustomerListParams,
    CustomerListPaymentMethodsParams,
    CustomerRetrieveParams,
    CustomerUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.errors import no_such
from farebox.sandbox.stripe.payment_methods import attach, method_named

_PLAIN: Final = "name email phone description preferred_locales tax_exempt address shipping"
_HONOURED: Final = names(_PLAIN + " metadata balance invoice_settings")


def existing(call: Call, customer_id: str, *, param: str = "customer") -> Obj:
    """A customer that a parameter names and that is not deleted; Refusal 400."""
    found = call.referred("customer", param, object_id=customer_id)
    if found.get("deleted"):
        raise no_such("customer", customer_id, param=param)
    return found


def create(call: Call) -> Obj:
    """POST /v1/customers."""
    body = call.start(
        "cus",
        address=None,
        balance=0,
        currency=None,
        default_source=None,
        delinquent=False,
        description=None,
        discount=None,
        email=None,
        invoice_prefix=call.world.store.new_text(8).upper(),
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        metadata={},
        name=None,
        next_invoice_sequence=1,
        phone=None,
        preferred_locales=[],
        shipping=None,
        tax_exempt="none",
        test_clock=None,
    )
    call.keep(body)
    if method := call.params.get("payment_method"):
        attach(call, method_named(call, method), body["id"])
    _change(call, body)
    call.emit("customer.created", call.keep(body))
    return body


def retrieve(call: Call) -> Obj:
    """GET /v1/customers/{id}; a deleted one answers with `deleted: true`."""
    return call.find("customer", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/customers/{id}."""
    body = call.find("customer", call.named["id"])
    if body.get("deleted"):
        raise no_such("customer", body["id"], param="id", status=404)
    before = {name: body.get(name) for name in call.params}
    _change(call, body)
    call.emit("customer.updated", call.keep(body), previous=before)
    return body


def delete(call: Call) -> Obj:
    """DELETE /v1/customers/{id}: subscriptions end, cards go."""
    from farebox.sandbox.stripe.subscriptions import end

    body = call.find("customer", call.named["id"])
    for subscription in list(call.all_of("subscription", customer=body["id"])):
        if subscription["status"] not in {"canceled", "incomplete_expired"}:
            end(call, subscription)
    for method in list(call.all_of("payment_method", customer=body["id"])):
        call.keep({**method, "customer": None, "_spent": True})
    call.emit("customer.deleted", body)
    gone: Obj = {"id": body["id"], "object": "customer", "deleted": True}
    call.keep({**gone, "created": body["created"]})
    return gone


def listed(call: Call) -> Obj:
    """GET /v1/customers."""
    email = call.params.get("email")
    return call.page(
        "customer",
        "/v1/customers",
        keeps=lambda body: not body.get("deleted") and email in {None, body.get("email")},
    )


def methods(call: Call) -> Obj:
    """GET /v1/customers/{customer}/payment_methods."""
    owner, kind = call.find("customer", call.named["id"], param="customer"), call.params.get("type")
    return call.page(
        "payment_method",
        f"/v1/customers/{owner['id']}/payment_methods",
        keeps=lambda body: body["customer"] == owner["id"] and kind in {None, body["type"]},
    )


def _change(call: Call, body: Obj) -> None:
    given = call.params
    for name in _PLAIN.split():
        if name in given:
            body[name] = None if given[name] == "" else given[name]
    if "balance" in given:
        body["balance"] = given["balance"]
    settings = given.get("invoice_settings", {})
    if default := settings.get("default_payment_method"):
        method = method_named(call, default)
        if method["customer"] != body["id"]:
            raise no_such("PaymentMethod", default, param="invoice_settings[default_payment_method]")
        body["invoice_settings"]["default_payment_method"] = method["id"]
    elif "default_payment_method" in settings:
        body["invoice_settings"]["default_payment_method"] = None
    call.remember_metadata(body)


ENDPOINTS: Final = (
    Endpoint("POST", "/v1/customers", CustomerCreateParams, create, _HONOURED | {"payment_method"}),
    Endpoint("GET", "/v1/customers", CustomerListParams, listed, LISTING | {"email"}),
    Endpoint("GET", "/v1/customers/{id}", CustomerRetrieveParams, retrieve),
    Endpoint("POST", "/v1/customers/{id}", CustomerUpdateParams, update, _HONOURED),
    Endpoint("DELETE", "/v1/customers/{id}", CustomerDeleteParams, delete),
    Endpoint(
        "GET",
        "/v1/customers/{id}/payment_methods",
        CustomerListPaymentMethodsParams,
        methods,
        LISTING - {"created"} | {"type"},
    ),
)
