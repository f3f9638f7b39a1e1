"""One pass of dunning: invoices that fell due open cases, disputes are heeded, due steps are done.

Batch by batch, and case by case in transactions of their own: a case that fails stops no other and is looked
at again in some minutes. A second pass, or one after a kill, finds done what was done.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.dunning import service, stepping
from farebox.payments.accounts import Till
from farebox_worker.dunning import charging
from farebox_worker.supervision import describe

BATCH: Final = 200
_MOST_ROUNDS: Final = 60
"""More than a schedule has steps: a case that asks for more is left to the next pass."""
_FAILED_PAUSE: Final = timedelta(minutes=5)
# An organization with a test clock may be ahead of the wall; there are few.
_ITS_TIME_MAY_HAVE_COME: Final = (
    "EXISTS (SELECT FROM test_clock_offsets o WHERE o.organization_id = {}.organization_id)"
)
_OVERDUE: Final = text(
    f"""
    SELECT i.id FROM invoices i
    WHERE i.state IN ('finalized', 'overdue') AND i.open_minor > 0 AND i.id > :after
      AND (i.due_at <= :now OR {_ITS_TIME_MAY_HAVE_COME.format("i")}) AND i.due_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM dunning_cases c WHERE c.invoice_id = i.id AND c.state <> 'resolved')
    ORDER BY i.id LIMIT :limit
    """  # noqa: S608 - text of this module
)
_TO_SETTLE: Final = text(
    """
    SELECT DISTINCT c.organization_id AS id FROM dunning_cases c JOIN invoices i ON i.id = c.invoice_id
    WHERE c.state <> 'resolved' AND (i.open_minor = 0 OR i.state IN ('paid', 'void'))
      AND c.organization_id > :after
    ORDER BY c.organization_id LIMIT :limit
    """
)
_TO_HEED: Final = text(
    """
    SELECT c.id FROM dunning_cases c JOIN invoices i ON i.id = c.invoice_id
    WHERE c.id > :after AND CASE WHEN i.disputed_at IS NOT NULL THEN c.state IN ('open', 'exhausted')
                                 ELSE c.state = 'paused' AND c.paused_by = :dispute END
    ORDER BY c.id LIMIT :limit
    """
)
_DUE: Final = text(
    f"""
    SELECT c.id FROM dunning_cases c
    WHERE c.id > :after
      AND (c.state = 'open' AND c.next_step_at <= :now
           OR c.state = 'open' AND {_ITS_TIME_MAY_HAVE_COME.format("c")}
           OR c.state IN ('open', 'exhausted')
              AND c.decided_at < (SELECT max(set_at) FROM dunning_policies))
    ORDER BY c.id LIMIT :limit
    """  # noqa: S608 - text of this module
)
_POSTPONE: Final = text(
    "UPDATE dunning_cases SET next_step_at = greatest(next_step_at, :at) WHERE id = :case AND state = 'open'"
)
_FIRST: Final = UUID(int=0)
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Report:
    """What a pass did, in numbers."""

    opened: int = 0
    settled: int = 0
    heeded: int = 0
    looked_at: int = 0
    charged: int = 0
    failed: int = 0


async def run(till: Till, *, batch: int = BATCH) -> Report:
    """Do everything that is due."""
    report = Report()

    async def settle(organization_id: UUID) -> None:
        async with till.database.transaction() as session:
            await service.settled(session, organization_id, now=till.now())
        report.settled += 1

    async def heed(case_id: UUID) -> None:
        async with till.database.transaction() as session:
            await service.heed_dispute(session, case_id, wall=till.now())
        report.heeded += 1

    async def open_one(invoice_id: UUID) -> None:
        async with till.database.transaction() as session:
            opened = await service.open_case(session, invoice_id, wall=till.now())
        report.opened += opened is not None

    async def step(case_id: UUID) -> None:
        report.looked_at += 1
        for _ in range(_MOST_ROUNDS):
            async with till.database.transaction() as session:
                charge = await stepping.take(session, case_id, wall=till.now())
            if charge is None:
                return
            if not await charging.carry_out(till, charge):
                return
            report.charged += 1

    await _each(till, _TO_SETTLE, settle, report, batch)
    await _each(till, _TO_HEED, heed, report, batch, dispute=service.DISPUTE)
    await _each(till, _OVERDUE, open_one, report, batch, now=till.now())
    await _each(till, _DUE, step, report, batch, now=till.now())
    return report


async def _each(
    till: Till,
    statement: TextClause,
    work: Callable[[UUID], Awaitable[None]],
    report: Report,
    batch: int,
    **values: Any,
) -> None:
    after = _FIRST
    while True:
        async with till.database.transaction() as session:
            rows = await session.execute(statement, {"after": after, "limit": batch, **values})
            found = [row.id for row in rows]
        for each in found:
            try:
                await work(each)
            except Exception as error:  # noqa: BLE001 - one case that fails stops no other
                report.failed += 1
                log.warning("dunning_failed", of=str(each), error=describe(error))
                async with till.database.transaction() as session:
                    await _postpone(session, each, till)
        if len(found) < batch:
            return
        after = found[-1]


async def _postpone(session: AsyncSession, case_id: UUID, till: Till) -> None:
    """Leave a case alone for some minutes; an id that is no case's changes nothing."""
    await session.execute(_POSTPONE, {"case": case_id, "at": till.now() + _FAILED_PAUSE})
