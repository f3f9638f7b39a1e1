"""Papers say what the invoice says, in four languages, and the same invoice gives the same bytes."""

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from farebox.papers import document, pdf, spreadsheet

GOLDEN = Path(__file__).parents[2] / "golden" / "invoices" / "november.json"


def exported(**buyer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    found["invoice"]["basis"]["buyer"] |= buyer
    return found


def flat(paper: document.Document) -> str:
    """Return all that a paper says."""
    said = [paper.title, *paper.seller.lines, *paper.buyer.lines, *paper.notes, *paper.proof]
    said += [text for fact in paper.facts for text in fact]
    said += [f"{row.description} {row.quantity} {row.amount} {' '.join(row.working)}" for row in paper.rows]
    said += [f"{each.name} {each.note} {each.amount}" for each in paper.sums]
    return "\n".join(said).replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("en", ["Invoice", "December 1, 2026", "€34.81", "VAT 19 % on €29.25", "Germany"]),
        ("de-AT", ["Rechnung", "1. Dezember 2026", "34,81 €", "0,10 = 1,50", "Deutschland"]),
        ("fr", ["Facture", "1 décembre 2026", "34,81 €", "Allemagne"]),
        ("es", ["Factura", "1 de diciembre de 2026", "34,81 €", "Alemania"]),
        ("ja", ["Invoice", "€34.81"]),
    ],
)  # fmt: skip
def test_a_paper_speaks_the_customers_language(tag: str, says: list[str]) -> None:
    """Words, dates, amounts and countries are the reader's; other languages get English."""
    said = flat(document.of_invoice(exported(language=tag)))
    for text in says:
        assert text in said


@pytest.mark.parametrize("tag", ["en", "de", "fr", "es"])
def test_the_same_invoice_gives_the_same_bytes(tag: str) -> None:
    """Set twice, a PDF is byte for byte the same; what was paid meanwhile is no part of it."""
    once = exported(language=tag)
    again = copy.deepcopy(once)
    again["invoice"]["state"] = "paid"
    made = [pdf.set_pdf(document.of_invoice(each)) for each in (once, again)]
    assert made[0].startswith(b"%PDF-")
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("currency", "minor", "written"), [("JPY", 3481, "¥3,481"), ("KWD", 3481, "KWD3.481")]
)
def test_currencies_keep_their_digits(currency: str, minor: int, written: str) -> None:
    """A currency without minor digits shows none, one with three shows three."""
    found = exported()
    found["invoice"] |= {"currency": currency, "total_minor": minor, "taxes": []}
    assert "".join(document.of_invoice(found).sums[-1].amount.split()) == written


def test_the_customers_words_are_never_read_as_markup() -> None:
    """A name with typst's own signs stands on the paper as it was given."""
    found = exported(legal_name='#panic("boom") $x$ *bold* \\ @nobody')
    paper = document.of_invoice(found)
    assert paper.buyer.name == '#panic("boom") $x$ *bold* \\ @nobody'
    assert pdf.set_pdf(paper).startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("kind", "tag", "sentence"),
    [
        ("reverse_charge", "de", "Steuerschuldnerschaft des Leistungsempfängers"),
        ("reverse_charge", "fr", "Autoliquidation"),
        ("exempt", "es", "el cliente está exento"),
    ],
)
def test_a_tax_that_is_not_levied_is_explained(kind: str, tag: str, sentence: str) -> None:
    """Reverse charge and exemption carry the sentence that the law asks for."""
    found = exported(language=tag)
    found["invoice"]["taxes"][0] |= {"kind": kind, "rate": "0", "amount_minor": 0}
    assert any(sentence in note for note in document.of_invoice(found).notes)


def test_an_invoice_of_before_there_were_buyers_can_be_set() -> None:
    """Old snapshots hold neither buyer nor seller nor time zone: the paper names what is known."""
    found = exported()
    found["invoice"]["basis"] = {}
    found["statement"]["body"] = {}
    assert pdf.set_pdf(document.of_invoice(found)).startswith(b"%PDF-")


def test_terms_follow_how_it_is_collected() -> None:
    """Charged at once, paid by the customer, paid by credits already, or given back."""
    assert "charged to your saved" in flat(document.of_invoice(exported()))
    assert "FB-000001 when you pay" in flat(document.of_invoice(exported(collection="send_invoice")))
    settled = exported()
    settled["invoice"] |= {"credits_minor": 3481, "due_at": None}
    said = flat(document.of_invoice(settled))
    assert "Nothing is due" in said
    assert "Amount due  €0.00" in said
    settled["invoice"] |= {"credits_minor": 0, "total_minor": -100}
    assert "kept as balance" in flat(document.of_invoice(settled))


def test_a_csv_sums_up_and_runs_nothing() -> None:
    """The amounts of an invoice's rows are its total, and no cell but a negative amount begins a formula."""
    found = exported(legal_name="=cmd|' /C calc'!A0", tax_id="@SUM(1)")
    found["invoice"]["lines"][0]["description"] = "+1+1"
    found["invoice"]["lines"][1]["charge_code"] = "-2"
    read = list(csv.DictReader(io.StringIO(spreadsheet.write([found]))))
    assert sum(round(float(row["amount"]) * 100) for row in read) == 3481
    cells = [value for row in read for name, value in row.items() if name != "amount"]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert read[0]["buyer"] == "'=cmd|' /C calc'!A0"


def test_sixty_lines_and_a_word_without_end_fit_the_page() -> None:
    """Pages follow each other with their heading, and a word wider than its column is broken, not cut."""
    found = exported(line1="x" * 200)
    line = found["invoice"]["lines"][1]
    found["invoice"]["lines"] = [line | {"position": position} for position in range(1, 61)]
    assert len(pdf.set_pictures(document.of_invoice(found), ppi=20)) > 1
