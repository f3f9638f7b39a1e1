"""Does what has come due of subscriptions: scheduled ends and changes, ends of trials and of pauses.

Each organization is one transaction under its subscription's row lock, and every transition is dated at its
own instant of the organization's time, however late this runs: a second run, or one after a kill, finds
nothing left to do. Decides nothing itself: that is `farebox.subscriptions.service`.
"""

from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text

from farebox.clock import Clock
from farebox.db import Database
from farebox.subscriptions import service

BATCH: Final = 500
# An organization with a test clock may be ahead of the wall; there are few.
_DUE: Final = text(
    """
    SELECT s.organization_id FROM subscriptions s
    WHERE s.next_transition_at IS NOT NULL AND s.organization_id > :after
      AND (s.next_transition_at <= :now
           OR EXISTS (SELECT FROM test_clock_offsets o WHERE o.organization_id = s.organization_id))
    ORDER BY s.organization_id LIMIT :limit
    """
)
_FIRST: Final = UUID(int=0)
log = structlog.get_logger(__name__)


async def run(database: Database, clock: Clock) -> int:
    """Do all that is due, organization by organization; returns how many organizations were looked at."""
    after, seen = _FIRST, 0
    while True:
        async with database.transaction() as session:
            rows = await session.execute(_DUE, {"after": after, "now": clock.now(), "limit": BATCH})
            found = [row.organization_id for row in rows]
        for organization in found:
            await _catch_up(database, organization, clock)
        seen += len(found)
        if len(found) < BATCH:
            return seen
        after = found[-1]


async def _catch_up(database: Database, organization: UUID, clock: Clock) -> None:
    try:
        async with database.transaction() as session:
            await service.standing(session, organization, wall=clock.now())
    except RuntimeError:
        # One organization that cannot be brought up to date stops nobody else.
        log.exception("subscription_transition_failed", organization=str(organization))
