"""What a period holds, cut as finely as meters look at it, and the corrections entered for it.

Like the quantities of `farebox.usage.service`, from the same rollups under the same rule, but by key, route,
method and status; only billable requests count. Knows no prices.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.usage.meters import Measured, Meter, measure
from farebox.usage.model import UsageCorrection
from farebox.usage.quantities import Cell, Count, decide
from farebox_contract.billable import DEFAULT_RULE

_MEASURED: Final = text(
    """
    SELECT p.id, d.environment, d.outcome, d.status, d.key, d.route, d.method,
           sum(r.requests)::numeric AS requests, sum(r.units)::numeric AS units,
           sum(r.bytes_in)::numeric AS bytes_in, sum(r.bytes_out)::numeric AS bytes_out,
           sum(r.microseconds)::numeric AS microseconds, max(r.max_units) AS max_units
    FROM billing_periods p
    JOIN usage_dimensions d ON d.subscription_id = p.subscription_id
    JOIN usage_rollups r ON r.dimension_id = d.id
     AND (p.is_first OR r.bucket >= extract(epoch FROM p.starts_at))
     AND (p.is_last OR r.bucket < extract(epoch FROM p.ends_at))
    WHERE p.id = ANY(:periods)
    GROUP BY p.id, d.environment, d.outcome, d.status, d.key, d.route, d.method
    """
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
        requests, units = int(row.requests), int(row.units)
        cell = Cell(row.environment, row.outcome, row.status, Count(requests, units))
        if decide(rule, cell).billable:
            found[row.id].append(
                Measured(
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
            )
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
