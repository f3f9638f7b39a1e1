"""How many units a spending cap lets through: the price turned round. Pure.

A cap is on the charges of a period before tax, coupons and proration, by billable units alone: charges by
other meters cannot be stopped at a number of units. Where a price falls as usage grows (volume tiers), the
first unit beyond the cap is where it stops.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

from farebox.invoices import charges as charge_language
from farebox.invoices.charges import UNITS, Charge, Metered
from farebox.invoices.rating import Usage, rate
from farebox.money import Money

MOST_UNITS: Final = 10**12
"""What a quota can hold at the gateways."""


def cost(
    charges: Iterable[Charge], units: int, currency: str, *, meters: Mapping[str, int] | None = None
) -> Money:
    """Return what a full period with these units comes to; of other meters, with what `meters` says, or
    nothing.
    """
    priced = tuple(charges)
    nothing = {charge.meter: 0 for charge in priced if isinstance(charge, Metered)}
    quantities = nothing | dict(meters or {}) | {UNITS: units}
    usage = {meter: Usage(Decimal(quantity)) for meter, quantity in quantities.items()}
    total = Money(currency, 0)
    for line in rate(priced, usage, currency):
        total += line.amount
    return total


def units_within(document: Sequence[Mapping[str, Any]], cap: Money) -> int | None:
    """Return the greatest number of units so that neither they nor any fewer cost more than the cap.

    None: no number that a quota can hold costs more. -1: the plan costs more than the cap without any usage.
    """
    charges = charge_language.parse(list(document), most=len(document))
    if cost(charges, 0, cap.currency).minor > cap.minor:
        return -1
    low = 0
    for high in _edges(document):
        # Between two edges of tiers the price never falls.
        for first, last in ((low, high), (high, high + 1)):
            if last <= MOST_UNITS and cost(charges, last, cap.currency).minor > cap.minor:
                return _last_within(charges, first, last, cap)
        low = high + 1
    if cost(charges, MOST_UNITS, cap.currency).minor <= cap.minor:
        return None
    return _last_within(charges, low, MOST_UNITS, cap)


def _last_within(charges: Sequence[Charge], low: int, high: int, cap: Money) -> int:
    """Return the last number from `low` (within the cap) to `high` (beyond it) that is within."""
    while high - low > 1:
        middle = (low + high) // 2
        if cost(charges, middle, cap.currency).minor > cap.minor:
            high = middle
        else:
            low = middle
    return low


def _edges(document: Iterable[Mapping[str, Any]]) -> list[int]:
    found = {
        int(Decimal(tier["up_to"]).to_integral_value(ROUND_FLOOR))
        for charge in document
        for tier in charge.get("tiers", ())
        if tier.get("up_to") is not None
    }
    return sorted(edge for edge in found if 0 < edge < MOST_UNITS)
