"""Tells customers that usage passed a threshold of theirs: at most once for each threshold and period.

The row of `alert_firings` and the event are written in one transaction; the row's key is what makes it once,
so this may run twice at a time or be killed. Reads what has been metered so far, like the current bill.
"""

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
from farebox.usage.service import quantities_for_periods
from farebox_contract.billable import DEFAULT_RULE

BATCH: Final = 200
# The running period of each organization that has a threshold which has not been passed in it yet.
_OPEN: Final = text(
    """
    SELECT o.id AS organization_id, o.public_id, p.id AS period_id, p.starts_at, p.ends_at, v.charges,
           v.currency, COALESCE(l.quota, v.quota) AS quota, c.amount_minor AS cap, c.currency AS cap_currency,
           jsonb_agg(jsonb_build_array(t.id::text, t.kind, t.value) ORDER BY t.kind, t.value) AS thresholds
    FROM alert_thresholds t
    JOIN organizations o ON o.id = t.organization_id AND o.state <> 'closed'
    JOIN subscriptions s ON s.organization_id = o.id AND s.state <> 'ended'
    JOIN plan_versions v ON v.id = s.plan_version_id
    CROSS JOIN LATERAL (
        SELECT b.id, b.starts_at, b.ends_at FROM billing_periods b
        WHERE b.subscription_id = s.id ORDER BY b.starts_at DESC LIMIT 1
    ) p
    LEFT JOIN limit_overrides l ON l.organization_id = o.id
    LEFT JOIN spending_caps c ON c.organization_id = o.id
    WHERE o.id > :after
      AND NOT EXISTS (SELECT FROM alert_firings f WHERE f.threshold_id = t.id AND f.period_id = p.id)
    GROUP BY o.id, o.public_id, p.id, p.starts_at, p.ends_at, v.charges, v.currency, l.quota, v.quota,
             c.amount_minor, c.currency
    ORDER BY o.id LIMIT :limit
    """
).columns(charges=JSONB(), quota=JSONB(), thresholds=JSONB())
_FIRE: Final = text(
    "INSERT INTO alert_firings (threshold_id, period_id, organization_id, fired_at) "
    "SELECT t.id, :period, :organization, :now FROM alert_thresholds t WHERE t.id = :threshold "
    "ON CONFLICT DO NOTHING RETURNING threshold_id"
)
_FIRST: Final = UUID(int=0)


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


async def _tell(session: AsyncSession, rows: Any, *, now: datetime) -> int:
    told = 0
    used = await quantities_for_periods(session, [row.period_id for row in rows], rule=DEFAULT_RULE)
    for row in rows:
        units = used[row.period_id].billable.units
        present = (await test_clock.time_of(session, row.organization_id)).at(now)
        if present >= row.ends_at:
            continue
        spent = cost(charge_language.parse(row.charges), units, row.currency).minor
        for threshold, kind, value in row.thresholds:
            reached = measure(kind, value, units=units, spent=spent, row=row)
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
                    "used": units if kind == "quota_percent" else spent,
                    "of": row.quota["units"] if kind == "quota_percent" else row.cap or value,
                },
            )
    return told


def measure(kind: str, value: int, *, units: int, spent: int, row: Any) -> Reached | None:
    """Return how far usage has come to a threshold, in hundredths for percents; None where there is nothing
    to measure by: no quota, no cap, or a cap in another currency than the plan's.
    """
    if kind == "amount":
        return Reached(spent, value)
    if kind == "quota_percent":
        return None if row.quota is None else Reached(units * 100, value * row.quota["units"])
    if row.cap is None or row.cap_currency != row.currency:
        return None
    return Reached(spent * 100, value * row.cap)
