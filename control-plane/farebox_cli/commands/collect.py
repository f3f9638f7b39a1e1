"""`farebox collect`, `farebox usage` and `farebox node`: metering, what came of it, and its nodes."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, print_json, say
from farebox_cli.worker_database import in_one_transaction, organization_id, read_instant, with_database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.db import Database
    from farebox.usage.quantities import Split

T = TypeVar("T")


@click.command("collect")
@click.option("--node", help="Name of the gateway node; FAREBOX_NODE otherwise.")
@click.option("--once", is_flag=True, help="Read the files at PATH to their present end, and stop.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.pass_obj
def collect(settings: Settings, *, node: str | None, once: bool, paths: tuple[Path, ...]) -> None:
    """Meter a gateway node from its usage log (FAREBOX_USAGE_LOG), until it is told to stop.

    With --once, read finished, late or growing files instead, plain or gzipped, and print as JSON: lines,
    new, duplicate, quarantined, gaps (numbers missing now in the streams concerned) and unfinished (bytes
    behind the last newline). Reading a file again counts nothing twice. Safe beside a running collector.
    """
    from farebox import logs
    from farebox.db import UnsafeRoleError

    if once != bool(paths):
        raise click.UsageError("--once and the files to read go together: farebox collect --once PATH…")
    logs.configure(settings.log_format)
    name = node or settings.node
    try:
        if once:
            _once(settings, name, paths)
        else:
            asyncio.run(with_database(settings, lambda database: _follow(database, settings, name)))
    except UnsafeRoleError as error:
        raise CommandError(str(error), exit_code=Exit.USAGE) from None


@click.command("usage")
@click.argument("organization", metavar="ORG")
@click.option("--from", "start", metavar="TIME", help="From this time on. Default: the present month.")
@click.option("--to", "end", metavar="TIME", help="Up to this time. Default: no end.")
@click.option(
    "--zone", default="UTC", show_default=True, help="Time zone of days and of times without offset."
)
@json_option
@click.pass_obj
def usage(
    settings: Settings, *, organization: str, start: str | None, end: str | None, zone: str, as_json: bool
) -> None:
    """Show what an organization (org_…) used: by outcome, key, route and day.

    Times are the organization's own: with a test clock, those that the test clock showed.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from farebox.usage import service

    try:
        there = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter(f"there is no time zone {zone!r}", param_hint="--zone") from None
    month = datetime.now(there).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = month if start is None else read_instant(start, option="--from", zone=there)
    until = datetime(9999, 1, 1, tzinfo=UTC) if end is None else read_instant(end, option="--to", zone=there)

    async def work(session: "AsyncSession") -> service.Summary:
        owner = await organization_id(session, organization)
        return await service.summary(session, owner, since, until, time_zone=zone)

    found = in_one_transaction(settings, work)
    quantities = found.quantities
    totals = [
        ("billable", quantities.billable.requests, quantities.billable.units),
        *(
            (f"not billed: {reason}", part.requests, part.units)
            for reason, part in quantities.excluded.items()
        ),
        ("in all", quantities.total.requests, quantities.total.units),
    ]
    if found.without_subscription.requests:
        lost = found.without_subscription
        totals.append(("of which outside any subscription", lost.requests, lost.units))
    outcomes = [(name, part.requests, part.units) for name, part in found.by_outcome.items()]
    emit(
        found,
        as_json=as_json,
        tables=(
            Table(("usage", "requests", "units"), totals, note=f"Rule: {quantities.rule}.\n"),
            Table(("outcome", "requests", "units"), outcomes),
            _split_table("key", {name or "(no key)": part for name, part in found.by_key.items()}),
            _split_table("route", {name or "(no route)": part for name, part in found.by_route.items()}),
            _split_table("day", {day.isoformat(): part for day, part in found.by_day.items()}),
        ),
    )


@click.group("node")
def node() -> None:
    """Gateway nodes and how far each has been metered."""


@node.command("list")
@json_option
@click.pass_obj
def list_(settings: Settings, *, as_json: bool) -> None:
    """List the nodes: no billing period closes before every active one was read to its log's end."""
    from farebox.usage import service

    found = in_one_transaction(settings, service.nodes)
    rows = [
        (each.code, each.state, each.reported_at, each.read_to_end_at, each.last_error or each.retired_note)
        for each in found
    ]
    emit(found, as_json=as_json, tables=Table(("node", "state", "reported", "read to the end", "note"), rows))


@node.command("retire")
@click.argument("name", metavar="NODE")
@click.option("--accept-gap", is_flag=True, help="What the node logged and was not read is given up.")
@click.option("--note", default="retired by hand", show_default=True, help="Why; invoices show it.")
@click.pass_obj
def retire(settings: Settings, *, name: str, accept_gap: bool, note: str) -> None:
    """Give up on a NODE that is dead for good, so that billing periods close without it.

    Every invoice of a period that it could have served names the node and the note. If its log turns up
    after all, `farebox collect --once` takes it in, and the units are billed as a dated correction. A
    collector that starts for the node makes it active again.
    """
    from farebox.clock import SystemClock
    from farebox.usage import service
    from farebox.usage.nodes import UnknownNodeError

    if not accept_gap:
        raise click.UsageError(
            "what the node logged and was not read is lost to billing for now; --accept-gap accepts that"
        )

    async def work(session: "AsyncSession") -> service.NodeReport:
        return await service.retire(session, name, note=note, now=SystemClock().now())

    try:
        report = in_one_transaction(settings, work)
    except UnknownNodeError as error:
        raise CommandError(str(error)) from None
    say(f"Node {report.code} is retired: {report.retired_note}.")


def _once(settings: Settings, name: str, paths: tuple[Path, ...]) -> None:
    from farebox.clock import SystemClock
    from farebox_worker.collect.once import Report, collect_once
    from farebox_worker.collect.sources import UnreadableError

    async def work(database: "Database") -> Report:
        await database.refuse_unsafe_role()
        return await collect_once(database, name, paths, clock=SystemClock())

    try:
        report = asyncio.run(with_database(settings, work))
    except UnreadableError as error:
        raise CommandError(str(error)) from None
    read = report.outcome
    print_json(
        {
            "lines": read.lines,
            "new": read.new,
            "duplicate": read.duplicate,
            "quarantined": read.quarantined,
            "gaps": report.gaps,
            "unfinished": report.unfinished,
        }
    )


async def _follow(database: "Database", settings: Settings, name: str) -> None:
    from farebox.clock import SystemClock
    from farebox_worker.collect.collector import CollectorOptions
    from farebox_worker.collect.collector import collect as run

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options = CollectorOptions(
        node=name,
        log=settings.usage_log.absolute(),
        archive=settings.usage_archive.absolute(),
        keep=timedelta(days=settings.usage_retention_days),
        interval=settings.collect_interval_seconds,
    )
    await run(database, options, clock=SystemClock(), stop=stop)


def _split_table(what: str, parts: "Mapping[str, Split]") -> Table:
    rows = [
        (name, part.billable.requests, part.billable.units, part.total.requests)
        for name, part in parts.items()
    ]
    return Table((what, "billable requests", "billable units", "requests"), rows)
