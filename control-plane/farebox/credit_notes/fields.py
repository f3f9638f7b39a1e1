"""How credit notes are asked for and shown."""

from typing import Annotated, Any, Literal

from pydantic import Field

from farebox.billing.fields import MoneyView, money
from farebox.credit_notes.exporting import export
from farebox.credit_notes.model import CreditNote
from farebox.credit_notes.service import Excess, NoteView, Wanted, public_id
from farebox.fields import Input, Instant, Line, View
from farebox.ids import encode
from farebox.money import Money
from farebox.payments.fields import Amount, read_amount
from farebox.problems import Refusal
from farebox.web import invalid


class CreditLineInput(Input):
    """A line to credit."""

    position: Annotated[int, Field(ge=1, le=10_000)]
    amount: Annotated[
        Amount | None, Field(description="Without sign, before tax; left out: all that is left of the line.")
    ] = None


class CreditNoteInput(Input):
    """What to credit: all that is left of the invoice, or lines of it."""

    reason: Annotated[Line, Field(description="Stands on the paper.", examples=["Outage on 3 May"])]
    lines: Annotated[
        Annotated[list[CreditLineInput], Field(min_length=1, max_length=200)] | None,
        Field(description="Left out: everything.", examples=[None]),
    ] = None
    excess: Annotated[Excess, Field(description="What was paid already: kept as balance, or refunded.")] = (
        "balance"
    )


class CreditNoteEntry(View):
    """A credit note in a list."""

    id: Annotated[str, Field(examples=["cn_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    number: Annotated[str, Field(examples=["FB-CN-000001"])]
    invoice_id: str
    reason: str
    subtotal: MoneyView
    tax: MoneyView
    total: Annotated[MoneyView, Field(description="Below zero: an invoice and its notes sum up.")]
    issued_at: Instant


class CreditNoteRefundView(View):
    """A refund that a credit note asked for."""

    payment_id: str
    amount: MoneyView
    state: Annotated[
        Literal["planned", "refunded", "balance"], Field(description="`balance`: it could not be made.")
    ]


class CreditNoteView(CreditNoteEntry):
    """A credit note with what it takes back, and where that went."""

    taken_off: Annotated[MoneyView, Field(description="Of what was open.")]
    returned: Annotated[MoneyView, Field(description="To the credits that had paid.")]
    balance: MoneyView
    refund: MoneyView
    refunds: list[CreditNoteRefundView]
    document: Annotated[dict[str, Any], Field(description="The note as JSON, lines and taxes among it.")]


def wanted(given: CreditNoteInput, currency: str) -> Wanted:
    """Read what to credit. Raises `Refusal` 422 for a line that is named twice or an amount that is none."""
    if given.lines is None:
        return Wanted(given.reason, None, given.excess)
    lines: dict[int, int | None] = {}
    for place, line in enumerate(given.lines):
        if line.position in lines:
            raise invalid(f"lines.{place}.position", "is given twice; give it once")
        try:
            lines[line.position] = None if line.amount is None else read_amount(line.amount, currency).minor
        except Refusal as refusal:
            [field] = refusal.details["fields"]
            raise invalid(f"lines.{place}.amount", field["problem"]) from refusal
    return Wanted(given.reason, lines, given.excess)


def entry(note: CreditNote) -> dict[str, Any]:
    """Return a note as it stands in a list."""
    return {
        "id": public_id(note.id),
        "number": note.number,
        "invoice_id": encode("inv", note.invoice_id),
        "reason": note.reason,
        "subtotal": money(Money(note.currency, note.subtotal_minor)),
        "tax": money(Money(note.currency, note.tax_minor)),
        "total": money(Money(note.currency, note.total_minor)),
        "issued_at": note.issued_at,
    }


def shown(view: NoteView) -> CreditNoteView:
    """Return a note as it is shown."""
    note = view.note
    return CreditNoteView(
        **entry(note),
        taken_off=money(view.money(note.taken_off_minor)),
        returned=money(view.money(note.returned_minor)),
        balance=money(view.money(note.balance_minor)),
        refund=money(view.money(note.refund_minor)),
        refunds=[
            CreditNoteRefundView(
                payment_id=encode("pay", each.payment_id),
                amount=money(view.money(each.amount_minor)),
                state=each.state,
            )
            for each in view.refunds
        ],
        document=export(view),
    )
