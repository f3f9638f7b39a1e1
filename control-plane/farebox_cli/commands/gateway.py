"""`farebox worker` and `farebox sync`: everything between what was sold and the gateway.

All work as the worker's role. A pass is run by the worker that holds the gateway's lock; where no worker
runs, the command takes the lock and runs it itself.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.environment import pass_settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, print_json, say
from farebox_cli.worker_database import worker_database

if TYPE_CHECKING:
    from farebox_worker.targets import Target

T = TypeVar("T")
_LOOK_SECONDS: Final = 0.2
_TAKEN_UP_SECONDS: Final = 15.0
GATEWAY: Final = click.option(
    "--gateway", default="default", show_default=True, help="Which gateway, by its code."
)


@click.command("worker")
@pass_settings
def worker(settings: Settings) -> None:
    """Run background jobs: gateway sync, mail, billing, counters.

    When every part has begun it prints one line of JSON. TERM lets what is under way finish. Any number of
    workers may run; each gateway is written to by one of them, and another takes over when that one ends.
    """
    import uvloop

    from farebox import logs
    from farebox.db import UnsafeRoleError
    from farebox_worker.app import serve
    from farebox_worker.targets import GatewaysFileError

    logs.configure(settings.log_format)
    for name in ("database_worker_url", "redis_url"):
        if not getattr(settings, name).get_secret_value():
            raise CommandError(
                f"FAREBOX_{name.upper()} is not set: `farebox up` sets it, or export it.",
                exit_code=Exit.USAGE,
            )
    try:
        uvloop.run(serve(settings, ready=_announce))
    except (UnsafeRoleError, GatewaysFileError) as error:
        raise CommandError(str(error), exit_code=Exit.USAGE) from None


def _announce() -> None:
    click.echo(json.dumps({"event": "ready", "pid": os.getpid()}))
    sys.stdout.flush()


@click.group
def sync() -> None:
    """Bring the gateway to what was sold, or show the difference.

    The worker does this by itself, at every change and every few minutes; these commands are for people who
    want it now, or want to see.
    """


@sync.command("all")
@GATEWAY
@click.option(
    "--overwrite-newer",
    is_flag=True,
    help="Also write over what the gateway carries at a newer revision, after a database was restored.",
)
@json_option
@pass_settings
def sync_all(settings: Settings, *, gateway: str, overwrite_newer: bool, as_json: bool) -> None:
    """Compare everything and bring it right; rebuild a gateway that was wiped."""
    _pass(settings, gateway, "all", as_json=as_json, overwrite_newer=overwrite_newer)


@sync.command("keys")
@GATEWAY
@json_option
@pass_settings
def sync_keys(settings: Settings, *, gateway: str, as_json: bool) -> None:
    """Compare everything, and bring API keys right and nothing else."""
    _pass(settings, gateway, "keys", as_json=as_json)


@sync.command("cleanup")
@GATEWAY
@json_option
@pass_settings
def sync_cleanup(settings: Settings, *, gateway: str, as_json: bool) -> None:
    """Remove consumers of closed organizations, and of such as this installation does not know.

    Only consumers that carry our label are removed.
    """
    _pass(settings, gateway, "cleanup", as_json=as_json)


@sync.command("diff")
@GATEWAY
@json_option
@pass_settings
def sync_diff(settings: Settings, *, gateway: str, as_json: bool) -> None:
    """Print what `sync all` would change; exit 1 if there is anything, 0 if there is nothing."""
    differs = with_gateway(settings, lambda database: _diff(settings, database, gateway, as_json=as_json))
    if differs:
        raise SystemExit(Exit.PROBLEM)


async def _diff(settings: Settings, database: Any, gateway: str, *, as_json: bool) -> bool:
    from farebox_worker.sync.reading import differences, reader

    found: list[dict[str, Any]] = []
    count = 0
    async with reader(target_named(settings, gateway), database) as reconciler:
        async for name, made in differences(reconciler):
            count += len(made.steps) + len(made.conflicts)
            for line in (*made.steps, *made.conflicts):
                if as_json:
                    found.append(_line(name, line))
                else:
                    click.echo(str(line))
    if as_json:
        print_json({"changes": count, "plan": found})
    elif not count:
        say("Nothing to change: the gateway is as it was sold.")
    return count > 0


def _line(organization: str | None, line: Any) -> dict[str, Any]:
    hindrance = getattr(line, "hindrance", None)
    return {
        "organization": organization,
        "resource": str(line.ref),
        "do": "leave" if hindrance else line.verb,
        "why": str(hindrance or line.why),
        "fields": list(getattr(line, "fields", ())),
    }


def _pass(
    settings: Settings, gateway: str, scope: str, *, as_json: bool, overwrite_newer: bool = False
) -> None:
    report = with_gateway(
        settings,
        lambda database: run_pass(settings, database, gateway, scope, overwrite_newer=overwrite_newer),
    )
    counts = ("organizations", "changed", "writes", "removed", "unknown_consumers", "failed")
    rows: list[Sequence[object]] = [(name.replace("_", " "), report.get(name)) for name in counts]
    rows += [(f"drift: {sort}", number) for sort, number in report.get("drift", {}).items()]
    tables = [Table(("what", "count"), rows, title=f"sync {scope} of {gateway}: {report['seconds']} s")]
    if failures := report.get("failures"):
        tables.append(Table(("failed", "because"), list(failures.items())))
    emit(report, as_json=as_json, tables=tables)
    if report.get("catalogue_error"):
        raise CommandError(f"The catalogue is not enforced: {report['catalogue_error']}")
    if report.get("failed"):
        raise CommandError(f"{report['failed']} could not be written; each is tried again by the worker.")


async def run_pass(
    settings: Settings, database: Any, gateway: str, scope: str, *, overwrite_newer: bool
) -> dict[str, Any]:
    """Run the pass ourselves if no worker holds the lock; otherwise ask the one that does."""
    from farebox.clock import SystemClock
    from farebox_worker.advisory import try_lock
    from farebox_worker.sync import full_pass
    from farebox_worker.sync.leader import lock_name, opened

    target = target_named(settings, gateway)
    url = settings.database_worker_url.get_secret_value()
    async with try_lock(url, lock_name(gateway)) as lock:
        if lock is not None:
            stop = asyncio.Event()
            writer = f"command:{os.getpid()}:{secrets.token_hex(4)}"
            async with opened(target, database, SystemClock(), lock, writer=writer, stop=stop) as (
                reconciler,
                _,
            ):
                reconciler.overwrite_newer = overwrite_newer
                report = await full_pass.run(reconciler, scope=scope, stop=stop)
            return report.document()
    return await _ask(database, gateway, scope, overwrite_newer=overwrite_newer)


async def _ask(database: Any, gateway: str, scope: str, *, overwrite_newer: bool) -> dict[str, Any]:
    from farebox.gateways import service
    from farebox.outbox import OutboxRow

    async with database.transaction() as session:
        row_id = await service.request_pass(session, gateway, scope=scope, overwrite_newer=overwrite_newer)
    say("A worker holds the gateway's lock; waiting for its pass.")
    while True:
        async with database.transaction() as session:
            row = await session.get(OutboxRow, row_id)
        if row is not None and row.done_at is not None:
            if row.last_error:
                raise CommandError(f"The pass failed: {row.last_error}", exit_code=Exit.UNREACHABLE)
            report: dict[str, Any] = row.payload["report"]
            return report
        await asyncio.sleep(_LOOK_SECONDS)


def target_named(settings: Settings, gateway: str) -> "Target":
    """Return the gateway with this code. Raises `CommandError` naming those that there are."""
    from farebox_worker.targets import GatewaysFileError, targets

    try:
        named = targets(settings)
    except GatewaysFileError as error:
        raise CommandError(str(error), exit_code=Exit.USAGE) from None
    for target in named:
        if target.code == gateway:
            return target
    known = ", ".join(target.code for target in named)
    raise CommandError(f"There is no gateway {gateway!r}; known: {known}.", exit_code=Exit.USAGE)


def with_gateway(settings: Settings, act: Callable[[Any], Awaitable[T]]) -> T:
    """Run against the worker's database; errors of the gateway's client become the command's."""
    from farebox import logs
    from farebox_gateway.client import GatewayError

    logs.configure("console")
    if not settings.database_worker_url.get_secret_value():
        raise CommandError(
            "FAREBOX_DATABASE_WORKER_URL is not set: `farebox up` sets it, or export it.",
            exit_code=Exit.USAGE,
        )

    async def whole() -> T:
        async with worker_database(settings) as database:
            return await act(database)

    try:
        return asyncio.run(whole())
    except GatewayError as error:
        raise CommandError(
            f"The gateway's Admin API at {_where(settings)} failed: {error}. "
            "Check its URL and key (FAREBOX_GATEWAY_ADMIN_URL and …_KEY, or FAREBOX_GATEWAYS_FILE), "
            "or run `farebox doctor`.",
            exit_code=Exit.UNREACHABLE,
        ) from None


def _where(settings: Settings) -> str:
    return settings.gateway_admin_url if settings.gateways_file is None else f"({settings.gateways_file})"
