"""What others ask of usage: how much, of whom, in which period, and how sure we are of it.

Answers come from the rollups. Nothing here knows prices; what is billable is decided by the named rule of
`farebox_contract.billable`. Works in the transaction of a tenant (row security then shows that tenant alone)
and in the worker's; `completeness` needs the worker's role, because streams belong to no tenant.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.subscriptions.model import BillingPeriod
from farebox.usage.nodes import NodeReport, behind, nodes, retire
from farebox.usage.quantities import (
    NOTHING,
    Cell,
    Count,
    Quantities,
    Split,
    Summary,
    UnknownRuleError,
    by_outcome,
    split,
    split_by_reason,
)
from farebox.usage.statement import completeness
from farebox_contract.billable import DEFAULT_RULE

__all__ = [
    "Count",
    "NodeReport",
    "Quantities",
    "Split",
    "Summary",
    "UnknownRuleError",
    "behind",
    "completeness",
    "nodes",
    "period_quantities",
    "quantities_for_periods",
    "retire",
    "summary",
    "summary_of",
    "summary_statement",
    "summary_values",
]

_PERIODS: Final = text(
    """
    SELECT p.id, d.environment, d.outcome, d.status,
           sum(r.requests)::numeric AS requests, sum(r.units)::numeric AS units
    FROM billing_periods p
    JOIN usage_dimensions d ON d.subscription_id = p.subscription_id
    JOIN usage_rollups r ON r.dimension_id = d.id
     AND (p.is_first OR r.bucket >= extract(epoch FROM p.starts_at))
     AND (p.is_last OR r.bucket < extract(epoch FROM p.ends_at))
    WHERE p.id = ANY(:periods)
    GROUP BY p.id, d.environment, d.outcome, d.status
    """
)
_SUMMARY: Final = """
    SELECT d.environment, d.outcome, d.status, d.subscription_id IS NULL AS unsubscribed,
           {columns}, sum(r.requests) AS requests, sum(r.units) AS units
    FROM usage_rollups r JOIN usage_dimensions d ON d.id = r.dimension_id
    WHERE r.organization_id = :organization AND r.bucket >= :start AND r.bucket < :end
      AND (:every_key OR d.key = ANY(:keys))
    GROUP BY d.environment, d.outcome, d.status, d.subscription_id IS NULL, {sets}
"""
_BREAKDOWNS: Final[Mapping[str, str]] = {
    "key": "d.key",
    "route": "d.route",
    "day": "(to_timestamp(r.bucket) AT TIME ZONE :zone)::date",
}


async def period_quantities(
    session: AsyncSession, subscription_id: UUID, period: BillingPeriod, *, rule: str = DEFAULT_RULE
) -> Quantities:
    """Return what one period of a subscription holds. Raises `ValueError` if it is another's period.

    A first period takes everything before its end, a last one everything after its start; edges between
    periods fall on quarter hours, so no rollup lies across one.
    """
    if period.subscription_id != subscription_id:
        raise ValueError(f"period {period.id} does not belong to subscription {subscription_id}")
    return (await quantities_for_periods(session, [period.id], rule=rule))[period.id]


async def quantities_for_periods(
    session: AsyncSession, period_ids: Sequence[UUID], *, rule: str = DEFAULT_RULE
) -> dict[UUID, Quantities]:
    """Return the quantities of many periods with one statement; a period without usage has zeros.

    Reads each period's bounds from its row, so `is_last` must be flushed before this is asked.
    """
    rows = await session.execute(_PERIODS, {"periods": list(period_ids)})
    cells: defaultdict[UUID, list[Cell]] = defaultdict(list)
    for row in rows.mappings():
        cells[row["id"]].append(_cell(row))
    return {period: split_by_reason(cells[period], rule=rule) for period in period_ids}


async def summary(
    session: AsyncSession,
    organization_id: UUID,
    start: datetime,
    end: datetime,
    *,
    time_zone: str = "UTC",
    keys: Collection[str] | None = None,
    breakdowns: Collection[str] = ("key", "route", "day"),
    rule: str = DEFAULT_RULE,
) -> Summary:
    """Return an organization's usage from `start` to `end` (excluded), in the organization's own time.

    Instants are taken at the quarter hour: a rollup counts if it begins in the stretch. `keys` narrows to
    these public key ids (a member sees his own); `breakdowns` leaves out what the caller does not show, and
    an empty one costs least. One statement.
    """
    rows = await session.execute(
        summary_statement(tuple(sorted(breakdowns))),
        summary_values(organization_id, start, end, time_zone=time_zone, keys=keys),
    )
    return summary_of(rows.mappings().all(), breakdowns, rule=rule)


@lru_cache(maxsize=8)
def summary_statement(breakdowns: tuple[str, ...]) -> TextClause:
    """Return the one statement behind `summary`."""
    wanted = [name for name in _BREAKDOWNS if name in breakdowns]
    columns = [
        f"{_BREAKDOWNS[name]} AS by_{name}, GROUPING({_BREAKDOWNS[name]}) AS no_{name}" for name in wanted
    ]
    sets = ", ".join(["()", *(f"({_BREAKDOWNS[name]})" for name in wanted)])
    return text(_SUMMARY.format(columns=", ".join(columns) or "0 AS whole", sets=f"GROUPING SETS ({sets})"))


def summary_values(
    organization_id: UUID,
    start: datetime,
    end: datetime,
    *,
    time_zone: str = "UTC",
    keys: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return the values of the statement behind `summary`."""
    return {
        "organization": organization_id,
        "start": start.timestamp().__ceil__(),
        "end": end.timestamp().__ceil__(),
        "every_key": keys is None,
        "keys": sorted(keys or ()),
        "zone": time_zone,
    }


def summary_of(
    rows: Iterable[Mapping[Any, Any]], breakdowns: Collection[str], *, rule: str = DEFAULT_RULE
) -> Summary:
    """Add up the rows of the statement behind `summary`."""
    wanted = [name for name in _BREAKDOWNS if name in breakdowns]
    whole: list[Cell] = []
    unsubscribed = NOTHING
    parts: dict[str, defaultdict[Any, list[Cell]]] = {name: defaultdict(list) for name in _BREAKDOWNS}
    for row in rows:
        cell = _cell(row)
        shown = next((name for name in wanted if not row[f"no_{name}"]), None)
        if shown is not None:
            parts[shown][row[f"by_{shown}"]].append(cell)
            continue
        whole.append(cell)
        if row["unsubscribed"]:
            unsubscribed += cell.count
    by_key: dict[str, Split] = _splits(parts["key"], rule)
    by_route: dict[str, Split] = _splits(parts["route"], rule)
    by_day: dict[date, Split] = _splits(parts["day"], rule)
    return Summary(
        split_by_reason(whole, rule=rule), by_outcome(whole), by_key, by_route, by_day, unsubscribed
    )


def _splits(parts: Mapping[Any, Sequence[Cell]], rule: str) -> dict[Any, Split]:
    return {name: split(cells, rule=rule) for name, cells in sorted(parts.items())}


def _cell(row: Mapping[Any, Any]) -> Cell:
    return Cell(
        row["environment"], row["outcome"], row["status"], Count(int(row["requests"]), int(row["units"]))
    )
