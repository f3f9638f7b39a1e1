"""Where an organization stands now: its own time, its plan, its running period. Read in one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.clock import ClockOffset, OrganizationTime
from farebox.subscriptions.own import COLUMNS, JOINS, own_of
from farebox.subscriptions.periods import Course, Period
from farebox.subscriptions.terms import Own, charges_of_a_full_period, limits_of, quota_of

PRESENT: Final = text(
    f"""
    SELECT s.id, s.public_id, s.state, s.time_zone, s.anchor_day, s.started_at,
           s.trial_ends_at, s.resumed_at, s.cancel_at, s.change_at, s.resume_at,
           p.id AS period_id, p.starts_at, p.ends_at,
           plans.code AS plan, plans.name AS plan_name, v.id AS version_id, v.version,
           v.code AS version_code, v.currency, v.charges, v.limits, v.quota, v.meters, v.entitlements,
           {COLUMNS},
           (SELECT array_agg(c.began_at ORDER BY c.began_at) FROM test_clock_offsets c
            WHERE c.organization_id = :organization) AS began,
           (SELECT array_agg(c.offset_ms ORDER BY c.began_at) FROM test_clock_offsets c
            WHERE c.organization_id = :organization) AS offsets
    FROM subscriptions s
    JOIN plan_versions v ON v.id = s.plan_version_id
    JOIN plans ON plans.id = v.plan_id
    {JOINS}
    CROSS JOIN LATERAL (
        SELECT b.id, b.starts_at, b.ends_at FROM billing_periods b
        WHERE b.subscription_id = s.id ORDER BY b.starts_at DESC LIMIT 1
    ) p
    WHERE s.organization_id = :organization AND s.state <> 'ended'
    """  # noqa: S608 - constants of this package
)


@dataclass(frozen=True, slots=True)
class Present:
    """The running subscription at `now`, the organization's own time.

    `charges`, `limits` and `quota` are what holds, as the gateways enforce it: add-ons, an operator's
    override and the spending cap included. `period_id` is None for a moment after a period's edge, until the
    row of the new period has been made.
    """

    now: datetime
    subscription_id: UUID
    subscription: str
    state: str
    started_at: datetime
    time_zone: str
    anchor_day: int
    period: Period
    period_id: UUID | None
    version_id: UUID
    plan: str
    plan_name: str
    version: int
    version_code: str
    currency: str
    charges: list[Any]
    limits: list[Any]
    quota: dict[str, Any] | None
    meters: list[Any]
    own: Own


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
    own = own_of(
        row,
        limits=row["limits"],
        quota=row["quota"],
        charges=row["charges"],
        currency=row["currency"],
        entitlements=row["entitlements"],
    )
    quota = quota_of(own)
    return Present(
        now=now,
        subscription_id=row["id"],
        subscription=row["public_id"],
        state=row["state"],
        started_at=row["started_at"],
        time_zone=row["time_zone"],
        anchor_day=row["anchor_day"],
        period=latest if running else course.around(now),
        period_id=row["period_id"] if running else None,
        version_id=row["version_id"],
        plan=row["plan"],
        plan_name=row["plan_name"],
        version=row["version"],
        version_code=row["version_code"],
        currency=row["currency"],
        charges=charges_of_a_full_period(own),
        limits=limits_of(own),
        quota=None if quota is None else dict(quota),
        meters=row["meters"],
        own=own,
    )
