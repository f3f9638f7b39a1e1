"""Where an organization stands now: its own time, its plan, its running period. Read in one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.clock import ClockOffset, OrganizationTime
from farebox.subscriptions.periods import Course, Period

PRESENT: Final = text(
    """
    SELECT s.id, s.public_id, s.state, s.time_zone, s.anchor_day, s.started_at,
           s.trial_ends_at, s.resumed_at, s.cancel_at, s.change_at, s.resume_at,
           p.id AS period_id, p.starts_at, p.ends_at,
           plans.code AS plan, plans.name AS plan_name, v.id AS version_id, v.version, v.currency,
           v.charges, COALESCE(l.limits, v.limits) AS limits, COALESCE(l.quota, v.quota) AS quota,
           (SELECT array_agg(c.began_at ORDER BY c.began_at) FROM test_clock_offsets c
            WHERE c.organization_id = :organization) AS began,
           (SELECT array_agg(c.offset_ms ORDER BY c.began_at) FROM test_clock_offsets c
            WHERE c.organization_id = :organization) AS offsets
    FROM subscriptions s
    JOIN plan_versions v ON v.id = s.plan_version_id
    JOIN plans ON plans.id = v.plan_id
    LEFT JOIN limit_overrides l ON l.organization_id = s.organization_id
    CROSS JOIN LATERAL (
        SELECT b.id, b.starts_at, b.ends_at FROM billing_periods b
        WHERE b.subscription_id = s.id ORDER BY b.starts_at DESC LIMIT 1
    ) p
    WHERE s.organization_id = :organization AND s.state <> 'ended'
    """
)


@dataclass(frozen=True, slots=True)
class Present:
    """The running subscription at `now`, the organization's own time.

    `period_id` is None for a moment after a period's edge, until the row of the new period has been made.
    """

    now: datetime
    subscription_id: UUID
    subscription: str
    state: str
    started_at: datetime
    time_zone: str
    period: Period
    period_id: UUID | None
    version_id: UUID
    plan: str
    plan_name: str
    version: int
    currency: str
    charges: list[Any]
    limits: list[Any]
    quota: dict[str, Any] | None


async def present(session: AsyncSession, organization_id: UUID, *, wall: datetime) -> Present:
    """Return where the organization stands at the wall time."""
    rows = await session.execute(PRESENT, {"organization": organization_id})
    return present_of(rows.mappings().one(), wall=wall)


def present_of(row: Mapping[Any, Any], *, wall: datetime) -> Present:
    """Read the row of `PRESENT`."""
    pairs = zip(row["began"] or (), row["offsets"] or (), strict=True)
    time = OrganizationTime([ClockOffset(began, timedelta(milliseconds=offset)) for began, offset in pairs])
    now = time.at(wall)
    latest = Period(row["starts_at"], row["ends_at"])
    running = now < latest.end
    course = Course(
        row["time_zone"], row["anchor_day"], row["started_at"], row["trial_ends_at"], row["resumed_at"]
    )
    return Present(
        now=now,
        subscription_id=row["id"],
        subscription=row["public_id"],
        state=row["state"],
        started_at=row["started_at"],
        time_zone=row["time_zone"],
        period=latest if running else course.around(now),
        period_id=row["period_id"] if running else None,
        version_id=row["version_id"],
        plan=row["plan"],
        plan_name=row["plan_name"],
        version=row["version"],
        currency=row["currency"],
        charges=row["charges"],
        limits=row["limits"],
        quota=row["quota"],
    )
