"""Tells customers that usage passed a threshold of theirs: at most once for each threshold and period.

The row of `alert_firings` and the event are written in one transaction; the row's key is what makes it once,
so this may run twice at a time or be killed. Reads what has been metered so far, like the current bill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import outbox
from farebox.alerts.caps import cost
from farebox.clock import Clock
from farebox.db import Database
from farebox.invoices import charges as charge_language
from farebox.organizations import test_clock
from farebox.subscriptions.own import COLUMNS, JOINS, JSON_COLUMNS, own_of
from farebox.subscriptions.terms import charges_of_a_full_period, quota_of
from farebox.usage.measuring import measured_for_periods
from farebox.usage.meters import REQUESTS, Measured
from farebox.usage.meters import parse as parse_meters
from farebox.usage.quantities import Count
from farebox.usage.service import quantities_for_periods
from farebox_contract.billable import DEFAULT_RULE

BATCH: Final = 200
# The running period of each organization that has a threshold which has not been passed in it yet.
_OPEN: Final = text(
    f"""
    SELECT o.id AS organization_id, o.public_id, p.id AS period_id, p.starts_at, p.ends_at, v.charges,
           v.currency, v.limits, v.quota, v.meters, {COLUMNS}, t.thresholds
    FROM organizations o
    JOIN subscriptions s ON s.organization_id = o.id AND s.state <> 'ended'
    JOIN plan_versions v ON v.id = s.plan_version_id
    CROSS JOIN LATERAL (
        SELECT b.id, b.starts_at, b.ends_at FROM billing_periods b
        WHERE b.subscription_id = s.id ORDER BY b.starts_at DESC LIMIT 1
    ) p
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_array(t.id::text, t.kind, t.value)
                         ORDER BY t.kind, t.value) AS thresholds
        FROM alert_thresholds t
        WHERE t.organization_id = o.id
          AND NOT EXISTS (SELECT FROM alert_firings f WHERE f.threshold_id = t.id AND f.period_id = p.id)
    ) t
    {JOINS}
    WHERE o.id > :after AND o.state <> 'closed' AND t.thresholds IS NOT NULL
      AND o.id IN (SELECT organization_id FROM alert_thresholds)
    ORDER BY o.id LIMIT :limit
    """  # noqa: S608 - constants of the house
).columns(
    charges=JSONB(), limits=JSONB(), quota=JSONB(), meters=JSONB(), thresholds=JSONB(),
    **{name: JSONB() for name in JSON_COLUMNS},
)  # fmt: skip
_FIRE: Final = text(
    "INSERT INTO alert_firings (threshold_id, period_id, organization_id, fired_at) "
    "SELECT t.id, :period, :organization, :now FROM alert_thresholds t WHERE t.id = :threshold "
    "ON CONFLICT DO NOTHING RETURNING threshold_id"
)
_FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Stands:
    """A running period so far: billable units, what its charges come to in minor units with those of add-ons,
    the quota and the cap that hold.
    """

    units: int
    spent: int
    quota: int | None
    cap: int | None


@dataclass(frozen=True, slots=True)
class Reached:
    """How far usage has come: `used` of `of`."""

    used: int
    of: int


async def run(database: Database, clock: Clock) -> int:
    """Look at every organization with thresholds; returns how many were told of."""
    after, told = _FIRST, 0
    while True:
        async with database.transaction() as session:
            rows = (await session.execute(_OPEN, {"after": after, "limit": BATCH})).all()
            told += await _tell(session, rows, now=clock.now())
        if len(rows) < BATCH:
            return told
        after = rows[-1].organization_id


async def _tell(session: AsyncSession, rows: Sequence[Any], *, now: datetime) -> int:
    told = 0
    periods = [row.period_id for row in rows]
    used = await quantities_for_periods(session, periods, rule=DEFAULT_RULE)
    measured = await measured_for_periods(session, [row.period_id for row in rows if row.meters])
    for row in rows:
        present = (await test_clock.time_of(session, row.organization_id)).at(now)
        if present >= row.ends_at:
            continue
        stands = _stands(row, used[row.period_id].billable, measured.get(row.period_id, ()))
        for threshold, kind, value in row.thresholds:
            reached = measure(kind, value, stands)
            if reached is None or reached.used < reached.of:
                continue
            values = {
                "period": row.period_id,
                "organization": row.organization_id,
                "threshold": UUID(threshold),
                "now": present,
            }
            if await session.scalar(_FIRE, values) is None:
                continue
            told += 1
            await outbox.enqueue(
                session,
                outbox.USAGE_THRESHOLD,
                organization=row.organization_id,
                payload={
                    "organization": f"org_{row.public_id}",
                    "threshold": {"kind": kind, "value": value},
                    "period_start": row.starts_at.isoformat(),
                    "currency": row.currency,
                    "used": stands.units if kind == "quota_percent" else stands.spent,
                    "of": {"quota_percent": stands.quota, "cap_percent": stands.cap}.get(kind, value),
                },
            )
    return told


def _stands(row: Any, billable: Count, measured: Sequence[Measured]) -> Stands:
    columns = row._mapping  # noqa: SLF001 - the documented name of it
    own = own_of(columns, limits=row.limits, quota=row.quota, charges=row.charges, currency=row.currency)
    document = charges_of_a_full_period(own)
    meters = {meter.code: meter.measure(measured) for meter in parse_meters(row.meters)}
    spent = cost(
        charge_language.parse(document, most=len(document)),
        billable.units,
        row.currency,
        meters=meters | {REQUESTS: billable.requests},
    )
    quota = quota_of(own)
    return Stands(
        billable.units,
        spent.minor,
        None if quota is None else int(quota["units"]),
        None if own.cap is None else own.cap.minor,
    )


def measure(kind: str, value: int, stands: Stands) -> Reached | None:
    """Return how far usage has come to a threshold, in hundredths for percents; None where there is nothing
    to measure by: no quota, no cap, or a cap in another currency than the plan's.
    """
    if kind == "amount":
        return Reached(stands.spent, value)
    used, whole = (stands.units, stands.quota) if kind == "quota_percent" else (stands.spent, stands.cap)
    return None if whole is None else Reached(used * 100, value * whole)
