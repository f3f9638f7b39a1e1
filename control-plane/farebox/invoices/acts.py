"""What a person does to an invoice that was issued: void it, give it up, ask for it again.

Each act locks the invoice, asks the states whether it may be done, and is written down with who and why.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.credits import service as credits_
from farebox.dunning import service as dunning
from farebox.invoices import events, states
from farebox.invoices.model import Invoice
from farebox.problems import Refusal


async def void(session: AsyncSession, invoice_id: UUID, *, actor: str, reason: str, now: datetime) -> Invoice:
    """Declare an unpaid invoice void: it keeps its number and sums, asks for nothing, and gives back the
    credits that it used. Raises `Refusal` 404, or 409 once money or a credit note has met it.
    """
    row = await locked(session, invoice_id)
    _allow(states.VOID, row)
    if row.paid_minor or row.credited_minor:
        raise Refusal(
            problems.INVOICE_STATE,
            "Something of this invoice was paid or credited; issue a credit note for what is left.",
            details={"state": row.state},
        )
    if row.total_minor < 0:
        raise Refusal(
            problems.INVOICE_STATE,
            "This invoice gave balance, which may be spent; it cannot be void.",
            details={"state": row.state},
        )
    returned = await credits_.give_back(session, row.organization_id, row.id, now=now)
    await _move(session, row, states.VOID.target)
    await dunning.settled(session, row.organization_id, now=now)
    await events.note(
        session, row, "void", actor=actor, reason=reason, detail={"credits_returned_minor": returned}, now=now
    )
    return row


async def write_off(
    session: AsyncSession, invoice_id: UUID, *, actor: str, reason: str, now: datetime
) -> Invoice:
    """Give an open invoice up; a later payment still settles it. Raises `Refusal` 404, 409."""
    row = await locked(session, invoice_id)
    _allow(states.WRITE_OFF, row)
    await _move(session, row, states.WRITE_OFF.target)
    detail = {"open_minor": row.open_minor or 0}
    await events.note(session, row, "write_off", actor=actor, reason=reason, detail=detail, now=now)
    return row


async def reopen(
    session: AsyncSession, invoice_id: UUID, *, actor: str, reason: str, now: datetime
) -> Invoice:
    """Ask again for what was given up; overdue if its date has passed. Raises `Refusal` 404, 409."""
    row = await locked(session, invoice_id)
    if row.state != "uncollectible":
        raise Refusal(
            problems.INVOICE_STATE,
            f"Only an uncollectible invoice can be reopened; this one is {row.state}.",
            details={"state": row.state},
        )
    is_late = row.due_at is not None and row.due_at <= now
    await _move(session, row, states.after(states.REOPEN_LATE if is_late else states.REOPEN, row.state))
    await events.note(session, row, "reopen", actor=actor, reason=reason, detail={}, now=now)
    return row


async def locked(session: AsyncSession, invoice_id: UUID) -> Invoice:
    """Return an issued invoice, locked for the transaction. Raises `Refusal` 404."""
    row = await session.scalar(
        select(Invoice)
        .where(Invoice.id == invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None or row.number is None:
        raise Refusal(problems.NOT_FOUND, log=f"no finalized invoice {invoice_id}")
    return row


def _allow(transition: states.Transition, row: Invoice) -> None:
    try:
        states.after(transition, row.state)
    except states.TransitionError as error:
        raise Refusal(
            problems.INVOICE_STATE, f"{error}."[0].upper() + f"{error}."[1:], details={"state": row.state}
        ) from error


async def _move(session: AsyncSession, row: Invoice, state: states.State) -> None:
    await session.execute(update(Invoice).where(Invoice.id == row.id).values(state=state))
    await session.refresh(row)
