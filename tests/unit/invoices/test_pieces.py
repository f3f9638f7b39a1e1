"""Pieces of add-ons: owed by the second, or whole for the most there were."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from farebox.invoices.charges import parse
from farebox.invoices.pieces import Pieces, charges_of
from farebox.invoices.rating import price
from farebox_cli.verify import pricing
from farebox_cli.verify.rating import Metered

DAY, MONTH = 86_400, 30 * 86_400
SEAT: dict[str, Any] = {"code": "seat", "model": "flat", "description": "Seat", "amount": "10"}
PRORATED = SEAT | {"prorate": "second"}


@pytest.mark.parametrize(
    ("charge", "held", "expected"),
    [
        (PRORATED, [(3, MONTH)], 30_00),
        (PRORATED, [(3, 10 * DAY), (6, 20 * DAY)], 10_00 + 40_00),
        (PRORATED, [(1, 10 * DAY)], 3_33),
        (PRORATED, [(1, 0)], 0),
        (SEAT, [(3, 10 * DAY), (6, 20 * DAY)], 60_00),
        (SEAT, [(1, 1)], 10_00),
    ],
)
def test_pieces_are_owed(charge: dict[str, Any], held: list[tuple[int, int]], expected: int) -> None:
    """The same from both raters, which read the same charges."""
    pieces = [Pieces("seats-1", [charge], quantity, seconds) for quantity, seconds in held]
    added = charges_of(pieces, full_seconds=MONTH)
    if not added:
        assert expected == 0
        return
    assert sum(line.amount.minor for line in price(parse(added), Decimal(0), "USD")) == expected
    theirs = pricing.price(added, {"units": Metered(Fraction(0))}, "USD", time_share=Fraction(1, 2))
    assert sum(line.minor for line in theirs) == expected


def test_codes_are_told_apart() -> None:
    """Two add-ons with a charge of one code stand beside each other and beside the plan's."""
    added = charges_of(
        [Pieces("a-1", [SEAT], 1, DAY), Pieces("b-1", [SEAT, PRORATED], 1, DAY)], full_seconds=MONTH
    )
    assert [each["code"] for each in added] == ["a-1-1", "b-1-1", "b-1-2"]
    parse([SEAT, *added])


def test_the_codes_of_pieces_are_nobody_elses() -> None:
    """Neither two add-ons that begin alike nor the plan's own charges can stop an organization's invoices."""
    charge = {"code": "x", "model": "flat", "description": "x", "amount": "1"}
    long = "a" * 39
    pieces = [Pieces(f"{long}b-1", [charge], 1, MONTH), Pieces(f"{long}b-2", [charge], 1, MONTH),
              Pieces("more-1", [charge], 1, MONTH)]  # fmt: skip
    codes = [each["code"] for each in charges_of(pieces, full_seconds=MONTH, taken={"more-1-1"})]
    assert len({*codes, "more-1-1"}) == 4
    assert all(len(code) <= 40 for code in codes)
    assert codes == [each["code"] for each in charges_of(pieces, full_seconds=MONTH, taken={"more-1-1"})]
