"""Rows for the periods that have begun in their organization's time, so that each one can be closed.

Also mends what a subscription's end left open: its last period ends with it. Every edge comes from
`farebox.subscriptions.periods`. The gateway must learn of new edges, so its work is written beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, outbox
from farebox.clock import OrganizationTime
from farebox.db import Database
from farebox.subscriptions.model import BillingPeriod
from farebox.subscriptions.periods import Period, period_after

BATCH: Final = 1000
_MOST_PERIODS_AT_ONCE: Final = 120
"""Of one subscription in one pass; a test clock that leaps further catches up pass by pass."""

# The newest period of each subscription where something may be due: it lies behind, or the subscription ended
# and it is not marked as the last. Organizations with a test clock are looked at always; there are few.
_DUE: Final = text(
    """
    SELECT s.id, s.organization_id, s.time_zone, s.anchor_day, s.ended_at, s.next_transition_at, s.paused_at,
           p.id AS period_id, p.starts_at, p.ends_at, p.state
    FROM subscriptions s
    CROSS JOIN LATERAL (
        SELECT * FROM billing_periods WHERE subscription_id = s.id ORDER BY starts_at DESC LIMIT 1
    ) p
    WHERE NOT p.is_last AND s.id > :after
      AND (p.ends_at <= :now OR s.ended_at IS NOT NULL
           OR EXISTS (SELECT FROM test_clock_offsets o WHERE o.organization_id = s.organization_id))
    ORDER BY s.id LIMIT :batch
    FOR NO KEY UPDATE OF s SKIP LOCKED
    """
)
_END: Final = text(
    "UPDATE billing_periods SET is_last = true, "
    "ends_at = CASE WHEN state = 'open' THEN CAST(:ends_at AS timestamptz) ELSE ends_at END WHERE id = :id"
)
_TOUCH: Final = text(
    "UPDATE organizations SET edge_revision = edge_revision + 1 WHERE id IN "
    "(SELECT id FROM organizations WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE)"
)
_NOTHING: Final = UUID(int=0)
_JUST_BEFORE: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Roll:
    """What must be written for one subscription. `periods` are new rows, in order; `ends` is where its newest
    row ends as the last one; `closed` says that the last of `periods` is the subscription's last.
    """

    periods: tuple[Period, ...] = ()
    ends: datetime | None = None
    closed: bool = False


def due(newest: Period, *, time_zone: str, anchor_day: int, ended_at: datetime | None, now: datetime) -> Roll:
    """Decide what follows a subscription's newest period. `now` is the organization's. Pure."""
    if ended_at is not None and ended_at <= newest.end:
        return Roll(ends=max(ended_at, newest.start))
    periods: list[Period] = []
    while len(periods) < _MOST_PERIODS_AT_ONCE:
        if newest.end > now if ended_at is None else newest.end >= ended_at:
            break
        following = period_after(newest, time_zone=time_zone, anchor_day=anchor_day)
        newest = Period(following.start, min(following.end, ended_at or following.end))
        periods.append(newest)
    return Roll(tuple(periods), closed=ended_at is not None and newest.end == ended_at)


async def roll(database: Database, times: Mapping[UUID, OrganizationTime], *, now: datetime) -> int:
    """Make the rows of all periods that have begun by `now` (wall time); returns how many.

    `times` holds the time line of each organization that has a test clock.
    """
    made, after = 0, _NOTHING
    while True:
        async with database.transaction() as session:
            rows = (await session.execute(_DUE, {"after": after, "now": now, "batch": BATCH})).all()
            if not rows:
                return made
            made += await _write(session, rows, times, now)
            after = rows[-1].id


async def _write(
    session: AsyncSession, rows: Sequence[Any], times: Mapping[UUID, OrganizationTime], now: datetime
) -> int:
    made: list[dict[str, Any]] = []
    for row in rows:
        present = times.get(row.organization_id, OrganizationTime()).at(now)
        # What follows a transition that is due is decided by the transition, not here.
        present = min(present, (row.next_transition_at or datetime.max.replace(tzinfo=UTC)) - _JUST_BEFORE)
        decided = due(
            Period(row.starts_at, row.ends_at),
            time_zone=row.time_zone,
            anchor_day=row.anchor_day,
            ended_at=row.ended_at,
            now=present,
        )
        if decided.ends is not None:
            await session.execute(_END, {"id": row.period_id, "ends_at": decided.ends})
        made += [
            {
                "id": ids.uuid7(),
                "organization_id": row.organization_id,
                "subscription_id": row.id,
                "starts_at": period.start,
                "ends_at": period.end,
                "kind": "paused"
                if row.paused_at is not None and row.paused_at <= period.start
                else "regular",
                "is_first": False,
                "is_last": decided.closed and period is decided.periods[-1],
            }
            for period in decided.periods
        ]
    if made:
        await session.execute(insert(BillingPeriod), made)
        organizations = sorted({entry["organization_id"] for entry in made})
        await session.execute(_TOUCH, {"ids": organizations})
        await session.execute(
            insert(outbox.OutboxRow),
            [
                {"job": outbox.GATEWAY_SYNC.name, "organization_id": each, "payload": {}}
                for each in organizations
            ],
        )
    return len(made)
