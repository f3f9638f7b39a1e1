"""Cases: opened when an invoice falls due, resolved when it asks for nothing more, paused and resumed.

The subscription follows the debts: past due with the first, suspended by a case whose time has come, and
reinstated in the very transaction in which the last such debt goes. Locks in one order: the invoice, then
the subscription, then the case; so a payment and the worker take turns. Charges nobody: that is the worker's.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import exists, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.dunning import facts
from farebox.dunning.facts import Debt
from farebox.dunning.model import DunningCase
from farebox.dunning.schedule import OWING, next_charge
from farebox.invoices import settlement
from farebox.invoices.model import Invoice
from farebox.problems import Refusal
from farebox.subscriptions import service as subscriptions
from farebox.subscriptions.model import SubscriptionTransition
from farebox.subscriptions.states import SUSPEND

ACTOR: Final = "system dunning"
DISPUTE: Final = "system dispute"
_LOCK_INVOICE: Final = text("SELECT id FROM invoices WHERE id = :invoice FOR UPDATE")
_RESOLUTIONS: Final = {"paid": "paid", "void": "void"}


def public_id(case_id: UUID) -> str:
    """Return the case's public id."""
    return ids.encode("dun", case_id)


async def lock(session: AsyncSession, invoice_id: UUID, *, wall: datetime) -> Debt | None:
    """Lock the invoice and its organization's subscription, and return the debt as it then is."""
    await session.execute(_LOCK_INVOICE, {"invoice": invoice_id})
    found = await facts.read(session, [invoice_id], wall=wall)
    if not found:
        return None
    await subscriptions.standing(session, found[0].organization_id, wall=wall)
    [debt] = await facts.read(session, [invoice_id], wall=wall)
    return debt


async def open_case(session: AsyncSession, invoice_id: UUID, *, wall: datetime) -> UUID | None:
    """Open the case of an invoice that is overdue, and mark it and the subscription so; returns the case.

    None if the invoice is not overdue (any more), was given up, or has an open case. Needs the worker's role.
    """
    seen = await facts.read(session, [invoice_id], wall=wall)
    if not any(each.is_overdue for each in seen):
        return None
    debt = await lock(session, invoice_id, wall=wall)
    if debt is None or not debt.is_overdue or debt.invoice_state not in {"finalized", "overdue"}:
        return None
    if debt.case_id is not None and debt.case_state != "resolved":
        return None
    if debt.invoice_state == "finalized":
        await settlement.fall_due(session, invoice_id)
    row = await session.get(DunningCase, debt.case_id) if debt.case_id is not None else None
    if row is None:
        row = DunningCase(
            id=ids.uuid7(), organization_id=debt.organization_id, invoice_id=invoice_id, round=1
        )
        session.add(row)
    else:
        row.round += 1
    row.state, row.resolved_at, row.resolution, row.suspended_at = "open", None, None, None
    row.opened_at = row.warned_at = debt.now
    row.since = debt.facts.since
    row.next_step, row.next_step_at, row.suspends_at = None, debt.now, None
    if debt.is_disputed:
        _pause(row, "the invoice is disputed", DISPUTE)
    await session.flush()
    if not debt.is_disputed:
        await subscriptions.mark_past_due(
            session, debt.organization_id, cause=f"invoice {debt.number} is overdue", actor=ACTOR, now=wall
        )
    return row.id


async def settled(session: AsyncSession, organization_id: UUID, *, now: datetime) -> None:
    """Resolve every case whose invoice asks for nothing more, and reinstate if nothing else forbids it.

    `now` is the wall's time. Works in the tenant's transaction and the worker's; call it in the transaction
    that settled an invoice, after it did.
    """
    unresolved = exists().where(DunningCase.organization_id == organization_id, UNRESOLVED)
    if not await session.scalar(select(unresolved)):
        return
    stands = await subscriptions.standing(session, organization_id, wall=now)
    rows = await session.execute(
        select(DunningCase, Invoice.state, Invoice.number)
        .join(Invoice, Invoice.id == DunningCase.invoice_id)
        .where(
            DunningCase.organization_id == organization_id,
            UNRESOLVED,
            (Invoice.open_minor == 0) | Invoice.state.not_in(OWING),
        )
        .with_for_update(of=DunningCase)
        .execution_options(populate_existing=True)
    )
    numbers = []
    for case, state, number in rows.all():
        case.state, case.resolved_at = "resolved", stands.now
        case.resolution = _RESOLUTIONS.get(state, "settled")
        case.paused_because = case.paused_by = case.suspended_at = None
        case.next_step = case.next_step_at = case.suspends_at = None
        numbers.append(number or "")
    await session.flush()
    if numbers:
        said = f"settled: {', '.join(sorted(numbers))}"
        await restore(session, organization_id, cause=said, wall=now)


UNRESOLVED: Final = DunningCase.state != "resolved"


async def restore(session: AsyncSession, organization_id: UUID, *, cause: str, wall: datetime) -> None:
    """Put the subscription where the debts leave it: served, past due, or as it is.

    What an operator suspended stays suspended.
    """
    stands = await subscriptions.standing(session, organization_id, wall=wall)
    state = stands.running.subscription.state
    if state not in {"past_due", "suspended"}:
        return
    cases = list(
        await session.scalars(
            select(DunningCase)
            .where(DunningCase.organization_id == organization_id, UNRESOLVED)
            .execution_options(populate_existing=True)
        )
    )
    late = any(case.paused_by != DISPUTE for case in cases)
    if state == "past_due" and late:
        return
    if state == "suspended" and (
        any(case.suspended_at is not None for case in cases)
        or await _suspended_by(session, organization_id) != ACTOR
    ):
        return
    await subscriptions.reinstate(session, organization_id, cause=cause, actor=ACTOR, now=wall)
    if late:
        await subscriptions.mark_past_due(
            session, organization_id, cause="other invoices are overdue", actor=ACTOR, now=wall
        )


async def _suspended_by(session: AsyncSession, organization_id: UUID) -> str | None:
    return await session.scalar(
        select(SubscriptionTransition.actor)
        .where(
            SubscriptionTransition.organization_id == organization_id,
            SubscriptionTransition.transition == SUSPEND.name,
        )
        .order_by(SubscriptionTransition.at.desc(), SubscriptionTransition.id.desc())
        .limit(1)
    )


async def pause(session: AsyncSession, case_id: UUID, *, because: str, actor: str, wall: datetime) -> None:
    """Do nothing more about the invoice until it is resumed; what it kept from its organization it gives
    back. Raises `Refusal` 404, 409 for a case that is resolved or paused.
    """
    case, _ = await _locked(session, case_id, wall=wall)
    if case.state not in {"open", "exhausted"}:
        raise Refusal(problems.DUNNING_STATE, f"The case is {case.state}; it cannot be paused.")
    _pause(case, because, actor)
    await session.flush()
    await restore(session, case.organization_id, cause=f"dunning paused: {because}", wall=wall)


async def resume(session: AsyncSession, case_id: UUID, *, wall: datetime) -> None:
    """Go on with a paused case; the grace begins anew. Raises `Refusal` 404, 409 if it is not paused."""
    case, debt = await _locked(session, case_id, wall=wall)
    if case.state != "paused":
        raise Refusal(problems.DUNNING_STATE, f"The case is {case.state}; only a paused one is resumed.")
    case.state, case.paused_because, case.paused_by = "open", None, None
    case.warned_at = case.next_step_at = debt.now
    await session.flush()
    if debt.is_overdue:
        await subscriptions.mark_past_due(
            session, case.organization_id, cause=f"invoice {debt.number} is overdue", actor=ACTOR, now=wall
        )


async def heed_dispute(session: AsyncSession, case_id: UUID, *, wall: datetime) -> None:
    """Pause a case whose invoice is disputed, resume one whose dispute is over. Safe to do again."""
    case, debt = await _locked(session, case_id, wall=wall)
    if debt.is_disputed and case.state in {"open", "exhausted"}:
        await pause(session, case_id, because="the invoice is disputed", actor=DISPUTE, wall=wall)
    elif not debt.is_disputed and case.state == "paused" and case.paused_by == DISPUTE:
        await resume(session, case_id, wall=wall)


async def next_attempt_at(session: AsyncSession, invoice_id: UUID | None, *, wall: datetime) -> str | None:
    """Return when an invoice's card is charged next after an attempt at `wall` that failed, RFC 3339 in the
    organization's time; None: not by itself.
    """
    found = await facts.read(session, [invoice_id], wall=wall) if invoice_id is not None else []
    if not found:
        return None
    at = next_charge(found[0].policy, found[0].facts, found[0].now)
    return None if at is None or found[0].due_at is None else at.isoformat()


def _pause(case: DunningCase, because: str, actor: str) -> None:
    case.state, case.paused_because, case.paused_by = "paused", because[:500], actor[:100]
    case.suspended_at = case.next_step = case.next_step_at = case.suspends_at = None


async def _locked(session: AsyncSession, case_id: UUID, *, wall: datetime) -> tuple[DunningCase, Debt]:
    invoice_id = await session.scalar(select(DunningCase.invoice_id).where(DunningCase.id == case_id))
    debt = None if invoice_id is None else await lock(session, invoice_id, wall=wall)
    case = await session.scalar(
        select(DunningCase)
        .where(DunningCase.id == case_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if case is None or debt is None:
        raise Refusal(problems.NOT_FOUND)
    return case, debt
