"""Whole periods: bounds, short periods, coupons; and that two raters, written apart, say the same of all of
it."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.invoices.charge_strategies import coupons, currencies, plans, quantities

from farebox.invoices.charges import ChargeError, parse, parse_billable
from farebox.invoices.rating import Discount, RatedLine, RatingError, Share, Usage, price
from farebox.money import Money
from farebox_cli.verify import pricing
from farebox_cli.verify.rating import Metered


def charge(model: str, code: str = "c", **members: Any) -> dict[str, Any]:
    return {"code": code, "model": model, "description": code, **members}


def lines(
    charges: list[dict[str, Any]],
    units: str = "0",
    *,
    share: Share | None = None,
    discounts: tuple[Discount, ...] = (),
    events: int | None = None,
    amounts: list[str] | None = None,
) -> list[tuple[str, str, int]]:
    """Price a period in dollars; (kind, code, cents) of each line."""
    given_amounts = None if amounts is None else tuple(Decimal(each) for each in amounts)
    total = sum(given_amounts, Decimal(0)) if given_amounts is not None else Decimal(units)
    usage = {"units": Usage(total, events if amounts is None else len(amounts), given_amounts)}
    return [_brief(each) for each in price(parse(charges), usage, "USD", share=share, discounts=discounts)]


def _brief(line: RatedLine) -> tuple[str, str, int]:
    return line.kind, line.code, line.amount.minor


def total(charges: list[dict[str, Any]], units: str = "0", **options: Any) -> int:
    return sum(minor for _, _, minor in lines(charges, units, **options))


@given(
    plan=plans(),
    units=quantities,
    currency=currencies,
    taken=coupons(),
    seconds=st.integers(0, 2_678_400),
    quota=st.one_of(st.none(), st.integers(1, 10**9)),
)
def test_the_two_pricers_agree(
    plan: list[dict[str, Any]],
    units: Decimal,
    currency: str,
    taken: list[dict[str, Any]],
    seconds: int,
    quota: int | None,
) -> None:
    """Random plans, short periods, quotas and coupons: every line, to the minor unit."""
    discounts = tuple(
        Discount(
            each["code"],
            each["name"],
            None if each["percent"] is None else Decimal(each["percent"]),
            None if each["amount_minor"] is None else Money(currency, each["amount_minor"]),
        )
        for each in taken
    )
    share = Share(seconds, 2_592_000, None if quota is None else Decimal(quota))
    ours = price(parse(plan), {"units": Usage(units, 5)}, currency, share=share, discounts=discounts)
    theirs = pricing.price(
        plan,
        {"units": Metered(Fraction(units), 5)},
        currency,
        time_share=Fraction(seconds, 2_592_000),
        quota=quota,
        coupons=taken,
    )
    assert [(line.kind, line.code, line.amount.minor) for line in ours] == [
        (line.kind, line.code, line.minor) for line in theirs
    ]
    assert sum(line.amount.minor for line in ours) >= 0


TIERS = [
    {"up_to": "10", "unit_price": "10", "flat_amount": "0"},
    {"up_to": None, "unit_price": "5"},
]


@pytest.mark.parametrize(
    ("units", "expected"), [("0", 0), ("0.5", 5_00), ("10", 100_00), ("10.000001", 50_00), ("16", 80_00)]
)
def test_volume_prices_all_units_by_the_tier_of_the_total(units: str, expected: int) -> None:
    """So one unit more can cost less: 10 units come to 100, 16 to 80."""
    assert total([charge("volume", tiers=TIERS)], units) == expected


@pytest.mark.parametrize(
    ("units", "packages"), [("0", 0), ("100", 0), ("100.000001", 1), ("1100", 1), ("1101", 2), ("2100", 2)]
)
def test_a_started_package_is_owed_whole(units: str, packages: int) -> None:
    """Of the period's total, behind the units that come off first."""
    plan = [charge("package", size="1000", price="3", included="100")]
    assert total(plan, units) == packages * 3_00


@pytest.mark.parametrize(
    ("amounts", "members", "expected"),
    [
        (["100", "200"], {"percent": "2.9", "fee": "0.30"}, 9_30),
        (["100", "200"], {"percent": "1", "free_events": 1}, 2_00),
        (["100", "200"], {"percent": "1", "included": "150", "fee": "1"}, 2_50),
        (["1", "1000"], {"percent": "1", "event_minimum": "0.50", "event_maximum": "5"}, 5_50),
        (["1", "1000"], {"percent": "1", "event_minimum": "0.50", "free_events": 1}, 10_00),
        ([], {"percent": "1", "event_minimum": "0.50"}, 0),
        (["0"], {"percent": "1", "event_minimum": "0.50"}, 50),
    ],
)
def test_a_percentage_of_what_was_metered(amounts: list[str], members: dict[str, Any], expected: int) -> None:
    """The least and the most of an event hold for percentage and fee together, never for a free event."""
    assert total([charge("percentage", **members)], amounts=amounts) == expected
    theirs = pricing.price(
        [charge("percentage", **members)],
        {"units": Metered(sum(map(Fraction, amounts), Fraction(0)), len(amounts), [*map(Fraction, amounts)])},
        "USD",
    )
    assert sum(line.minor for line in theirs) == expected


def test_a_percentage_that_needs_single_events_is_refused_for_billing() -> None:
    """Sums are what is kept; a plan that needs more is refused when it is written, not at the month's end."""
    plan = [charge("percentage", percent="1", free_events=3)]
    with pytest.raises(ChargeError, match="needs each event"):
        parse_billable(plan)
    with pytest.raises(RatingError, match="amount of each event"):
        total(plan, "5")


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("0", [("charge", "c", 0), ("minimum", "c", 50_00)]),
        ("50", [("charge", "c", 50_00)]),
        ("70", [("charge", "c", 70_00)]),
        ("100.01", [("charge", "c", 100_01), ("maximum", "c", -1)]),
    ],
)
def test_a_charge_is_filled_up_and_cut_off(units: str, expected: list[tuple[str, str, int]]) -> None:
    """By a line of its own, so that the rated amount stays to be seen."""
    assert lines([charge("per_unit", unit_price="1", minimum="50", maximum="100")], units) == expected


def test_a_discount_comes_before_the_maximum_and_never_lowers_the_minimum() -> None:
    """150 less 20 % is 120, cut to 100; 40 less 50 % is 20, filled up to 50."""
    use = charge("per_unit", "use", unit_price="1")
    cap = charge("maximum", "cap", amount="100")
    least = charge("minimum", "least", amount="50")
    fifth, half = Discount("fifth", "x", Decimal(20)), Discount("half", "x", Decimal(50))
    assert lines([use, cap], "150", discounts=(fifth,)) == [
        ("charge", "use", 150_00), ("discount", "fifth", -30_00), ("maximum", "cap", -20_00),
    ]  # fmt: skip
    assert lines([use, least], "40", discounts=(half,)) == [
        ("charge", "use", 40_00), ("discount", "half", -20_00), ("minimum", "least", 30_00),
    ]  # fmt: skip


def test_discounts_never_take_more_than_there_is() -> None:
    """Two coupons one after the other: the second has only the rest, and a third nothing."""
    use = charge("per_unit", unit_price="1")
    taken = tuple(Discount(f"d{n}", "x", amount=Money("USD", 60_00)) for n in range(3))
    assert lines([use], "100", discounts=taken) == [
        ("charge", "c", 100_00), ("discount", "d0", -60_00), ("discount", "d1", -40_00),
    ]  # fmt: skip


BASE = charge("flat", "base", amount="30", prorate="second")
USE = charge("per_unit", "use", unit_price="0.01", included="10000")
DAY = 86_400


@pytest.mark.parametrize(
    ("days", "units", "expected"),
    [
        (30, "0", 30_00),  # a full period
        (10, "0", 10_00),  # a third of the time
        (10, "3000", 10_00),  # less used than time has gone
        (10, "5000", 15_00),  # half of what is included was used: half is owed
        (0, "10000", 30_00),  # burn and leave: all of it
        (0, "15000", 30_00 + 50_00),  # and what lies beyond is priced as ever
        (0, "0", 0),
    ],
)
def test_a_short_period_is_owed_by_time_or_by_use(days: int, units: str, expected: int) -> None:
    """Whichever is greater, so nothing is won by using up what is included and leaving."""
    assert total([BASE, USE], units, share=Share(days * DAY, 30 * DAY)) == expected


def test_the_last_minute_is_owed_as_a_minute_unless_it_was_used() -> None:
    """A plan for a minute costs a minute; with a quota, what was used of it."""
    assert total([BASE], share=Share(60, 30 * DAY)) == 0
    assert total([BASE], share=Share(1440 * 60, 30 * DAY)) == 1_00
    assert total([BASE], "500", share=Share(60, 30 * DAY, Decimal(1000))) == 15_00
    assert total([BASE], "5000", share=Share(60, 30 * DAY, Decimal(1000))) == 30_00


def test_shares_round_once() -> None:
    """A third of 10.00 three times over: each is rounded once, from the exact share."""
    third = charge("flat", amount="10", prorate="second")
    assert total([third], share=Share(10 * DAY, 30 * DAY)) == 3_33
    assert total([third], share=Share(20 * DAY, 30 * DAY)) == 6_67


@pytest.mark.parametrize(
    ("charges", "field"),
    [
        ([charge("volume", tiers=[])], "charges[0].tiers"),
        ([charge("package", size="0", price="1")], "charges[0].size"),
        ([charge("package", size="10")], "charges[0].price"),
        ([charge("percentage", percent="1000")], "charges[0].percent"),
        ([charge("percentage", percent="1", free_events=1.5)], "charges[0].free_events"),
        (
            [charge("percentage", percent="1", event_minimum="2", event_maximum="1")],
            "charges[0].event_minimum",
        ),
        ([charge("per_unit", unit_price="1", minimum="2", maximum="1")], "charges[0].minimum"),
        ([charge("per_unit", unit_price="1", prorate="second")], "charges[0].prorate"),
        ([charge("flat", amount="1", prorate="day")], "charges[0].prorate"),
        ([charge("flat", amount="1", minimum="1")], "charges[0].minimum"),
        ([charge("per_unit", unit_price="1", meter="Über")], "charges[0].meter"),
        ([charge("minimum", "a", amount="1"), charge("minimum", "b", amount="1")], "charges[1].model"),
        ([charge("minimum", "a", amount="2"), charge("maximum", "b", amount="1")], "charges"),
    ],
)
def test_what_cannot_be_read_is_named(charges: list[dict[str, Any]], field: str) -> None:
    """With its place."""
    with pytest.raises(ChargeError) as caught:
        parse(charges)
    assert caught.value.field == field


def test_a_meter_without_a_quantity_is_named() -> None:
    """Never taken for zero."""
    with pytest.raises(RatingError, match="needs the quantity of the meter 'bytes'"):
        total([charge("per_unit", unit_price="1", meter="bytes")])
