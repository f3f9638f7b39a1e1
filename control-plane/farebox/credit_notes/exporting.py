"""A credit note as plain JSON: a document of its own, with the invoice that it credits."""

from typing import Any, Final

from farebox.credit_notes.service import NoteView
from farebox.invoices.proof import instant
from farebox.invoices.rating import plain

FORMAT: Final = "farebox-credit-note"
VERSION: Final = 1


def export(view: NoteView) -> dict[str, Any]:
    """Return the note. Amounts are minor units below zero, so that invoice and notes sum up line by line."""
    note, invoice = view.note, view.invoice
    return {
        "format": FORMAT,
        "version": VERSION,
        "credit_note": {
            "id": view.public_id,
            "number": note.number,
            "issued_at": instant(note.issued_at),
            "reason": note.reason,
            "lines": [
                {
                    "position": each.line.position,
                    "kind": each.line.kind,
                    "charge_code": each.line.charge_code,
                    "description": each.line.description,
                    "detail": each.line.detail,
                    "amount_minor": each.amount.minor,
                }
                for each in view.lines
            ],
            "taxes": [
                {
                    "kind": each.tax.kind,
                    "name": each.tax.name,
                    "country": each.tax.country,
                    "region": each.tax.region,
                    "rate": plain(each.tax.rate),
                    "inclusive": each.tax.inclusive,
                    "base_minor": each.base.minor,
                    "amount_minor": each.amount.minor,
                }
                for each in view.taxes
            ],
            "subtotal_minor": note.subtotal_minor,
            "tax_minor": note.tax_minor,
            "total_minor": note.total_minor,
            "taken_off_minor": note.taken_off_minor,
            "returned_minor": note.returned_minor,
            "balance_minor": note.balance_minor,
            "refund_minor": note.refund_minor,
        },
        "invoice": {
            "number": invoice.number,
            "currency": invoice.currency,
            "period": {"start": instant(invoice.period_start), "end": instant(invoice.period_end)},
            "finalized_at": instant(invoice.finalized_at or note.issued_at),
            "taxes": [
                {"name": t.tax.name, "rate": plain(t.tax.rate), "inclusive": t.tax.inclusive}
                for t in view.taxes
            ],
            "basis": invoice.snapshot,
        },
    }
