"""The billing run: roll periods, find those that can be closed, and invoice them batch by batch.

Each batch is read at one moment, drafted purely, and written in one transaction that first looks whether
what was read still holds. What does not is left to the next run. An organization that cannot be billed is
reported and stops nobody else.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.clock import Clock, OrganizationTime
from farebox.credits import service as credits_
from farebox.db import Database
from farebox.invoices import service
from farebox.invoices.reading import Case, time_lines
from farebox.invoices.sequence import Drafted, draft_in_turn
from farebox.invoices.states import Bounds
from farebox.invoices.terms import Term
from farebox.settings import Settings
from farebox.usage.nodes import NodeReport
from farebox.usage.service import nodes
from farebox_worker.billing.closing import Reason, given_up, readiness
from farebox_worker.billing.reading import Batch, read
from farebox_worker.billing.report import BillingReport, Failure, Waiting
from farebox_worker.billing.rolling import roll
from farebox_worker.billing.writing import Statement, record, still_true

BATCH: Final = 500
"""Periods in one transaction: large enough for few queries, small enough that others soon get a
number."""

_OPEN: Final = text(
    """
    SELECT p.id, p.organization_id, p.ends_at FROM billing_periods p
    WHERE p.state = 'open'
      AND (p.ends_at <= :now
           OR EXISTS (SELECT FROM test_clock_offsets o WHERE o.organization_id = p.organization_id))
    ORDER BY p.organization_id, p.ends_at, p.starts_at, p.id
    """
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    period: UUID
    organization: UUID


@dataclass(frozen=True, slots=True)
class _Context:
    database: Database
    settings: Settings
    clock: Clock
    until: datetime | None

    @property
    def bounds(self) -> Bounds:
        return Bounds(
            self.settings.invoice_ceiling_minor,
            self.settings.invoice_line_ceiling,
            self.settings.account_daily_ceiling_minor,
        )

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=self.settings.billing_grace_seconds)


async def run(
    database: Database,
    settings: Settings,
    clock: Clock,
    *,
    until: datetime | None = None,
    batch: int = BATCH,
) -> BillingReport:
    """Roll, close and invoice all that is due, and say what was done and what waits.

    `until`, in each organization's own time, closes only what has ended by then. `database` is the worker's
    role; `batch` is how many periods share a transaction. Safe to run twice at once and to kill.
    """
    context = _Context(database, settings, clock, until)
    report = BillingReport()
    now = clock.now()
    async with database.transaction() as session:
        times = await time_lines(session)
    report.rolled = await roll(database, times, now=now)
    async with database.transaction() as session:
        candidates = await _candidates(session, context, times, now, report)
    statement: Statement | None = None
    for chunk in _chunks(candidates, batch):
        statement = await _bill(context, chunk, statement, report)
    async with database.transaction() as session:
        await credits_.expire(session, now=now)
    return report


async def _candidates(
    session: AsyncSession,
    context: _Context,
    times: Mapping[UUID, OrganizationTime],
    now: datetime,
    report: BillingReport,
) -> list[_Candidate]:
    reports = await nodes(session)
    ready: list[_Candidate] = []
    waiting: Counter[tuple[Reason, tuple[str, ...]]] = Counter()
    for row in await session.execute(_OPEN, {"now": now}):
        time = times.get(row.organization_id, OrganizationTime())
        found = readiness(row.ends_at, time, reports, now=now, until=context.until, grace=context.grace)
        if found.reason is None:
            ready.append(_Candidate(row.id, row.organization_id))
        elif found.reason != "not_ended":
            waiting[found.reason, found.nodes] += 1
    report.waiting += [Waiting(reason, count, codes) for (reason, codes), count in waiting.items()]
    return ready


def _chunks(candidates: Sequence[_Candidate], batch: int) -> Iterator[list[_Candidate]]:
    """Cut into batches, but never through an organization: its corrections go on its first invoice."""
    chunk: list[_Candidate] = []
    for candidate in candidates:
        if len(chunk) >= batch and candidate.organization != chunk[-1].organization:
            yield chunk
            chunk = []
        chunk.append(candidate)
    if chunk:
        yield chunk


async def _bill(
    context: _Context, chunk: Sequence[_Candidate], last: Statement | None, report: BillingReport
) -> Statement:
    now = context.clock.now()
    organizations = list(dict.fromkeys(each.organization for each in chunk))
    batch = await read(
        context.database,
        organizations,
        [each.period for each in chunk],
        issuer=context.settings.issuer,
        now=now,
    )
    statement = Statement.of(batch.statement, last)
    drafts: list[Drafted] = []
    for case in batch.cases:
        try:
            drafts += _draft(context, case, batch, statement, now)
        except (ValueError, ArithmeticError, LookupError) as error:
            report.failures.append(Failure(f"org_{case.party.public_id}", _said(error)))
    try:
        await _write(context, drafts, statement, report, now=now)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        await _write_apart(context, drafts, statement, report, now=now)
    return statement


async def _write_apart(
    context: _Context,
    drafts: Sequence[Drafted],
    statement: Statement,
    report: BillingReport,
    *,
    now: datetime,
) -> None:
    """Write each organization in a transaction of its own: one of them cannot be, the others can."""
    for party, group in groupby(drafts, key=lambda each: each.draft.party):
        try:
            await _write(context, list(group), statement, report, now=now)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            report.failures.append(Failure(f"org_{party.public_id}", _said(error.orig or error)))


def _draft(context: _Context, case: Case, batch: Batch, statement: Statement, now: datetime) -> list[Drafted]:
    """Draft every period of the organization that can still be closed."""
    time, grace = case.party.time, context.grace

    def can_be_closed(term: Term) -> bool:
        found = readiness(term.ends_at, time, batch.nodes, now=now, until=context.until, grace=grace)
        return found.reason is None

    def retired(term: Term) -> list[NodeReport]:
        return given_up(term.starts_at, term.ends_at, time, batch.nodes, grace=grace)

    closing = tuple(metered for metered in case.closing if can_be_closed(metered.term))
    return draft_in_turn(
        replace(case, closing=closing),
        seller=batch.seller,
        rates=batch.rates,
        retired=retired,
        statement_digest=statement.digest,
    )


async def _write(
    context: _Context,
    drafts: Sequence[Drafted],
    statement: Statement,
    report: BillingReport,
    *,
    now: datetime,
) -> None:
    """Write the drafts whose ground still holds, all in one transaction, and count them in the report."""
    if not drafts:
        return
    async with context.database.transaction() as session:
        holding = await still_true(session, drafts)
        if not holding:
            report.overtaken += len(drafts)
            return
        await statement.store(session, now=now)
        issued = await service.issue(
            session,
            [each.draft for each in holding],
            issuer=context.settings.issuer,
            statement_id=statement.id,
            bounds=context.bounds,
            now=now,
        )
        await record(session, holding)
    statement.stored = True
    report.overtaken += len(drafts) - len(holding)
    report.count(issued)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
