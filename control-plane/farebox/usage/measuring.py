"""What a period holds, cut as finely as meters look at it, and the corrections entered for it.

Like the quantities of `farebox.usage.service`, from the same rollups under the same rule, but by key, route,
method and status; only billable requests count. Knows no prices.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.usage.meters import Measured, Meter, measure
from farebox.usage.model import UsageCorrection
from farebox.usage.quantities import Cell, Count, decide
from farebox_contract.billable import DEFAULT_RULE

_CELLS: Final = """
    d.environment, d.outcome, d.status, d.key, d.route, d.method,
    sum(r.requests)::numeric AS requests, sum(r.units)::numeric AS units,
    sum(r.bytes_in)::numeric AS bytes_in, sum(r.bytes_out)::numeric AS bytes_out,
    sum(r.microseconds)::numeric AS microseconds, max(r.max_units) AS max_units
"""
_BY: Final = "d.environment, d.outcome, d.status, d.key, d.route, d.method"
_MEASURED: Final = text(
    f"""
    SELECT p.id, {_CELLS}
    FROM billing_periods p
    JOIN usage_dimensions d ON d.subscription_id = p.subscription_id
    JOIN usage_rollups r ON r.dimension_id = d.id
     AND (p.is_first OR r.bucket >= extract(epoch FROM p.starts_at))
     AND (p.is_last OR r.bucket < extract(epoch FROM p.ends_at))
    WHERE p.id = ANY(:periods)
    GROUP BY p.id, {_BY}
    """  # noqa: S608 - constants of this module
)
_BETWEEN: Final = text(
    f"""
    SELECT {_CELLS}
    FROM usage_rollups r JOIN usage_dimensions d ON d.id = r.dimension_id
    WHERE r.organization_id = :organization AND r.bucket >= :start AND r.bucket < :end
    GROUP BY {_BY}
    """  # noqa: S608 - constants of this module
)


@dataclass(frozen=True, slots=True)
class Correction:
    """An entry: `quantity` is added to `meter`. `at` is the organization's time, `created_at` the wall's."""

    id: UUID
    period_id: UUID
    meter: str
    quantity: int
    at: datetime
    reason: str
    actor: str
    reverses: UUID | None
    created_at: datetime


async def measured_for_periods(
    session: AsyncSession, period_ids: Sequence[UUID], *, rule: str = DEFAULT_RULE
) -> dict[UUID, tuple[Measured, ...]]:
    """Return what was measured in many periods with one statement; a period without usage has nothing."""
    found: defaultdict[UUID, list[Measured]] = defaultdict(list)
    for row in await session.execute(_MEASURED, {"periods": list(period_ids)}):
        measured = _billable(row, rule)
        if measured is not None:
            found[row.id].append(measured)
    return {period: tuple(found[period]) for period in period_ids}


async def corrections_for_periods(
    session: AsyncSession, period_ids: Sequence[UUID]
) -> dict[UUID, tuple[Correction, ...]]:
    """Return the corrections entered for many periods, oldest first."""
    found: defaultdict[UUID, list[Correction]] = defaultdict(list)
    rows = await session.scalars(
        select(UsageCorrection)
        .where(UsageCorrection.period_id.in_(list(period_ids)))
        .order_by(UsageCorrection.created_at, UsageCorrection.id)
    )
    for row in rows:
        found[row.period_id].append(correction_of(row))
    return {period: tuple(found[period]) for period in period_ids}


def correction_of(row: UsageCorrection) -> Correction:
    """Read a row."""
    return Correction(
        row.id,
        row.period_id,
        row.meter,
        row.quantity,
        row.at,
        row.reason,
        row.actor,
        row.reverses,
        row.created_at,
    )


def corrected(
    meters: Sequence[Meter], measured: Sequence[Measured], corrections: Sequence[Correction]
) -> dict[str, int]:
    """Return each meter's quantity with its corrections, those of undefined meters left out."""
    quantities = measure(meters, measured)
    for entry in corrections:
        if entry.meter in quantities:
            quantities[entry.meter] += entry.quantity
    return quantities


async def measured_between(
    session: AsyncSession, organization_id: UUID, start: datetime, end: datetime, *, rule: str = DEFAULT_RULE
) -> tuple[Measured, ...]:
    """Return what an organization used from `start` to `end` (excluded; its own time), whatever it was on.

    Instants are taken at the quarter hour: a rollup counts if it begins in the stretch.
    """
    values = {
        "organization": organization_id,
        "start": start.timestamp().__ceil__(),
        "end": end.timestamp().__ceil__(),
    }
    return tuple(
        measured
        for row in await session.execute(_BETWEEN, values)
        if (measured := _billable(row, rule)) is not None
    )


def _billable(row: Any, rule: str) -> Measured | None:
    """Read a row; None if the rule does not bill it."""
    requests, units = int(row.requests), int(row.units)
    cell = Cell(row.environment, row.outcome, row.status, Count(requests, units))
    if not decide(rule, cell).billable:
        return None
    return Measured(
        row.key,
        row.route,
        row.method,
        row.status,
        requests,
        units,
        int(row.bytes_in),
        int(row.bytes_out),
        int(row.microseconds),
        int(row.max_units),
    )
