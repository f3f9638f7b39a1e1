"""Products and prices: https://docs.stripe.com/api/products and /prices."""

from typing import Any, Final

from stripe.params import (
    PriceCreateParams,
    PriceListParams,
    PriceRetrieveParams,
    PriceUpdateParams,
    ProductCreateParams,
    ProductListParams,
    ProductRetrieveParams,
    ProductUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.errors import Refusal, invalid
from farebox.sandbox.stripe.money import CEILING, currency


def create(call: Call) -> Obj:
    """POST /v1/products."""
    return _product(call, call.params["name"])


def _product(call: Call, name: str) -> Obj:
    given = call.params
    body = call.start(
        "prod",
        active=given.get("active", True),
        default_price=None,
        description=given.get("description"),
        images=[],
        marketing_features=[],
        metadata={},
        name=name,
        package_dimensions=None,
        shippable=None,
        statement_descriptor=None,
        tax_code=None,
        type="service",
        unit_label=None,
        updated=call.now,
        url=None,
    )
    call.remember_metadata(body)
    call.emit("product.created", call.keep(body))
    return body


def retrieve(call: Call) -> Obj:
    """GET /v1/products/{id}."""
    return call.find("product", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/products/{id}."""
    body = call.find("product", call.named["id"])
    body |= {name: call.params[name] for name in ("name", "active", "description") if name in call.params}
    body["updated"] = call.now
    call.remember_metadata(body)
    call.emit("product.updated", call.keep(body))
    return body


def listed(call: Call) -> Obj:
    """GET /v1/products."""
    active = call.params.get("active")
    return call.page("product", "/v1/products", keeps=lambda body: active in {None, body["active"]})


def create_price(call: Call) -> Obj:
    """POST /v1/prices: a whole amount per unit, once or by interval."""
    given = call.params
    if ("product" in given) == ("product_data" in given):
        raise Refusal(400, "Give one of product and product_data.", code="parameter_missing", param="product")
    if "unit_amount" not in given:
        raise Refusal(
            400, "Missing required param: unit_amount.", code="parameter_missing", param="unit_amount"
        )
    product = call.referred("product", "product") if "product" in given else None
    return price(
        call,
        given["currency"],
        given["unit_amount"],
        recurring=given.get("recurring"),
        product=product["id"] if product else _product(call, given["product_data"]["name"])["id"],
    )


def price(call: Call, code: str, amount: int, *, product: str, recurring: Any = None) -> Obj:
    """A new price, kept."""
    given, code = call.params, currency(code)
    if not 0 <= amount <= CEILING:
        raise invalid("Invalid non-negative integer", "unit_amount", code="parameter_invalid_integer")
    repeats = None
    if recurring is not None:
        if unknown := recurring.keys() - {"interval", "interval_count", "usage_type"}:
            raise invalid(f"The sandbox does not simulate recurring[{min(unknown)}].", "recurring")
        if recurring.get("usage_type", "licensed") != "licensed":
            raise invalid("The sandbox simulates licensed prices.", "recurring[usage_type]")
        repeats = {
            "interval": recurring["interval"],
            "interval_count": recurring.get("interval_count", 1),
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    body = call.start(
        "price",
        active=True,
        billing_scheme="per_unit",
        currency=code,
        custom_unit_amount=None,
        lookup_key=given.get("lookup_key"),
        metadata={},
        nickname=given.get("nickname"),
        product=product,
        recurring=repeats,
        tax_behavior="unspecified",
        tiers_mode=None,
        transform_quantity=None,
        type="recurring" if repeats else "one_time",
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )
    if "metadata" in given and "unit_amount" in given:
        call.remember_metadata(body)
    call.emit("price.created", call.keep(body))
    return body


def retrieve_price(call: Call) -> Obj:
    """GET /v1/prices/{id}."""
    return call.find("price", call.named["id"])


def update_price(call: Call) -> Obj:
    """POST /v1/prices/{id}: an amount never changes."""
    body = call.find("price", call.named["id"])
    body |= {name: call.params[name] for name in ("active", "nickname", "lookup_key") if name in call.params}
    call.remember_metadata(body)
    call.emit("price.updated", call.keep(body))
    return body


def listed_prices(call: Call) -> Obj:
    """GET /v1/prices."""
    wanted = {
        name: call.params[name] for name in ("active", "product", "currency", "type") if name in call.params
    }
    keys = call.params.get("lookup_keys")
    return call.page(
        "price",
        "/v1/prices",
        keeps=lambda body: (
            all(body[name] == value for name, value in wanted.items())
            and (keys is None or body["lookup_key"] in keys)
        ),
    )


ENDPOINTS: Final = (
    Endpoint("POST", "/v1/products", ProductCreateParams, create, names("name active description metadata")),
    Endpoint("GET", "/v1/products", ProductListParams, listed, LISTING | {"active"}),
    Endpoint("GET", "/v1/products/{id}", ProductRetrieveParams, retrieve),
    Endpoint(
        "POST", "/v1/products/{id}", ProductUpdateParams, update, names("name active description metadata")
    ),
    Endpoint(
        "POST",
        "/v1/prices",
        PriceCreateParams,
        create_price,
        names("currency unit_amount product product_data recurring nickname lookup_key metadata"),
    ),
    Endpoint(
        "GET",
        "/v1/prices",
        PriceListParams,
        listed_prices,
        LISTING | names("active product currency type lookup_keys"),
    ),
    Endpoint("GET", "/v1/prices/{id}", PriceRetrieveParams, retrieve_price),
    Endpoint(
        "POST",
        "/v1/prices/{id}",
        PriceUpdateParams,
        update_price,
        names("active nickname lookup_key metadata"),
    ),
)
