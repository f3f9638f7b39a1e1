"""A plan's charges over the periods of a stretch of time, by the rater that makes invoices.

Periods are those of the organization's present subscription (its time zone and anchor), cut to the stretch.
What counts is what was metered as billable, whatever plan it was metered under. Coupons, taxes and credits
are left out: they are the customer's, not the plan's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from farebox.invoices import charges as language
from farebox.invoices.rating import RatedLine, Share, Usage, price
from farebox.money import Money
from farebox.subscriptions.periods import Period, period_after, period_containing
from farebox.usage.meters import REQUESTS, Measured, Meter, measure
from farebox.usage.meters import parse as parse_meters


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan charges, read from its file: charges, meters, the quota's units if it has one."""

    currency: str
    charges: Sequence[language.Charge]
    meters: Sequence[Meter]
    quota: Decimal | None


@dataclass(frozen=True, slots=True)
class PricedPeriod:
    """A period, whole or cut, with its quantities by meter and its lines."""

    period: Period
    quantities: Mapping[str, int]
    lines: Sequence[RatedLine]
    total: Money


def plan_of(document: Mapping[str, Any]) -> Plan:
    """Read a plan's file. Raises `ChargeError`, `MeterError` naming the field."""
    quota = document.get("quota") or {}
    return Plan(
        document.get("currency", "USD"),
        language.parse(document["charges"]),
        parse_meters(list(document.get("meters") or [])),
        Decimal(quota["units"]) if quota else None,
    )


def periods(
    start: datetime, end: datetime, *, time_zone: str, anchor_day: int
) -> Iterator[tuple[Period, Period]]:
    """Yield the periods of a stretch, each cut to the stretch and as it is in full."""
    full = period_containing(start, time_zone=time_zone, anchor_day=anchor_day)
    while full.start < end:
        yield Period(max(full.start, start), min(full.end, end)), full
        full = period_after(full, time_zone=time_zone, anchor_day=anchor_day)


def priced(plan: Plan, cut: Period, full: Period, measured: Sequence[Measured]) -> PricedPeriod:
    """Price one period. Raises `RatingError` where the charges need what rollups do not hold."""
    quantities = measure(plan.meters, measured)
    events = quantities[REQUESTS]
    usage = {code: Usage(Decimal(quantity), events) for code, quantity in quantities.items()}
    share = Share(
        round((cut.end - cut.start).total_seconds()),
        round((full.end - full.start).total_seconds()),
        plan.quota,
    )
    lines = price(tuple(plan.charges), usage, plan.currency, share=share)
    total = sum((line.amount for line in lines), Money(plan.currency, 0))
    return PricedPeriod(cut, quantities, lines, total)
