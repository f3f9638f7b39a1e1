"""The verbs of credit notes: issue one, show, list.

One transaction issues: it locks the invoice, inverts, takes the number, and moves the amount. First it takes
off what is open. What was paid with money goes to the balance or back to where it came from, what was paid
with credits returns to them. Works in an operator's transaction within the tenant, and in the worker's.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.credit_notes import numbers, places
from farebox.credit_notes.inverting import CreditError, Inverted, Line, Tax, invert
from farebox.credit_notes.model import CreditNote, CreditNoteLine, CreditNoteRefund, CreditNoteTax
from farebox.dunning import service as dunning
from farebox.invoices import acts, events
from farebox.invoices.model import Invoice, InvoiceLine, InvoiceTax
from farebox.money import Money
from farebox.outbox import CREDIT_NOTE_REFUND, enqueue
from farebox.problems import Refusal

Excess = Literal["balance", "refund"]
CREDITABLE: Final = ("finalized", "overdue", "paid", "uncollectible")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to credit: `lines` by position with their amounts (minor units without sign; None: the whole
    line), or None: all that is left. `excess`: where money that was paid already goes.
    """

    reason: str
    lines: Mapping[int, int | None] | None = None
    excess: Excess = "balance"


@dataclass(frozen=True, slots=True)
class NoteLine:
    """A line of a credit note, with the invoice's."""

    line: InvoiceLine
    amount: Money


@dataclass(frozen=True, slots=True)
class NoteTax:
    """A tax of a credit note, with the invoice's."""

    tax: InvoiceTax
    base: Money
    amount: Money


@dataclass(frozen=True, slots=True)
class NoteView:
    """A credit note with the invoice that it credits. Amounts are below zero."""

    note: CreditNote
    invoice: Invoice
    lines: tuple[NoteLine, ...] = ()
    taxes: tuple[NoteTax, ...] = ()
    refunds: tuple[CreditNoteRefund, ...] = ()

    @property
    def public_id(self) -> str:
        """The id as others see it."""
        return public_id(self.note.id)

    def money(self, minor: int) -> Money:
        """Return an amount in the note's currency."""
        return Money(self.note.currency, minor)


def public_id(note_id: UUID) -> str:
    """Return the credit note's public id."""
    return ids.encode("cn", note_id)


async def issue(
    session: AsyncSession, invoice_id: UUID, wanted: Wanted, *, actor: str, now: datetime
) -> NoteView:
    """Issue a credit note. Raises `Refusal`: 404, 409 where nothing or less than that is left to credit."""
    invoice = await acts.locked(session, invoice_id)
    if invoice.state not in CREDITABLE:
        raise Refusal(
            problems.INVOICE_STATE,
            f"An invoice that is {invoice.state} cannot be credited.",
            details={"state": invoice.state},
        )
    lines, taxes = await _parts(session, invoice_id)
    inverted = _inverted(invoice, lines, taxes, await _before(session, invoice_id), wanted)
    amount = Money(invoice.currency, -inverted.total)
    placed = await places.place(session, invoice, amount, refund=wanted.excess == "refund", now=now)
    note = CreditNote(
        id=ids.uuid7(),
        organization_id=invoice.organization_id,
        invoice_id=invoice_id,
        issuer=invoice.issuer,
        number=await numbers.take(session, invoice.issuer),
        currency=invoice.currency,
        reason=wanted.reason,
        subtotal_minor=inverted.subtotal,
        tax_minor=inverted.tax,
        total_minor=inverted.total,
        taken_off_minor=placed.taken_off,
        returned_minor=placed.returned,
        balance_minor=placed.balance,
        refund_minor=placed.refund,
        actor=actor,
        issued_at=now,
    )
    session.add(note)
    await session.flush()
    await _write_parts(session, note, lines, taxes, inverted)
    await _follow(session, invoice, note, placed, now=now)
    return await show(session, note.id)


async def show(session: AsyncSession, note_id: UUID) -> NoteView:
    """Return one credit note with its parts. Raises `Refusal` 404 if this session can see none."""
    note = await session.get(CreditNote, note_id)
    if note is None:
        raise Refusal(problems.NOT_FOUND, log=f"no credit note {note_id}")
    invoice = await session.get_one(Invoice, note.invoice_id, populate_existing=True)
    lines = await session.execute(
        select(InvoiceLine, CreditNoteLine.amount_minor)
        .join(CreditNoteLine, CreditNoteLine.invoice_line_id == InvoiceLine.id)
        .where(CreditNoteLine.credit_note_id == note_id)
        .order_by(CreditNoteLine.position)
    )
    taxes = await session.execute(
        select(InvoiceTax, CreditNoteTax.base_minor, CreditNoteTax.amount_minor)
        .join(CreditNoteTax, CreditNoteTax.invoice_tax_id == InvoiceTax.id)
        .where(CreditNoteTax.credit_note_id == note_id)
        .order_by(CreditNoteTax.position)
    )
    refunds = await session.scalars(
        select(CreditNoteRefund)
        .where(CreditNoteRefund.credit_note_id == note_id)
        .order_by(CreditNoteRefund.payment_id)
        .execution_options(populate_existing=True)
    )

    def money(minor: int) -> Money:
        return Money(note.currency, minor)

    return NoteView(
        note,
        invoice,
        tuple(NoteLine(line, money(minor)) for line, minor in lines),
        tuple(NoteTax(tax, money(base), money(minor)) for tax, base, minor in taxes),
        tuple(refunds),
    )


async def find(session: AsyncSession, name: str) -> NoteView:
    """Return one credit note by its number or its public id. Raises `Refusal` 404."""
    try:
        note_id = ids.decode("cn", name)
    except ids.MalformedIdError:
        found = await session.scalar(select(CreditNote.id).where(CreditNote.number == name))
        if found is None:
            raise Refusal(problems.NOT_FOUND, f"There is no credit note {name!r}.") from None
        note_id = found
    return await show(session, note_id)


async def of_invoice(session: AsyncSession, invoice_id: UUID) -> Sequence[CreditNote]:
    """Return an invoice's credit notes, the oldest first."""
    found = await session.scalars(
        select(CreditNote).where(CreditNote.invoice_id == invoice_id).order_by(CreditNote.id)
    )
    return found.all()


def _inverted(
    invoice: Invoice,
    lines: Sequence[InvoiceLine],
    taxes: Sequence[InvoiceTax],
    before: Sequence[Inverted],
    wanted: Wanted,
) -> Inverted:
    try:
        return invert(
            [Line(each.position, each.amount_minor, each.kind == "included_tax") for each in lines],
            [Tax(each.position, each.amount_minor, each.inclusive) for each in taxes],
            before,
            wanted.lines,
        )
    except CreditError as error:
        where = {} if error.position is None else {"line": error.position}
        said = str(error) if error.position is None else f"line {error.position} {error}"
        raise Refusal(
            problems.NOT_CREDITABLE,
            f"{said[0].upper()}{said[1:]}.",
            details=where | {"left": str(Money(invoice.currency, error.left))},
        ) from error


async def _parts(
    session: AsyncSession, invoice_id: UUID
) -> tuple[Sequence[InvoiceLine], Sequence[InvoiceTax]]:
    lines = await session.scalars(
        select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
    )
    taxes = await session.scalars(
        select(InvoiceTax).where(InvoiceTax.invoice_id == invoice_id).order_by(InvoiceTax.position)
    )
    return lines.all(), taxes.all()


async def _before(session: AsyncSession, invoice_id: UUID) -> list[Inverted]:
    lines: defaultdict[UUID, dict[int, int]] = defaultdict(dict)
    taxes: defaultdict[UUID, dict[int, int]] = defaultdict(dict)
    for model, found in ((CreditNoteLine, lines), (CreditNoteTax, taxes)):
        rows = await session.execute(
            select(model.credit_note_id, model.position, model.amount_minor)
            .join(CreditNote, CreditNote.id == model.credit_note_id)
            .where(CreditNote.invoice_id == invoice_id)
        )
        for note_id, position, minor in rows:
            found[note_id][position] = minor
    return [Inverted(lines[note_id], taxes[note_id]) for note_id in lines]


async def _write_parts(
    session: AsyncSession,
    note: CreditNote,
    lines: Sequence[InvoiceLine],
    taxes: Sequence[InvoiceTax],
    inverted: Inverted,
) -> None:
    of_note: dict[str, Any] = {"organization_id": note.organization_id, "credit_note_id": note.id}
    line_rows = [
        of_note
        | {
            "id": ids.uuid7(),
            "invoice_line_id": line.id,
            "position": line.position,
            "amount_minor": inverted.lines[line.position],
        }
        for line in lines
        if line.position in inverted.lines
    ]
    await session.execute(insert(CreditNoteLine), line_rows)
    tax_rows = [
        of_note
        | {
            "id": ids.uuid7(),
            "invoice_tax_id": tax.id,
            "position": tax.position,
            "base_minor": inverted.subtotal,
            "amount_minor": inverted.taxes[tax.position],
        }
        for tax in taxes
    ]
    if tax_rows:
        await session.execute(insert(CreditNoteTax), tax_rows)


async def _follow(
    session: AsyncSession, invoice: Invoice, note: CreditNote, placed: places.Placed, *, now: datetime
) -> None:
    if placed.balance:
        await places.give_balance(session, note, placed.balance, now=now)
    for payment_id, minor in placed.payments.items():
        session.add(
            CreditNoteRefund(
                credit_note_id=note.id,
                payment_id=payment_id,
                organization_id=note.organization_id,
                amount_minor=minor,
                state="planned",
                updated_at=now,
            )
        )
    await session.flush()
    if placed.payments:
        payload = {"credit_note": public_id(note.id)}
        await enqueue(session, CREDIT_NOTE_REFUND, organization=note.organization_id, payload=payload)
    await dunning.settled(session, note.organization_id, now=now)
    detail = {"credit_note": note.number, "total_minor": note.total_minor}
    await events.note(
        session, invoice, "credit", actor=note.actor, reason=note.reason, detail=detail, now=now
    )
