"""A trial that ends in three days or less is told of, once, in the organization's own time."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from farebox import outbox
from farebox.clock import Clock
from farebox.db import Database
from farebox.organizations import test_clock

BEFORE: Final = timedelta(days=3)
BATCH: Final = 500
# A trial no longer than the notice is no surprise: whoever started it has just read when it ends.
_ENDING: Final = text(
    """
    SELECT s.id, s.organization_id, s.public_id, s.trial_ends_at FROM subscriptions s
    WHERE s.state = 'trialing' AND s.id > :after AND s.trial_ends_at - s.started_at > :notice
      AND (s.trial_ends_at <= :soon
           OR EXISTS (SELECT FROM test_clock_offsets o WHERE o.organization_id = s.organization_id))
      AND NOT EXISTS (SELECT FROM trial_reminders r WHERE r.subscription_id = s.id)
    ORDER BY s.id LIMIT :limit
    """
)
_TELL: Final = text(
    "INSERT INTO trial_reminders (subscription_id, organization_id, told_at) "
    "VALUES (:subscription, :organization, :now) ON CONFLICT DO NOTHING RETURNING subscription_id"
)
_FIRST: Final = UUID(int=0)


async def run(database: Database, clock: Clock) -> int:
    """Leave a `subscription.trial_ending` for each trial that ends soon; returns how many were told of."""
    after, told = _FIRST, 0
    while True:
        wall = clock.now()
        async with database.transaction() as session:
            values = {"after": after, "soon": wall + BEFORE, "notice": BEFORE, "limit": BATCH}
            rows = (await session.execute(_ENDING, values)).all()
            for row in rows:
                now = (await test_clock.time_of(session, row.organization_id)).at(wall)
                if not row.trial_ends_at - BEFORE <= now < row.trial_ends_at:
                    continue
                mark = {"subscription": row.id, "organization": row.organization_id, "now": now}
                if await session.scalar(_TELL, mark) is None:
                    continue
                told += 1
                await outbox.enqueue(
                    session,
                    outbox.TRIAL_ENDING,
                    organization=row.organization_id,
                    payload={"subscription": f"sub_{row.public_id}"},
                )
        if len(rows) < BATCH:
            return told
        after = rows[-1].id
