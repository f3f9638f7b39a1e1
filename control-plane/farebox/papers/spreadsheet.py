"""Invoices as CSV (RFC 4180, UTF-8): one row a line, each with its invoice, for finance to sum and import.

A spreadsheet runs a cell that begins with =, +, -, @, a tab or a carriage return as a formula, so text that
does is set behind an apostrophe (OWASP, CSV injection). Amounts are numbers of ours and stay as they are.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, Final

from farebox.money import Money

COLUMNS: Final = (
    "document", "number", "of_invoice", "state", "issued_at", "due_at", "period_start", "period_end",
    "organization", "buyer", "country", "tax_id", "position", "kind", "code", "description", "quantity",
    "currency", "amount",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def rows(exported: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    """Yield an exported invoice's or credit note's lines, then its taxes, then what its credits paid."""
    invoice = exported["invoice"]
    note = exported.get("credit_note")
    document = note or invoice
    basis, currency = invoice["basis"], invoice["currency"]
    buyer = basis.get("buyer") or {}
    head = (
        "invoice" if note is None else "credit_note",
        _text(document["number"]),
        "" if note is None else _text(invoice["number"]),
        invoice["state"] if note is None else "",
        document["finalized_at" if note is None else "issued_at"] or "",
        (invoice["due_at"] or "") if note is None else "",
        invoice["period"]["start"],
        invoice["period"]["end"],
        basis.get("organization", {}).get("id", ""),
        _text(buyer.get("legal_name")),
        buyer.get("country", ""),
        _text(buyer.get("tax_id")),
    )

    def row(position: str, kind: str, code: str, text: str, quantity: str, minor: int) -> tuple[str, ...]:
        amount = str(Money(currency, minor)).partition(" ")[2]
        return (*head, position, kind, _text(code), _text(text), quantity, currency, amount)

    for line in document["lines"]:
        quantity = line["quantity"] if note is None else ""
        yield row(
            str(line["position"]), line["kind"], line["charge_code"], line["description"], quantity,
            line["amount_minor"],
        )  # fmt: skip
    for tax in document["taxes"]:
        yield row("", f"tax:{tax['kind']}", "", f"{tax['name']} {tax['rate']} %", "", tax["amount_minor"])
    if note is None and invoice["credits_minor"]:
        yield row("", "credits", "", "", "", -invoice["credits_minor"])


def write(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return a CSV of documents, with its heading."""
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(COLUMNS)
    for exported in documents:
        table.writerows(rows(exported))
    return written.getvalue()


def _text(value: str | None) -> str:
    text = value or ""
    return f"'{text}" if text.startswith(_FORMULA) else text
