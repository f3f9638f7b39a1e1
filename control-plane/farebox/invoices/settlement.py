"""Settling invoices: what payments put on an invoice, what refunds take off, and giving one up.

Every verb locks the invoice's row, so two browsers that pay one invoice take turns, and none ever settles
more than is open: the rest is returned as `excess`, for the caller to turn into balance. Knows no provider
and no payment rows. Works in the tenant's transaction and in the worker's.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.invoices import states
from farebox.invoices.model import Invoice
from farebox.money import CurrencyError, Money
from farebox.problems import Refusal


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an amount: `applied` went to the invoice, `excess` did not; `state` is the invoice's."""

    applied: Money
    excess: Money
    state: str


async def settle(session: AsyncSession, invoice_id: UUID, amount: Money, *, at: datetime) -> Settled:
    """Put a payment on the invoice, never beyond what is open; at nothing open it is paid.

    Raises `Refusal` 404, `CurrencyError` for another currency, `ValueError` for an amount below one. A void
    invoice takes nothing: all of it is excess.
    """
    row = await _locked(session, invoice_id, amount)
    takes = row.state in states.PAY.sources
    applied = min(amount.minor, row.open_minor or 0) if takes else 0
    state = row.state
    if applied:
        is_paid = applied == row.open_minor
        state = states.after(states.PAY, row.state) if is_paid else row.state
        await session.execute(
            update(Invoice)
            .where(Invoice.id == invoice_id)
            .values(paid_minor=row.paid_minor + applied, state=state, paid_at=at if is_paid else None)
        )
    return Settled(Money(row.currency, applied), Money(row.currency, amount.minor - applied), state)


async def unsettle(session: AsyncSession, invoice_id: UUID, amount: Money, *, at: datetime) -> Settled:
    """Take a refund or a chargeback off what was paid: the invoice asks for it again, as overdue if `at` lies
    behind its due date. Never takes off more than was paid: the rest is excess. Raises as `settle` does.
    """
    row = await _locked(session, invoice_id, amount)
    applied = min(amount.minor, row.paid_minor)
    state = row.state
    if applied:
        if state in states.REOPEN.sources:
            is_late = row.due_at is not None and row.due_at <= at
            transition = states.REOPEN_LATE if is_late else states.REOPEN
            state = transition.target if state == transition.target else states.after(transition, state)
        await session.execute(
            update(Invoice)
            .where(Invoice.id == invoice_id)
            .values(paid_minor=row.paid_minor - applied, state=state, paid_at=None)
        )
    return Settled(Money(row.currency, applied), Money(row.currency, amount.minor - applied), state)


async def take_off(session: AsyncSession, invoice_id: UUID, amount: Money, *, at: datetime) -> Settled:
    """Have a credit note take off what is open, never more; at nothing open the invoice is paid. What a
    credit
    note gives back beyond that (the excess) is the caller's to refund or to turn into balance.
    """
    row = await _locked(session, invoice_id, amount)
    applied = min(amount.minor, row.open_minor or 0) if row.state in states.PAY.sources else 0
    state = row.state
    if applied:
        is_paid = applied == row.open_minor
        state = states.after(states.PAY, row.state) if is_paid else row.state
        await session.execute(
            update(Invoice)
            .where(Invoice.id == invoice_id)
            .values(credited_minor=row.credited_minor + applied, state=state, paid_at=at if is_paid else None)
        )
    return Settled(Money(row.currency, applied), Money(row.currency, amount.minor - applied), state)


async def fall_due(session: AsyncSession, invoice_id: UUID) -> None:
    """Mark an open invoice as overdue. Raises `TransitionError`, `Refusal` 404."""
    await _move(session, invoice_id, states.FALL_DUE)


async def write_off(session: AsyncSession, invoice_id: UUID) -> None:
    """Give an open invoice up; a later payment still settles it. Raises `TransitionError`, `Refusal` 404."""
    await _move(session, invoice_id, states.WRITE_OFF)


async def dispute(session: AsyncSession, invoice_id: UUID, *, at: datetime | None) -> None:
    """Note since when the customer disputes the invoice; None: no longer. Raises `Refusal` 404."""
    await _row(session, invoice_id)
    await session.execute(update(Invoice).where(Invoice.id == invoice_id).values(disputed_at=at))


async def _move(session: AsyncSession, invoice_id: UUID, transition: states.Transition) -> None:
    row = await _row(session, invoice_id)
    await session.execute(
        update(Invoice).where(Invoice.id == invoice_id).values(state=states.after(transition, row.state))
    )


async def _locked(session: AsyncSession, invoice_id: UUID, amount: Money) -> Invoice:
    if amount.minor <= 0:
        raise ValueError(f"expected an amount above zero, got {amount}")
    row = await _row(session, invoice_id)
    if row.currency != amount.currency:
        raise CurrencyError(f"cannot settle an invoice in {row.currency} with {amount.currency}")
    return row


async def _row(session: AsyncSession, invoice_id: UUID) -> Invoice:
    row = await session.scalar(
        select(Invoice)
        .where(Invoice.id == invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None or row.number is None:
        raise Refusal(problems.NOT_FOUND, log=f"no finalized invoice {invoice_id}")
    return row
