"""Reconciliation: everything that a provider has of a window, beside everything that we have of it.

Webhooks may be lost after a 200, so the provider's own lists decide. A state that we missed is repaired by
recording what is there; what nobody can explain is parked for a person. Every run leaves a report.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from farebox import ids
from farebox.money import Money
from farebox.payments.accounts import Till
from farebox.payments.comparing import Difference, Entry, differences, shown
from farebox.payments.model import Dispute, Payment, ReconciliationReport, Refund
from farebox.payments.provider import Provider, Seen, SeenDispute, SeenRefund
from farebox.problems import Refusal
from farebox_worker.payments import events, looking
from farebox_worker.payments.events import ParkedError

DAY: Final = timedelta(days=1)
SETTLING: Final = timedelta(minutes=10)
"""How long after a day's end its last objects may still be on their way here."""
_ON_ITS_WAY: Final = timedelta(minutes=1)
"""What is placed here just before the end may be made at the provider just after it."""
_NOT_READ: Final = {
    "kind": "dispute", "name": "", "fault": "not_read", "ours": None, "theirs": None,
    "done": "not read: this provider's disputes are handled in its dashboard",
}  # fmt: skip
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What one comparison found: `differences` as `comparing.shown` shows them."""

    provider: str
    start: datetime
    end: datetime
    compared: int
    repaired: int
    parked: int
    differences: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Theirs:
    payments: dict[str, Seen]
    refunds: dict[str, SeenRefund]
    disputes: dict[str, SeenDispute]

    def entries(self) -> list[Entry]:
        return [
            *(Entry("payment", n, s.amount, _coarse(s.state)) for n, s in self.payments.items()),
            *(Entry("refund", n, s.amount, s.state) for n, s in self.refunds.items()),
            *(Entry("dispute", n, s.amount, s.state) for n, s in self.disputes.items()),
        ]


def _coarse(state: str) -> str:
    """An attempt that brought no money is alike, whether it failed, was given up or still waits."""
    return state if state in {"succeeded", "processing"} else "no money"


async def due(till: Till) -> list[Report]:
    """Reconcile yesterday (in UTC) with each provider, if that was not done yet."""
    end = (till.now() - SETTLING).replace(hour=0, minute=0, second=0, microsecond=0)
    reports = []
    for provider in till.providers.switched_on:
        async with till.database.transaction() as session:
            done = await session.scalar(
                select(ReconciliationReport.id).where(
                    ReconciliationReport.provider == provider.name,
                    ReconciliationReport.window_start == end - DAY,
                    ReconciliationReport.window_end == end,
                )
            )
        if done is None:
            reports.append(await reconcile(till, provider, end - DAY, end))
    return reports


async def reconcile(till: Till, provider: Provider, start: datetime, end: datetime) -> Report:
    """Compare a window both ways, repair what is safe, and write the report."""
    if provider.name == "stripe":
        await looking.look_at_all(till)
    theirs = await _theirs(provider, start, end)
    ours = await _ours(till, provider.name, start, end, theirs)
    here = {each.name for each in ours}
    nobodys = {
        name for name, seen in theirs.payments.items()
        if name not in here and seen.payment is None and _coarse(seen.state) == "no money"
    }  # fmt: skip
    found = differences(ours, [each for each in theirs.entries() if each.name not in nobodys])
    written: list[dict[str, Any]] = [
        dict(shown(each, await _settle(till, provider.name, each, theirs))) for each in found
    ]
    report = Report(
        provider=provider.name,
        start=start,
        end=end,
        compared=len(theirs.entries()),
        repaired=sum(each["done"] == "repaired" for each in written),
        parked=sum(each["done"] != "repaired" for each in written),
        differences=written if provider.reads_disputes else [*written, dict(_NOT_READ)],
    )
    await _keep(till, report)
    log.info("reconciled", provider=provider.name, compared=report.compared, parked=report.parked)
    return report


async def _theirs(provider: Provider, start: datetime, end: datetime) -> _Theirs:
    """List what is there. What is not ours (no id of ours and no row) is left out later, by `_ours`."""
    return _Theirs(
        {each.provider_id: each async for each in provider.payments(start, end)},
        {each.provider_id: each async for each in provider.refunds(start, end)},
        {each.provider_id: each async for each in provider.disputes(start, end)},
    )


async def _ours(till: Till, provider: str, start: datetime, end: datetime, theirs: _Theirs) -> list[Entry]:
    async with till.database.transaction() as session:
        payments = await session.scalars(
            select(Payment).where(
                Payment.provider == provider,
                Payment.provider_id.is_not(None),
                Payment.provider_id.in_(list(theirs.payments))
                | ((Payment.created_at >= start) & (Payment.created_at < end - _ON_ITS_WAY)),
            )
        )
        entries = [
            Entry("payment", row.provider_id or "", Money(row.currency, row.amount_minor), _coarse(row.state))
            for row in payments
        ]
        refunds = await session.scalars(
            select(Refund).where(
                Refund.provider == provider,
                Refund.provider_id.is_not(None),
                Refund.provider_id.in_(list(theirs.refunds))
                | ((Refund.created_at >= start) & (Refund.created_at < end - _ON_ITS_WAY)),
            )
        )
        entries += [
            Entry("refund", row.provider_id or "", Money(row.currency, row.amount_minor), row.state)
            for row in refunds
        ]
        disputes = await session.scalars(
            select(Dispute).where(
                Dispute.provider == provider,
                Dispute.provider_id.in_(list(theirs.disputes))
                | ((Dispute.opened_at >= start) & (Dispute.opened_at < end)),
            )
        )
        entries += [
            Entry("dispute", row.provider_id, Money(row.currency, row.amount_minor), row.state)
            for row in disputes
        ]
    return entries


async def _settle(till: Till, provider: str, difference: Difference, theirs: _Theirs) -> str:
    """Record what is there, if it is ours and says the same amount; return what was done."""
    if difference.fault == "missing_there":
        return "parked: the provider has nothing of it"
    try:
        outcome = await _record(till, provider, difference, theirs)
    except (ParkedError, Refusal) as error:
        return f"parked: {error}"[:300]
    if difference.fault == "amount":
        return "parked: the amounts differ"
    return "repaired" if outcome == "done" else "parked: it names no payment of ours"


async def _record(till: Till, provider: str, difference: Difference, theirs: _Theirs) -> str:
    if difference.kind == "payment":
        return await events.take(till, provider, theirs.payments[difference.name])
    if difference.kind == "refund":
        return await events.take_refund(till, provider, theirs.refunds[difference.name])
    return await events.take_dispute(till, provider, theirs.disputes[difference.name])


async def _keep(till: Till, report: Report) -> None:
    values = {
        "compared": report.compared,
        "repaired": report.repaired,
        "parked": report.parked,
        "differences": report.differences,
        "created_at": till.now(),
    }
    async with till.database.transaction() as session:
        await session.execute(
            insert(ReconciliationReport)
            .values(
                id=ids.uuid7(),
                provider=report.provider,
                window_start=report.start,
                window_end=report.end,
                **values,
            )
            .on_conflict_do_update(index_elements=["provider", "window_start", "window_end"], set_=values)
        )


def day(text: str) -> tuple[datetime, datetime]:
    """Return the bounds of a day in UTC, such as 2026-11-20. Raises `ValueError`."""
    start = datetime.combine(datetime.fromisoformat(text).date(), datetime.min.time(), tzinfo=UTC)
    return start, start + DAY
