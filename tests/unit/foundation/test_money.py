"""Money is whole minor units; one rounding, half-even."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.money import CurrencyError, Money, from_decimal


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [
        ("USD", "60.00", 6000),
        ("USD", "0.005", 0),
        ("USD", "0.015", 2),
        ("USD", "0.025", 2),
        ("USD", "-0.015", -2),
        ("JPY", "0.5", 0),
        ("JPY", "1.5", 2),
        ("JPY", "2.5", 2),
        ("KWD", "1.0005", 1000),
        ("KWD", "1.0015", 1002),
        ("USD", "0.0050000000001", 1),
        ("USD", "92233720368547758.07", 9223372036854775807),
    ],
)
def test_an_amount_is_rounded_once_half_even(currency: str, amount: str, minor: int) -> None:
    """Worked by hand: ties go to the even minor unit, whatever the currency's digits."""
    assert from_decimal(currency, Decimal(amount)) == Money(currency, minor)


def test_unlike_currencies_do_not_add() -> None:
    """A wrong sum is impossible, not unlikely."""
    with pytest.raises(CurrencyError):
        Money("USD", 1) + Money("EUR", 1)


@pytest.mark.parametrize("minor", [1.0, True, Decimal(1), "1"])
def test_only_whole_numbers_are_minor_units(minor: object) -> None:
    """Neither floats nor booleans."""
    with pytest.raises(TypeError):
        Money("USD", minor)  # type: ignore[arg-type]


def test_unknown_currencies_are_refused() -> None:
    """In every way of making money."""
    with pytest.raises(CurrencyError):
        Money("usd", 1)
    with pytest.raises(CurrencyError):
        from_decimal("XXX", Decimal(1))


@given(st.sampled_from(["USD", "JPY", "KWD"]), st.integers(-(2**62), 2**62))
def test_the_decimal_is_exact(currency: str, minor: int) -> None:
    """To decimal and back loses nothing, and the printed form reads back."""
    money = Money(currency, minor)
    assert from_decimal(currency, money.decimal) == money
    assert Decimal(str(money).removeprefix(f"{currency} ")) == money.decimal
