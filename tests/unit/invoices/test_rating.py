"""Rating: exact, monotone, rounded once."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.invoices.charge_strategies import charges, currencies, monotone, per_unit, quantities

from farebox.invoices.charges import parse_one
from farebox.invoices.rating import RatingError, Usage, plain, rate_one
from farebox_cli.verify import rating as independent


def minor(charge: dict[str, Any], units: str, currency: str = "USD") -> int:
    return rate_one(parse_one(charge), Decimal(units), currency).amount.minor


def per(price: str, included: str = "0") -> dict[str, Any]:
    return {"code": "c", "model": "per_unit", "description": "d", "unit_price": price, "included": included}


TIERS: dict[str, Any] = {
    "code": "c", "model": "graduated", "description": "d",
    "tiers": [
        {"up_to": "100", "unit_price": "1", "flat_amount": "7"},
        {"up_to": "200", "unit_price": "0.5", "flat_amount": "20"},
        {"up_to": None, "unit_price": "0.1"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("0", 0),  # no unit reaches the first tier: its flat amount is not owed
        ("0.000001", 7_00),  # any part of a unit does
        ("1", 8_00),
        ("100", 107_00),  # the bound belongs to the tier
        ("100.5", 127_25),  # the next tier begins right behind it
        ("101", 127_50),
        ("200", 177_00),
        ("201", 177_10),
        ("1200", 277_00),
    ],
)
def test_tier_edges(units: str, expected: int) -> None:
    """Upper bounds are included, tiers have no hole between them, flat amounts need a part of a unit."""
    assert minor(TIERS, units) == expected


@pytest.mark.parametrize(
    ("units", "expected"), [("0", 0), ("9999", 0), ("10000", 0), ("10001", 1), ("15000", 50_00)]
)
def test_included_units_come_off_first(units: str, expected: int) -> None:
    """10,000 are included; the next one costs a cent."""
    assert minor(per("0.01", "10000"), units) == expected


@pytest.mark.parametrize(
    ("price", "units", "currency", "expected"),
    [
        ("0.005", "1", "USD", 0),
        ("0.005", "3", "USD", 2),
        ("0.005", "5", "USD", 2),
        ("0.005000000001", "1", "USD", 1),
        ("0.5", "1", "JPY", 0),
        ("0.5", "3", "JPY", 2),
        ("0.0005", "1", "KWD", 0),
        ("0.0015", "1", "KWD", 2),
        ("0.0025", "1", "KWD", 2),
    ],
)
def test_one_rounding_half_to_even(price: str, units: str, currency: str, expected: int) -> None:
    """A half goes to the even minor unit, in currencies of 0, 2 and 3 decimals."""
    assert minor(per(price), units, currency) == expected


def test_a_tie_hidden_behind_thirty_digits_is_not_rounded_twice() -> None:
    """With the usual 28 digits of precision this amount would first become …0.5 and then round down."""
    line = rate_one(parse_one(per("0.000000000001")), Decimal("500000000000000000.000001"), "JPY")
    assert line.exact == Decimal("500000.000000000000000001")
    exact = Decimal("24414062.000000000001") * Decimal("20480000.000001")
    assert minor(per("24414062.000000000001"), "20480000.000001", "JPY") == round(Fraction(exact))


@given(charge=charges, units=quantities, currency=currencies)
def test_the_two_raters_agree(charge: dict[str, Any], units: Decimal, currency: str) -> None:
    """Decimals here, fractions there, written apart: equal to the minor unit, exact amounts included."""
    usage = {"units": Usage(units, 7)}
    ours = rate_one(parse_one(charge), usage, currency)
    theirs = independent.rate_one(charge, {"units": independent.Metered(Fraction(units), 7)}, currency)
    assert (ours.amount.minor, Fraction(ours.exact), Fraction(ours.quantity)) == (
        theirs.minor, theirs.exact, theirs.quantity,
    )  # fmt: skip


@given(charge=monotone, units=quantities, more=quantities, currency=currencies)
def test_more_units_never_cost_less(
    charge: dict[str, Any], units: Decimal, more: Decimal, currency: str
) -> None:
    """But for volume tiers, where it can, late lines cannot lower a bill."""
    parsed = parse_one(charge)
    assert rate_one(parsed, units, currency).exact <= rate_one(parsed, units + more, currency).exact


@given(charge=charges, units=quantities)
def test_the_working_adds_up(charge: dict[str, Any], units: Decimal) -> None:
    """The steps that an invoice shows sum to the exact amount, and their units to the priced quantity."""
    line = rate_one(parse_one(charge), {"units": Usage(units, 3)}, "USD")
    assert sum(Fraction(step.amount) for step in line.steps) == Fraction(line.exact)
    assert sum(Fraction(step.units) for step in line.steps) == Fraction(line.quantity)


@given(charge=per_unit, parts=st.lists(quantities, min_size=1, max_size=5), currency=currencies)
def test_billing_in_parts_comes_to_the_same(
    charge: dict[str, Any], parts: list[Decimal], currency: str
) -> None:
    """What a period was billed first plus each later correction (rated total less total billed before)
    is what the whole comes to, to the minor unit, however the lines were late.
    """
    parsed = parse_one(charge)
    billed, total = 0, Decimal(0)
    for part in parts:
        before = rate_one(parsed, total, currency).amount.minor
        total += part
        billed += rate_one(parsed, total, currency).amount.minor - before
    assert billed == rate_one(parsed, total, currency).amount.minor


@pytest.mark.parametrize("units", ["-1", "NaN", "Infinity", "1e18", "0.0000001"])
def test_a_quantity_that_no_invoice_can_hold_is_refused(units: str) -> None:
    """Neither negative nor endless, and no finer than a millionth of a unit."""
    with pytest.raises(RatingError):
        rate_one(parse_one(per("1")), Decimal(units), "USD")


def test_an_amount_that_no_invoice_can_hold_is_refused() -> None:
    """Beyond 2^63 minor units the line is refused by name, not cut."""
    with pytest.raises(RatingError, match="more than an invoice can hold"):
        rate_one(parse_one(per("999999999999")), Decimal(10**17), "USD")


def test_the_working_is_plain_json() -> None:
    """Decimal strings without exponents, tier by tier."""
    explained = rate_one(parse_one(TIERS), Decimal(150), "USD").explain()
    assert explained["exact"] == "152"
    assert explained["steps"][1] == {
        "above": "100", "up_to": "200", "units": "50", "unit_price": "0.5", "flat_amount": "20",
        "amount": "45",
    }  # fmt: skip


@given(number=st.decimals(min_value=0, max_value=10**12, places=12))
def test_plain_numbers_keep_their_value(number: Decimal) -> None:
    """No exponent, no trailing zero, the same number."""
    text = plain(number)
    assert Decimal(text) == number
    assert "E" not in text
