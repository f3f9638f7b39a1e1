"""Where the amount of a credit note goes: off what is open, then back to the money and credits that had paid.

A refund is planned here and made later, outside the transaction (`farebox.credit_notes.refunding`); what
cannot be refunded becomes balance. A payment whose money also became balance is not refunded by a credit
note, because its refund would take that balance first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids
from farebox.credit_notes.model import CreditNote
from farebox.credits import service as credits_
from farebox.credits.model import CreditEntry
from farebox.invoices import settlement
from farebox.invoices.model import Invoice
from farebox.money import Money

_PAYMENTS: Final = text(
    """
    SELECT p.id, least(
        (SELECT COALESCE(sum(a.amount_minor - a.reversed_minor), 0) FROM payment_allocations a
         WHERE a.payment_id = p.id AND a.invoice_id = :invoice),
        p.amount_minor - p.refunded_minor
        - (SELECT COALESCE(sum(r.amount_minor), 0) FROM credit_note_refunds r
           WHERE r.payment_id = p.id AND r.state = 'planned'))::bigint AS minor
    FROM payments p
    WHERE p.state = 'succeeded'
      AND EXISTS (SELECT FROM payment_allocations a WHERE a.payment_id = p.id AND a.invoice_id = :invoice)
      AND NOT EXISTS (SELECT FROM payment_allocations a WHERE a.payment_id = p.id AND a.grant_id IS NOT NULL
                      AND a.reversed_minor < a.amount_minor)
    ORDER BY p.succeeded_at DESC, p.id DESC
    """
)
_BURNT: Final = text(
    """
    SELECT e.grant_id, -sum(e.amount_minor)::bigint AS minor FROM credit_entries e
    JOIN credit_grants g ON g.id = e.grant_id
    WHERE e.invoice_id = :invoice GROUP BY e.grant_id, g.expires_at, g.granted_at
    HAVING sum(e.amount_minor) < 0 ORDER BY g.expires_at DESC NULLS FIRST, g.granted_at DESC, e.grant_id
    """
)


@dataclass(frozen=True, slots=True)
class Placed:
    """Minor units above zero; `payments` are the refunds that are planned."""

    taken_off: int
    returned: int
    balance: int
    payments: Mapping[UUID, int] = field(default_factory=dict)

    @property
    def refund(self) -> int:
        """What is to be refunded in all."""
        return sum(self.payments.values())


async def place(
    session: AsyncSession, invoice: Invoice, amount: Money, *, refund: bool, now: datetime
) -> Placed:
    """Move the amount; the invoice is locked, and its notes before are written. The balance is only named:
    it is given once the note has its number.
    """
    settled = await settlement.take_off(session, invoice.id, amount, at=now)
    excess = settled.excess.minor
    given = await session.scalar(
        select(func.coalesce(func.sum(CreditNote.balance_minor + CreditNote.refund_minor), 0)).where(
            CreditNote.invoice_id == invoice.id
        )
    )
    cash = min(excess, max(0, invoice.paid_minor - int(given or 0)))
    returned = await _return(session, invoice, excess - cash, now=now)
    # What neither money nor credits explain was paid and refunded since: it is the customer's.
    cash = excess - returned
    payments = await _payments(session, invoice, cash) if refund else {}
    balance = cash - sum(payments.values())
    return Placed(settled.applied.minor, returned, balance, payments)


async def give_balance(session: AsyncSession, note: CreditNote, minor: int, *, now: datetime) -> None:
    """Add to the organization's balance what a note gives back."""
    await credits_.grant(
        session,
        note.organization_id,
        kind="balance",
        amount=Money(note.currency, minor),
        expires_at=None,
        source=f"credit note {note.number}"[:200],
        now=now,
    )


async def _payments(session: AsyncSession, invoice: Invoice, minor: int) -> dict[UUID, int]:
    planned: dict[UUID, int] = {}
    for row in await session.execute(_PAYMENTS, {"invoice": invoice.id}):
        part = min(minor, max(0, row.minor))
        if part:
            planned[row.id] = part
            minor -= part
    return planned


async def _return(session: AsyncSession, invoice: Invoice, minor: int, *, now: datetime) -> int:
    """Return credits to the grants that paid, the last burnt first; what has expired expires again."""
    entries: list[dict[str, Any]] = []
    left = minor
    for row in await session.execute(_BURNT, {"invoice": invoice.id}):
        part = min(left, row.minor)
        if part:
            entries.append(
                {
                    "id": ids.uuid7(),
                    "organization_id": invoice.organization_id,
                    "grant_id": row.grant_id,
                    "kind": "return",
                    "amount_minor": part,
                    "invoice_id": invoice.id,
                    "at": now,
                }
            )
            left -= part
    if entries:
        await session.execute(insert(CreditEntry), entries)
    return minor - left
