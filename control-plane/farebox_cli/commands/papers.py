"""`farebox issuer`, and what people do to invoices: PDF, export, credit, void, write off, reopen."""

import asyncio
import getpass
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction, with_database

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.billing_details.model import Issuer
    from farebox.credit_notes.service import NoteView
    from farebox.db import Database
    from farebox.settings import Settings

_ADDRESS: Final = (
    "legal_name", "line1", "line2", "city", "region", "postal_code", "country", "tax_id", "email",
)  # fmt: skip
_BATCH: Final = 200
_reason = click.option("--reason", required=True, help="Why; it is written down with who did it.")


@click.group("issuer")
def issuer() -> None:
    """Who issues invoices: the seller that they name."""


@issuer.command("list")
@json_option
@click.pass_obj
def list_(settings: "Settings", *, as_json: bool) -> None:
    """List the issuers. The setting FAREBOX_ISSUER names the one whose invoices are made."""
    from farebox.billing_details import editing

    async def work(session: "AsyncSession") -> "Sequence[Issuer]":
        return await editing.issuers(session)

    found = in_one_transaction(settings, work)
    rows = [(row.code, row.legal_name, row.city, row.country, row.tax_id, row.number_prefix) for row in found]
    data = [{name: getattr(row, name) for name in ("code", *_ADDRESS, "number_prefix")} for row in found]
    emit(data, as_json=as_json, tables=Table(("code", "name", "city", "country", "tax id", "prefix"), rows))


@issuer.command("set")
@click.argument("code")
@click.option("--name", "legal_name", help="The legal name.")
@click.option("--line1")
@click.option("--line2")
@click.option("--city")
@click.option("--region")
@click.option("--postal-code")
@click.option("--country", help="ISO 3166-1, such as DE.")
@click.option("--tax-id", help="In the EU the VAT number, with its prefix.")
@click.option("--email", help="Whom customers write to.")
@click.option("--prefix", "number_prefix", help="What its invoices' numbers begin with.")
@click.pass_obj
def set_(settings: "Settings", /, *, code: str, **given: str | None) -> None:
    """Describe the issuer CODE; what is left out stays as it is. Issued invoices keep what they say."""
    from farebox.billing_details import editing
    from farebox.billing_details.fields import IssuerInput
    from farebox.billing_details.model import Issuer
    from farebox.web import read_value

    async def work(session: "AsyncSession") -> None:
        row = await session.get(Issuer, code)
        known = {name: getattr(row, name, None) for name in (*_ADDRESS, "number_prefix")}
        told = known | {name: value for name, value in given.items() if value is not None}
        told["legal_name"] = told["legal_name"] or code
        made = {name: value for name, value in told.items() if value is not None}
        await editing.write_issuer(session, code, read_value(made, IssuerInput))

    in_one_transaction(settings, work)
    say(f"{code}: invoices made from now on name it so.")


@click.command("pdf")
@click.argument("name", metavar="PAPER")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: PAPER.pdf.")
@click.pass_obj
def pdf(settings: "Settings", *, name: str, output: Path | None) -> None:
    """Write an invoice or a credit note, by number or id, as PDF."""
    from farebox.papers import document
    from farebox.papers import pdf as setting

    async def work(session: "AsyncSession") -> dict[str, Any]:
        return await _exported(session, name)

    exported = in_one_transaction(settings, work)
    is_note = "credit_note" in exported
    paper = document.of_credit_note(exported) if is_note else document.of_invoice(exported)
    target = output or Path(f"{name.replace('/', '-')}.pdf")
    target.write_bytes(setting.set_pdf(paper, fonts=settings.paper_fonts))
    say(f"{target}: {paper.title} {paper.number}")


@click.command("export")
@click.option("--month", required=True, metavar="YYYY-MM", help="The month of issue, in UTC.")
@click.option("--format", "form", type=click.Choice(("csv", "json", "pdf")), default="csv", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True,
    help="The file to write (csv: one table; json: one document a line); for pdf a folder.",
)  # fmt: skip
@click.pass_obj
def export(settings: "Settings", *, month: str, form: str, output: Path) -> None:
    """Export every invoice and credit note that was issued in a month, invoices first, each by number."""
    start, end = _month(month)
    if form == "pdf":
        output.mkdir(parents=True, exist_ok=True)

    async def work(database: "Database") -> int:
        return await _export(database, settings, start, end, form, output)

    count = asyncio.run(with_database(settings, work))
    say(f"{output}: {count} documents issued in {month}.")


@click.command("credit")
@click.argument("name", metavar="INVOICE")
@_reason
@click.option(
    "--line", "lines", multiple=True, metavar="POSITION[=AMOUNT]",
    help="Only this line, or that much of it before tax; give it as often as needed.",
)  # fmt: skip
@click.option("--refund", is_flag=True, help="Refund what was paid, instead of keeping it as balance.")
@json_option
@click.pass_obj
def credit(
    settings: "Settings", *, name: str, reason: str, lines: tuple[str, ...], refund: bool, as_json: bool
) -> None:
    """Issue a credit note on an INVOICE: all that is left of it, or lines of it."""
    from farebox.clock import SystemClock
    from farebox.credit_notes import service
    from farebox.credit_notes.exporting import export as exported
    from farebox.credit_notes.fields import CreditNoteInput, wanted
    from farebox.invoices import service as invoices
    from farebox.web import read_value

    given = {
        "reason": reason,
        "lines": [_line(text) for text in lines] or None,
        "excess": "refund" if refund else "balance",
    }
    asked = read_value(given, CreditNoteInput)

    async def work(session: "AsyncSession") -> "NoteView":
        view = await invoices.find(session, name)
        return await service.issue(
            session, view.id, wanted(asked, view.total.currency), actor=_actor(), now=SystemClock().now()
        )

    note = in_one_transaction(settings, work)
    row = note.note
    parts = (
        ("taken off what was open", row.taken_off_minor), ("returned to credits", row.returned_minor),
        ("kept as balance", row.balance_minor), ("to be refunded", row.refund_minor),
    )  # fmt: skip
    emit(
        exported(note),
        as_json=as_json,
        tables=Table(
            ("what", "amount"),
            [
                ("credited", note.money(row.total_minor)),
                *((what, note.money(minor)) for what, minor in parts),
            ],
            title=f"Credit note {row.number}",
        ),
    )


@click.command("void")
@click.argument("name", metavar="INVOICE")
@_reason
@click.pass_obj
def void(settings: "Settings", *, name: str, reason: str) -> None:
    """Declare an unpaid INVOICE void: it keeps its number and asks for nothing."""
    from farebox.invoices import acts

    _act(settings, acts.void, name, reason)


@click.command("write-off")
@click.argument("name", metavar="INVOICE")
@_reason
@click.pass_obj
def write_off(settings: "Settings", *, name: str, reason: str) -> None:
    """Give an open INVOICE up as uncollectible; a later payment still settles it."""
    from farebox.invoices import acts

    _act(settings, acts.write_off, name, reason)


@click.command("reopen")
@click.argument("name", metavar="INVOICE")
@_reason
@click.pass_obj
def reopen(settings: "Settings", *, name: str, reason: str) -> None:
    """Ask again for an INVOICE that was given up."""
    from farebox.invoices import acts

    _act(settings, acts.reopen, name, reason)


INVOICE_COMMANDS: Final = (pdf, export, credit, void, write_off, reopen)
"""What the group `invoice` gets from here."""


def _act(settings: "Settings", verb: Any, name: str, reason: str) -> None:
    from farebox.clock import SystemClock
    from farebox.invoices import service

    async def work(session: "AsyncSession") -> tuple[str, str]:
        view = await service.find(session, name)
        row = await verb(session, view.id, actor=_actor(), reason=reason, now=SystemClock().now())
        return row.number, row.state

    number, state = in_one_transaction(settings, work)
    say(f"Invoice {number} is {state}.")


def _actor() -> str:
    return f"command {getpass.getuser()}"[:100]


def _line(text: str) -> dict[str, Any]:
    position, _, amount = text.partition("=")
    if not (position.isascii() and position.isdigit()):
        raise CommandError(
            f"--line {text}: expected a position, or one with an amount such as 2=10.00",
            exit_code=Exit.USAGE,
        )
    return {"position": int(position)} | ({"amount": amount} if amount else {})


def _month(text: str) -> tuple[datetime, datetime]:
    try:
        start = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise CommandError("--month: expected a month such as 2026-11", exit_code=Exit.USAGE) from None
    year, month = divmod(start.year * 12 + start.month, 12)
    return start, datetime(year, month + 1, 1, tzinfo=UTC)


async def _exported(session: "AsyncSession", name: str) -> dict[str, Any]:
    from farebox import problems
    from farebox.credit_notes import service as notes
    from farebox.credit_notes.exporting import export as exported
    from farebox.invoices import service
    from farebox.problems import Refusal

    try:
        return exported(await notes.find(session, name))
    except Refusal as refusal:
        if refusal.problem is not problems.NOT_FOUND:
            raise
    return await service.export(session, (await service.find(session, name)).id)


async def _export(
    database: "Database", settings: "Settings", start: datetime, end: datetime, form: str, output: Path
) -> int:
    """Write the documents batch by batch, so that a month of any size needs little memory."""
    from farebox.papers import document, spreadsheet
    from farebox.papers import pdf as setting

    async with database.transaction() as session:
        names = await _issued(session, start, end)
    target = None if form == "pdf" else output.open("w", encoding="utf-8", newline="")
    try:
        if target is not None and form == "csv":
            target.write(spreadsheet.write([]))
        for begin in range(0, len(names), _BATCH):
            for kind, number, found in names[begin : begin + _BATCH]:
                async with database.transaction() as session:
                    exported = await _one(session, kind, found)
                if target is None:
                    is_note = kind == "credit_note"
                    paper = document.of_credit_note(exported) if is_note else document.of_invoice(exported)
                    path = output / f"{number.replace('/', '-')}.pdf"
                    path.write_bytes(setting.set_pdf(paper, fonts=settings.paper_fonts))
                elif form == "csv":
                    target.write(spreadsheet.write([exported]).partition("\r\n")[2])
                else:
                    target.write(json.dumps(exported, ensure_ascii=False, sort_keys=True) + "\n")
    finally:
        if target is not None:
            target.close()
    return len(names)


async def _issued(session: "AsyncSession", start: datetime, end: datetime) -> list[tuple[str, str, "UUID"]]:
    from sqlalchemy import select

    from farebox.credit_notes.model import CreditNote
    from farebox.invoices.model import Invoice

    invoices = await session.execute(
        select(Invoice.number, Invoice.id)
        .where(Invoice.finalized_at >= start, Invoice.finalized_at < end)
        .order_by(Invoice.issuer, Invoice.number)
    )
    notes = await session.execute(
        select(CreditNote.number, CreditNote.id)
        .where(CreditNote.issued_at >= start, CreditNote.issued_at < end)
        .order_by(CreditNote.issuer, CreditNote.number)
    )
    found = [("invoice", number or "", found) for number, found in invoices]
    return found + [("credit_note", number, found) for number, found in notes]


async def _one(session: "AsyncSession", kind: str, found: "UUID") -> dict[str, Any]:
    from farebox.credit_notes import service as notes
    from farebox.credit_notes.exporting import export as exported
    from farebox.invoices import service

    if kind == "credit_note":
        return exported(await notes.show(session, found))
    return await service.export(session, found)
