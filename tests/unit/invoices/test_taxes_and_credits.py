"""Taxes to the cent, VAT numbers by their form, credits in their order: properties and edges."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.credits.burning import Credit, burn, burn_order
from farebox.money import Money
from farebox.taxes.deciding import Place, Rate, in_force, taxes_of
from farebox.taxes.levying import MixedTaxesError, Tax, included, levy
from farebox.taxes.vat_numbers import EU, is_well_formed
from farebox_cli.verify import pricing

T0 = datetime(2026, 1, 1, tzinfo=UTC)
rates = st.decimals(min_value=0, max_value=100, places=6)
amounts = st.integers(-(10**12), 10**12)


def taxes(percents: list[Decimal], *, inclusive: bool) -> list[Tax]:
    return [Tax("levied", f"t{n}", "DE", "", rate, inclusive) for n, rate in enumerate(percents)]


@given(percents=st.lists(rates, min_size=1, max_size=4), gross=amounts, inclusive=st.booleans())
def test_the_two_ways_of_levying_agree(percents: list[Decimal], gross: int, *, inclusive: bool) -> None:
    """Ours and that of `farebox verify`, whatever the rates and the sign."""
    levied = levy(taxes(percents, inclusive=inclusive), Money("EUR", gross))
    named = [pricing.Tax("levied", "t", Fraction(rate), inclusive) for rate in percents]
    assert [each.amount.minor for each in levied] == pricing.levy(named, gross)


@given(percents=st.lists(rates, min_size=1, max_size=4), gross=amounts)
def test_included_tax_leaves_the_price_as_it_is(percents: list[Decimal], gross: int) -> None:
    """Net and tax are the price to the cent; and what is given back is what was taken."""
    levied = levy(taxes(percents, inclusive=True), Money("EUR", gross))
    tax = included(levied, "EUR")
    assert all(each.base.minor + tax.minor == gross for each in levied)
    back = levy(taxes(percents, inclusive=True), Money("EUR", -gross))
    assert [each.amount.minor for each in back] == [-each.amount.minor for each in levied]


def test_inclusive_and_exclusive_do_not_mix() -> None:
    """Nobody could say what the price means."""
    mixed = [*taxes([Decimal(5)], inclusive=True), *taxes([Decimal(5)], inclusive=False)]
    with pytest.raises(MixedTaxesError):
        levy(mixed, Money("EUR", 100))


@pytest.mark.parametrize(
    ("number", "country", "expected"),
    [
        ("DE123456789", "DE", True),
        ("de 123 456 789", "DE", True),
        ("DE12345678", "DE", False),
        ("123456789", "DE", False),
        ("EL123456789", "GR", True),
        ("GR123456789", "GR", False),
        ("FR40303265045", "FR", True),
        ("FR40303265045", "DE", False),
        ("NL123456789B01", "NL", True),
        ("ATU12345678", "AT", True),
        ("GB123456789", "GB", False),
        ("DE\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669", "DE", False),
        ("", "DE", False),
    ],
)
def test_vat_numbers(number: str, country: str, *, expected: bool) -> None:
    """By the form of each member state, the prefix included."""
    assert is_well_formed(number, country=country) is expected


def test_the_union_has_27_members() -> None:
    """Greece by its ISO code."""
    assert len(EU) == 27
    assert "GR" in EU
    assert "EL" not in EU


VAT = Rate("DE", "", "VAT", Decimal(19), False, T0)


def test_a_rate_holds_from_its_date_until_the_next() -> None:
    """To the instant; a rate of none ends it."""
    later = Rate("DE", "", "VAT", Decimal(16), False, T0 + timedelta(days=1))
    ended = Rate("DE", "", "VAT", None, False, T0 + timedelta(days=2))
    every = [later, ended, VAT]
    moments = [timedelta(seconds=-1), timedelta(0), timedelta(days=1), timedelta(days=2)]
    found = [[rate.rate for rate in in_force(every, T0 + each)] for each in moments]
    assert found == [[], [Decimal(19)], [Decimal(16)], []]


@pytest.mark.parametrize(
    ("seller", "buyer", "kinds"),
    [
        (Place("FR"), Place("DE", tax_id="DE123456789"), ["reverse_charge"]),
        (Place("DE"), Place("DE", tax_id="DE123456789"), ["levied"]),
        (Place("US"), Place("DE", tax_id="DE123456789"), ["levied"]),
        (Place(), Place("DE", tax_id="DE123456789"), ["levied"]),
        (Place("FR"), Place("DE", tax_id="DE1"), ["levied"]),
        (Place("FR"), Place("DE", tax_exempt=True), ["exempt"]),
        (Place("FR"), Place(None, tax_exempt=True), []),
        (Place("FR"), Place("US"), []),
    ],
)
def test_which_taxes_a_sale_falls_under(seller: Place, buyer: Place, kinds: list[str]) -> None:
    """Exempt, reverse charge, levied, or none."""
    assert [tax.kind for tax in taxes_of([VAT], seller=seller, buyer=buyer, at=T0)] == kinds


def credit(number: int, kind: str, minor: int, days: int | None = None, given_on: int = 0) -> Credit:
    expires = None if days is None else T0 + timedelta(days=days)
    return Credit(UUID(int=number), kind, minor, expires, T0 + timedelta(days=given_on))


def test_the_burn_order() -> None:
    """Earliest expiry, promotional before prepaid, those that stay, the balance last."""
    ordered = [
        credit(1, "prepaid", 1, days=5),
        credit(2, "promotional", 1, days=9),
        credit(3, "prepaid", 1, days=9),
        credit(4, "promotional", 1),
        credit(5, "prepaid", 1, given_on=1),
        credit(6, "prepaid", 1, given_on=2),
        credit(7, "balance", 1),
    ]
    assert burn_order(reversed(ordered)) == ordered


credits_drawn = st.lists(
    st.tuples(
        st.sampled_from(["prepaid", "promotional"]),
        st.integers(0, 500),
        st.one_of(st.none(), st.integers(1, 60)),
    ),
    max_size=6,
)


@given(drawn=credits_drawn, owed=st.integers(-10, 1500), end=st.integers(0, 60))
def test_credits_pay_no_more_than_is_owed_or_left(
    drawn: list[tuple[str, int, int | None]], owed: int, end: int
) -> None:
    """All that can pay does; what has ended before the period does not."""
    held = [credit(n, kind, minor, days) for n, (kind, minor, days) in enumerate(drawn)]
    period_end = T0 + timedelta(days=end)
    parts = burn(held, owed, period_end=period_end)
    usable = sum(c.remaining_minor for c in held if c.expires_at is None or c.expires_at >= period_end)
    assert sum(minor for _, minor in parts) == max(0, min(owed, usable))
    left = {each.grant: each.remaining_minor for each in held}
    assert all(0 < minor <= left[grant] for grant, minor in parts)
