"""Cases worked by hand, with the working inside each file, through both raters and both calendars."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from farebox import ids
from farebox.billing_details.parties import Seller
from farebox.clock import OrganizationTime
from farebox.invoices.charges import parse
from farebox.invoices.drafting import Metered, Party, Term, draft
from farebox.invoices.rating import plain, rate
from farebox.subscriptions.periods import Period, period_containing
from farebox.usage.quantities import Count, Quantities
from farebox_cli.verify import calendar, rating

HERE = Path(__file__).parent
CASES = [(path.stem, json.loads(path.read_text())) for path in sorted(HERE.glob("*.json"))]


def each(kind: str) -> Iterator[Any]:
    """Yield every entry of one kind, and refuse a case without its working."""
    for name, case in CASES:
        assert case["title"]
        assert case["working"]
        for number, entry in enumerate(case.get(kind, [])):
            yield pytest.param(entry, id=f"{name}-{number}")


@pytest.mark.parametrize("case", [case for case in each("invoices") if "." not in case.values[0]["units"]])
def test_the_invoice_is_what_was_worked_by_hand(case: dict[str, Any]) -> None:
    """Lines and total of the draft that the billing run would write. Metered units are whole."""
    party = Party(ids.uuid7(), "acmeacme01", "Acme", OrganizationTime())
    late = [
        _metered(each["charges"], case["currency"], int(each["units"]), billed=int(each["billed"]))
        for each in case.get("late", [])
    ]
    made = draft(
        party,
        _metered(case["charges"], case["currency"], int(case["units"])),
        late,
        seller=Seller(code="Farebox", legal_name="Farebox"),
        retired=[],
        statement_digest=b"\0" * 32,
    )
    lines = [
        [
            "charge" if line.of_period is None else "correction",
            line.code,
            plain(line.quantity),
            line.amount.minor,
        ]
        for line in made.lines
    ]
    assert lines == case["lines"]
    assert made.total.minor == case["total_minor"]


@pytest.mark.parametrize("case", [*each("invoices")])
def test_the_rater_agrees(case: dict[str, Any]) -> None:
    """Each charge of the case, fractions of a unit included."""
    rated = rate(parse(case["charges"]), Decimal(case["units"]), case["currency"])
    charged = [line for line in case["lines"] if line[0] == "charge"]
    assert [[line.code, plain(line.quantity), line.amount.minor] for line in rated] == [
        line[1:] for line in charged
    ]


@pytest.mark.parametrize("case", [*each("invoices")])
def test_the_independent_rater_agrees(case: dict[str, Any]) -> None:
    """The same lines from the rater of `farebox verify`, which shares no code with the other."""
    lines: list[list[Any]] = [
        ["charge", rated.code, _text(rated.quantity), rated.minor]
        for rated in rating.rate(case["charges"], Fraction(case["units"]), case["currency"])
    ]
    for late in case.get("late", []):
        before = rating.rate(late["charges"], Fraction(late["billed"]), case["currency"])
        now = rating.rate(late["charges"], Fraction(late["units"]), case["currency"])
        by_usage = [
            ["correction", new.code, _text(new.quantity - old.quantity), new.minor - old.minor]
            for old, new in zip(before, now, strict=True)
            if new.by_usage
        ]
        zero = ["correction", "usage", _text(Fraction(late["units"]) - Fraction(late["billed"])), 0]
        lines += by_usage or [zero]
    assert lines == case["lines"]
    assert sum(line[3] for line in lines) == case["total_minor"]


@pytest.mark.parametrize("case", [*each("periods")])
def test_the_period_is_what_was_worked_by_hand(case: dict[str, Any]) -> None:
    """Edges and length, by the one function and by the calendar of `farebox verify`."""
    start, end = (datetime.fromisoformat(case[edge]) for edge in ("start", "end"))
    rule = {"time_zone": case["time_zone"], "anchor_day": case["anchor_day"]}
    assert end - start == timedelta(hours=case["hours"])
    assert period_containing(start, **rule) == Period(start, end)
    assert period_containing(end - timedelta(microseconds=1), **rule) == Period(start, end)
    begins, ends = (calendar.microseconds(case[edge]) for edge in ("start", "end"))
    assert calendar.is_edge(begins, **rule)
    assert calendar.next_edge(begins, **rule) == ends


def _metered(charges: list[Any], currency: str, units: int, *, billed: int = 0) -> Metered:
    term = Term(
        period_id=ids.uuid7(),
        subscription_id=ids.uuid7(),
        subscription="subsubsub1",
        plan="golden-1",
        currency=currency,
        charges=charges,
        time_zone="UTC",
        anchor_day=1,
        starts_at=datetime(2026, 11, 1, tzinfo=UTC),
        ends_at=datetime(2026, 12, 1, tzinfo=UTC),
        is_first=False,
        is_last=False,
        billed_units=billed,
        invoiced=False,
    )
    return Metered(term, Quantities("served_v1", Count(units, units), {}))


def _text(number: Fraction) -> str:
    return plain(Decimal(number.numerator) / Decimal(number.denominator))
