"""`farebox bill`, `invoice` and `verify`: closing periods, showing invoices, checking them."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from farebox_cli.commands.papers import INVOICE_COMMANDS
from farebox_cli.errors import CommandError, Exit
from farebox_cli.invoice_tables import invoice_tables, summary
from farebox_cli.output import Table, emit, json_option, print_json, say
from farebox_cli.worker_database import in_one_transaction, organization_id, read_instant, with_database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.db import Database
    from farebox.invoices.service import InvoiceView
    from farebox.settings import Settings
    from farebox_worker.billing import BillingReport

T = TypeVar("T")


@click.group("bill")
def bill() -> None:
    """Close billing periods and make their invoices."""


@bill.command("run")
@click.option(
    "--until",
    metavar="TIME",
    help="Close only what has ended by this time (RFC 3339; UTC if it names no offset). Default: now.",
)
@json_option
@click.pass_obj
def run(settings: "Settings", *, until: str | None, as_json: bool) -> int:
    """Close every period whose lines are all in, and make one invoice for each.

    A period waits until every active gateway node has been read past its end and the grace; the report says
    which node is waited for. Running it twice, or twice at once, changes nothing. Exit code 1 if an
    organization could not be billed.
    """
    from farebox.clock import SystemClock
    from farebox_worker import billing

    instant = None if until is None else read_instant(until, option="--until")

    async def work(database: "Database") -> "BillingReport":
        return await billing.run(database, settings, SystemClock(), until=instant)

    report = asyncio.run(with_database(settings, work))
    rows = [
        ("periods begun", report.rolled),
        ("invoices finalized", report.finalized),
        ("numbers", f"{report.first_number} to {report.last_number}" if report.first_number else None),
        *((f"total {currency}", _money(currency, minor)) for currency, minor in report.totals.items()),
        ("corrections", report.corrections),
        ("parked for a person", report.parked),
        ("overtaken meanwhile", report.overtaken),
        *(
            (f"periods waiting: {each.reason}", f"{each.periods} {' '.join(each.nodes)}")
            for each in report.waiting
        ),
    ]
    emit(report, as_json=as_json, tables=Table(("what", "how many"), rows))
    for failure in report.failures:
        say(f"{failure.organization} could not be billed: {failure.reason}")
    return Exit.PROBLEM if report.failures else Exit.OK


@click.group("invoice")
def invoice() -> None:
    """Invoices: list, show, export with proof, finalize what was parked."""


@invoice.command("list")
@click.argument("organization", required=False)
@click.option(
    "--state",
    type=click.Choice(("parked", "finalized", "paid", "overdue", "void", "uncollectible")),
    help="Only these.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", metavar="INVOICE", help="Go on after this invoice: its id.")
@json_option
@click.pass_obj
def list_(
    settings: "Settings",
    *,
    organization: str | None,
    state: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """List invoices, newest first: of one ORGANIZATION (org_…), or of all."""
    from farebox import ids
    from farebox.invoices import service

    async def work(session: "AsyncSession") -> service.Page:
        return await service.page(
            session,
            None if organization is None else await organization_id(session, organization),
            limit=limit,
            after=None if after is None else ids.decode("inv", after),
            state=state,
        )

    page = in_one_transaction(settings, work)
    rows = [
        (
            view.number,
            view.state,
            view.period_start.date(),
            view.period_end.date(),
            view.total,
            view.public_id,
        )
        for view in page.invoices
    ]
    following = None if page.after is None else ids.encode("inv", page.after)
    emit(
        {"invoices": [summary(view) for view in page.invoices], "after": following},
        as_json=as_json,
        tables=Table(
            ("number", "state", "from", "to", "total", "id"),
            rows,
            note=None if following is None else f"There are more: --after {following}",
        ),
    )


@invoice.command("show")
@click.argument("name", metavar="INVOICE")
@click.option("--proof", is_flag=True, help="Export the invoice with everything that proves it, as JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the proof to this file instead of standard output.",
)
@json_option
@click.pass_obj
def show(settings: "Settings", *, name: str, proof: bool, output: Path | None, as_json: bool) -> None:
    """Show an INVOICE by its number (FB-000001) or its id (inv_…)."""
    from farebox.invoices import service

    if output is not None and not proof:
        raise click.UsageError("--output goes with --proof")

    async def work(session: "AsyncSession") -> tuple["InvoiceView", dict[str, Any]]:
        view = await service.find(session, name)
        return view, await service.export(session, view.id)

    view, exported = in_one_transaction(settings, work)
    if not proof:
        emit(exported["invoice"], as_json=as_json, tables=invoice_tables(view, exported))
    elif output is None:
        print_json(exported)
    else:
        output.write_text(json.dumps(exported, indent=2, ensure_ascii=False) + "\n")
        say(f"{output}: invoice {view.number} with its proof; `farebox verify {output} --lines …` checks it.")


@invoice.command("finalize")
@click.argument("name", metavar="INVOICE")
@click.pass_obj
def finalize(settings: "Settings", *, name: str) -> None:
    """Finalize an INVOICE (inv_…) that was parked, after a person has looked at it."""
    from farebox.clock import SystemClock
    from farebox.invoices import service
    from farebox.invoices.states import TransitionError

    async def work(session: "AsyncSession") -> str:
        view = await service.find(session, name)
        return await service.finalize(session, view.id, now=SystemClock().now())

    try:
        say(f"Finalized as {in_one_transaction(settings, work)}.")
    except TransitionError as error:
        raise CommandError(str(error)) from None


for _command in INVOICE_COMMANDS:
    invoice.add_command(_command)


@click.command("verify")
@click.argument("path", metavar="INVOICE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--lines",
    "paths",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A raw log file, plain or gzipped, or a folder of them; give it as often as needed.",
)
@click.argument("more", nargs=-1, type=click.Path(exists=True, path_type=Path))
@json_option
def verify(*, path: Path, paths: tuple[Path, ...], more: tuple[Path, ...], as_json: bool) -> int:
    """Derive an INVOICE again from raw usage lines, with no database and an independent rater.

    INVOICE is what `farebox invoice show --proof` wrote. Files are known by their content, so their names do
    not matter. Exit code 0: equal to the minor unit; 1: something differs, and the report names it; 2: it
    cannot be checked, and the report names the files that are missing.
    """
    from farebox_cli.verify.report import verify as check

    report = check(path, [*paths, *more])
    if as_json:
        print_json(report.as_json())
    else:
        for line in report.as_text():
            click.echo(line)
    return report.exit_code


def _money(currency: str, minor: int) -> str:
    from farebox.money import Money

    return str(Money(currency, minor))
