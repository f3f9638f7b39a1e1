"""Making the refunds that a credit note planned: outside any transaction, as often as it takes.

Each refund is asked for under a key of its own, so asking again never pays twice. One that the provider
refuses, or that is no longer possible, becomes balance: what a credit note promised arrives either way.
"""

from uuid import UUID

from sqlalchemy import select, update

from farebox import problems
from farebox.credit_notes import places
from farebox.credit_notes.model import CreditNote, CreditNoteRefund
from farebox.credit_notes.service import public_id
from farebox.money import Money
from farebox.payments import service as payments
from farebox.payments.accounts import Till
from farebox.payments.ledger import public_id as payment_public_id
from farebox.payments.model import Refund
from farebox.problems import Refusal


class RefundUnderWayError(RuntimeError):
    """The provider has not said yet what became of a refund: ask again later."""


async def carry_out(till: Till, organization_id: UUID, note_id: UUID) -> None:
    """Make what is still planned. Raises `RefundUnderWayError` while any outcome is open."""
    async with till.database.transaction(organization=organization_id) as session:
        note = await session.get_one(CreditNote, note_id)
        planned = await session.scalars(
            select(CreditNoteRefund).where(
                CreditNoteRefund.credit_note_id == note_id, CreditNoteRefund.state == "planned"
            )
        )
        rows = planned.all()
    under_way = 0
    for row in rows:
        refund = await _ask(till, note, row)
        if refund is not None and refund.state in {"created", "processing"}:
            under_way += 1
            continue
        await _record(till, note, row, refund)
    if under_way:
        raise RefundUnderWayError(f"{note.number}: {under_way} refunds are under way")


async def _ask(till: Till, note: CreditNote, row: CreditNoteRefund) -> Refund | None:
    try:
        return await payments.refund(
            till,
            note.organization_id,
            row.payment_id,
            amount=Money(note.currency, row.amount_minor),
            reason=f"Credit note {note.number}",
            reopens=False,
            actor=note.actor,
            request_key=f"{public_id(note.id)} {payment_public_id(row.payment_id)}",
        )
    except Refusal as refusal:
        if refusal.problem is problems.NOT_REFUNDABLE:
            return None
        raise


async def _record(till: Till, note: CreditNote, row: CreditNoteRefund, refund: Refund | None) -> None:
    is_made = refund is not None and refund.state == "succeeded"
    now = till.now()
    async with till.database.transaction(organization=note.organization_id) as session:
        moved = await session.scalar(
            update(CreditNoteRefund)
            .where(
                CreditNoteRefund.credit_note_id == note.id,
                CreditNoteRefund.payment_id == row.payment_id,
                CreditNoteRefund.state == "planned",
            )
            .values(
                state="refunded" if is_made else "balance",
                refund_id=None if refund is None else refund.id,
                updated_at=now,
            )
            .returning(CreditNoteRefund.payment_id)
        )
        if moved is not None and not is_made:
            await places.give_balance(session, note, row.amount_minor, now=now)
