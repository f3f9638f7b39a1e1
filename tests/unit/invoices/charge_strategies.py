"""Random charges, as JSON, for properties of the raters."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from farebox.invoices.rating import plain

prices = st.decimals(min_value=0, max_value=9999, places=12).map(plain)
small_prices = st.one_of(prices, st.sampled_from(["0", "0.005", "0.01", "0.015", "1", "0.000000000001"]))
quantities = st.one_of(
    st.integers(0, 10**11).map(Decimal),
    st.decimals(min_value=0, max_value=10**9, places=6),
    st.sampled_from(
        [Decimal(edge) for edge in ("0", "0.5", "100", "100.5", "101", "1000", "10000", "10001")]
    ),
)
bounds = st.one_of(st.integers(1, 10**9).map(Decimal), st.sampled_from([Decimal(100), Decimal(1000)]))


@st.composite
def tiers(draw: st.DrawFn) -> list[dict[str, Any]]:
    edges = sorted(draw(st.sets(bounds, max_size=5)))
    made: list[dict[str, Any]] = [
        {"up_to": plain(edge), "unit_price": draw(small_prices), "flat_amount": draw(small_prices)}
        for edge in edges
    ]
    return [*made, {"up_to": None, "unit_price": draw(small_prices), "flat_amount": draw(small_prices)}]


def charge(model: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A charge of a model, its members drawn."""
    fixed = {"code": st.just("c"), "model": st.just(model), "description": st.just("d")}
    return st.fixed_dictionaries(fixed | members)


flat = charge("flat", amount=prices)
per_unit = charge("per_unit", unit_price=small_prices, included=quantities.map(plain))
graduated = charge("graduated", tiers=tiers())
volume = charge("volume", tiers=tiers())
package = charge(
    "package",
    size=st.sampled_from(["0.5", "1", "3", "100", "1000", "0.000007"]),
    price=small_prices,
    included=quantities.map(plain),
)
percents = st.sampled_from(["0", "0.5", "2.9", "3.333333", "100", "999.999999"])
percentage = charge("percentage", percent=percents, fee=small_prices, included=st.just("0"))
charges = st.one_of(flat, per_unit, graduated, volume, package, percentage)
monotone = st.one_of(flat, per_unit, graduated, package)
currencies = st.sampled_from(["USD", "EUR", "JPY", "KWD"])


@st.composite
def plans(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A whole plan: charges of all models with bounds and proration, and the plan's own bounds."""
    plan = draw(st.lists(charges, min_size=1, max_size=4))
    for number, one in enumerate(plan):
        one["code"] = f"c{number}"
        low, high = sorted((Decimal(draw(prices)), Decimal(draw(prices))))
        chosen = draw(st.sampled_from(["", "minimum", "maximum", "both"]))
        if one["model"] != "flat":
            one.update({"minimum": plain(low)} if chosen in {"minimum", "both"} else {})
            one.update({"maximum": plain(high)} if chosen in {"maximum", "both"} else {})
        if draw(st.booleans()) and (one["model"] == "flat" or chosen):
            one["prorate"] = "second"
    low, high = sorted((Decimal(draw(prices)), Decimal(draw(prices))))
    for model, amount in (("minimum", low), ("maximum", high)):
        if draw(st.booleans()):
            bound = {"code": model, "model": model, "description": model, "amount": plain(amount)}
            plan.append(bound | ({"prorate": "second"} if draw(st.booleans()) else {}))
    return plan


@st.composite
def coupons(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to three coupons, as an invoice keeps them."""
    made = []
    for number in range(draw(st.integers(0, 3))):
        percent = draw(st.one_of(st.none(), st.sampled_from(["10", "33.3333", "50", "100"])))
        minor = None if percent is not None else draw(st.integers(1, 10**7))
        code = f"coupon{number}"
        made.append({"code": code, "name": code, "percent": percent, "amount_minor": minor})
    return made
