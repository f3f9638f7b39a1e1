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
def graduated(draw: st.DrawFn) -> dict[str, Any]:
    edges = sorted(draw(st.sets(bounds, max_size=5)))
    tiers: list[dict[str, Any]] = [
        {"up_to": plain(edge), "unit_price": draw(small_prices), "flat_amount": draw(small_prices)}
        for edge in edges
    ]
    tiers.append({"up_to": None, "unit_price": draw(small_prices)})
    return {"code": "c", "model": "graduated", "description": "tiers", "tiers": tiers}


flat = st.builds(
    lambda amount: {"code": "c", "model": "flat", "description": "base", "amount": amount}, prices
)
per_unit = st.builds(
    lambda price, included: {
        "code": "c", "model": "per_unit", "description": "requests", "unit_price": price,
        "included": plain(included),
    },
    small_prices,
    quantities,
)  # fmt: skip
charges = st.one_of(flat, per_unit, graduated())
currencies = st.sampled_from(["USD", "EUR", "JPY", "KWD"])
