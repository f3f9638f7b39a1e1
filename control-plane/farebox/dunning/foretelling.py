"""Who would be reminded, charged and cut off by an instant if nobody paid, and who not and why.

Changes nothing. The steps come from the schedule itself, walked ahead, so what is foretold is what
the worker will do.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.dunning import facts, schedule
from farebox.dunning.facts import Debt
from farebox.dunning.schedule import Step

BATCH: Final = 500
# An organization with a test clock may be ahead of the wall; there are few.
_ASKED_FOR: Final = text(
    """
    SELECT i.id FROM invoices i
    WHERE i.state IN ('finalized', 'overdue', 'uncollectible') AND i.open_minor > 0 AND i.id > :after
      AND (i.due_at <= :until
           OR EXISTS (SELECT FROM test_clock_offsets o WHERE o.organization_id = i.organization_id)
           OR EXISTS (SELECT FROM dunning_cases c WHERE c.invoice_id = i.id AND c.state <> 'resolved'))
      AND (CAST(:organization AS uuid) IS NULL OR i.organization_id = :organization)
    ORDER BY i.id LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """One debt and what would be done about it. `kept` says why its organization is not cut off; None where
    it would be, or where its time (`suspends_at`) has not come.
    """

    debt: Debt
    steps: tuple[Step, ...]
    suspends_at: datetime | None
    kept: str | None

    @property
    def is_cut_off(self) -> bool:
        """Whether service ends."""
        return any(step.kind == "suspend" for step in self.steps)


def tonight(wall: datetime) -> datetime:
    """Return the end of the wall's day, in UTC."""
    return datetime.combine(wall.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def outlook(debt: Debt, ahead: timedelta) -> Outlook | None:
    """Return what would be done about a debt within `ahead` of its present; None while it is not due."""
    until = debt.now + ahead
    if debt.due_at is None or debt.due_at > until:
        return None
    begins = max(debt.now, debt.due_at)
    steps = tuple(schedule.foretell(debt.policy, debt.facts, begins, until))
    decision = schedule.decide(debt.policy, debt.facts, begins)
    return Outlook(debt, steps, schedule.suspends_at(debt.policy, debt.facts), decision.kept)


async def foretell(
    session: AsyncSession, *, until: datetime, wall: datetime, organization_id: UUID | None = None
) -> AsyncIterator[Outlook]:
    """Yield the outlook of every debt that is due by `until` (the wall's time), the oldest invoice first."""
    after = UUID(int=0)
    while True:
        values = {"after": after, "until": until, "organization": organization_id, "limit": BATCH}
        found = [row.id for row in await session.execute(_ASKED_FOR, values)]
        for debt in await facts.read(session, found, wall=wall):
            seen = outlook(debt, max(until - wall, timedelta()))
            if seen is not None:
                yield seen
        if len(found) < BATCH:
            return
        after = found[-1]
