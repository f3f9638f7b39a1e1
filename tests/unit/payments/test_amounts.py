"""Amounts as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.money import MINOR_DIGITS, Money
from farebox.payments.amounts import LARGEST_MINOR, AmountError, parse


@given(st.integers(1, LARGEST_MINOR), st.sampled_from(sorted(MINOR_DIGITS)))
def test_every_amount_is_read_back_as_it_is_shown(minor: int, currency: str) -> None:
    """What we show with all its decimals is read as the same amount, in currencies of 0, 2 and 3 decimals."""
    amount = Money(currency, minor)
    assert parse(str(amount).removeprefix(f"{currency} "), currency) == amount


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("42.999", "USD"), ("-1", "USD"), ("1e3", "USD"), ("٤٢", "USD"), ("", "USD"), (str(10**18), "USD"),
        ("42.9", "USD"), ("42.00", "JPY"), ("42.99", "BHD"), ("0", "USD"), ("0.00", "USD"), ("007", "USD"),
        (" 1", "USD"), ("1 ", "USD"), ("1\n", "USD"), ("1,000", "USD"), ("+1", "USD"), (".5", "USD"),
        ("5.", "USD"), ("\uff14\uff12", "USD"), ("1_000", "USD"), ("∞", "USD"), ("10000000000.00", "USD"),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused_with_a_remedy(text: str, currency: str) -> None:
    """Nothing is rounded, trimmed or guessed; the message says what is wanted."""
    with pytest.raises(AmountError, match="must"):
        parse(text, currency)


@given(st.text(max_size=12))
def test_no_text_is_read_as_another_amount(text: str) -> None:
    """Whatever is accepted is written in the digits 0-9 with at most one point."""
    try:
        amount = parse(text, "USD")
    except AmountError:
        return
    assert set(text) <= set("0123456789.")
    assert amount.decimal * 100 == amount.minor
