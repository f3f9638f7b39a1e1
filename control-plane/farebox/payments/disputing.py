"""Chargebacks: what is taken back comes off the invoices, and a disputed invoice is not dunned."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids
from farebox.invoices import settlement
from farebox.money import Money
from farebox.payments import ledger
from farebox.payments.model import Dispute, Payment, PaymentAllocation
from farebox.payments.provider import SeenDispute


async def record(session: AsyncSession, payment: Payment, seen: SeenDispute, *, now: datetime) -> Dispute:
    """Write down a dispute as it is, and move the money that the provider took or gave since we last looked.

    Needs the worker's role. Safe to do again and in any order: only the difference is moved.
    """
    payment = await ledger.locked(session, payment.id)
    row = await session.scalar(
        select(Dispute).where(Dispute.provider == payment.provider, Dispute.provider_id == seen.provider_id)
    )
    if row is None:
        row = Dispute(
            id=ids.uuid7(),
            organization_id=payment.organization_id,
            payment_id=payment.id,
            provider=payment.provider,
            provider_id=seen.provider_id,
            amount_minor=seen.amount.minor,
            withdrawn_minor=0,
            currency=seen.amount.currency,
            reason=seen.reason,
            state="open",
            opened_at=seen.created_at,
        )
        session.add(row)
        await session.flush()
    if row.state != "open" and seen.state == "open":
        return row
    moved = Money(payment.currency, seen.withdrawn.minor - row.withdrawn_minor)
    if moved.minor > 0:
        out = await ledger.reverse(session, payment, moved, reopens=True, now=now)
        if out.short.minor:
            why = f"dispute {seen.provider_id}: {out.short} of the balance was spent already"
            await ledger.park(session, payment, why, now)
    elif moved.minor < 0:
        await ledger.restore(session, payment, -moved, reopened=True, now=now)
    row.withdrawn_minor, row.state = seen.withdrawn.minor, seen.state
    row.closed_at = None if seen.state == "open" else row.closed_at or now
    await session.flush()
    invoices = await session.scalars(
        select(PaymentAllocation.invoice_id)
        .where(PaymentAllocation.payment_id == payment.id, PaymentAllocation.invoice_id.is_not(None))
        .distinct()
    )
    for invoice_id in invoices.all():
        if invoice_id is not None:
            at = seen.created_at if seen.state == "open" else None
            await settlement.dispute(session, invoice_id, at=at)
    return row
