"""`farebox up`: everything of Farebox on this machine, until Ctrl-C."""

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from farebox.settings import Settings
from farebox_cli.environment import given, home_of, pass_settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, json_option, print_json, print_tables, say

if TYPE_CHECKING:
    from farebox_cli.stack import Addresses, StackOptions


@click.command
@click.option("--check", is_flag=True, help="Start nothing: exit 0 if it runs here and is ready, else 1.")
@click.option("--free-ports", is_flag=True, help="Take any free ports, not 8080, 9080 and so on.")
@click.option("--no-demo", is_flag=True, help="Do not register the sample API as the route `messages`.")
@click.option("--quiet", is_flag=True, help="Do not repeat what the programs print; .farebox/logs has it.")
@json_option
@pass_settings
def up(
    settings: Settings, *, check: bool, free_ports: bool, no_demo: bool, quiet: bool, as_json: bool
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C.

    PostgreSQL and Redis (unless FAREBOX_DATABASE_URL or FAREBOX_REDIS_URL name others), a mail sink, a sample
    API, a payments sandbox, the control plane, the worker, the collector and the embedded gateway. What dies
    is started again.
    All data is in .farebox, or FAREBOX_HOME; removing that folder removes everything.
    """
    from farebox_cli.stack import ConfigurationError, MemberFailedError, StackOptions

    home = home_of(os.environ).absolute()
    if check:
        _check(home, as_json=as_json)
        return
    exported = given(os.environ, home)
    options = StackOptions(
        home=home,
        ports="free" if free_ports else "stable",
        variables=exported,
        demo=not no_demo,
        log_format=settings.log_format if "FAREBOX_LOG_FORMAT" in exported else "console",
    )
    try:
        asyncio.run(_until_stopped(options, quiet=quiet, as_json=as_json))
    except (ConfigurationError, MemberFailedError) as error:
        raise CommandError(str(error)) from None


async def _until_stopped(options: "StackOptions", *, quiet: bool, as_json: bool) -> None:
    """Run until SIGINT or SIGTERM, which may come while it still starts; everything is stopped in order."""
    running = asyncio.create_task(_run(options, quiet=quiet, as_json=as_json))
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            say("Still stopping: what is under way is finished, and everything is written to disk.")
            return
        asked = True
        say("Stopping …")
        running.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await running
    except asyncio.CancelledError:
        if not asked:
            raise
    say("Stopped.")


async def _run(options: "StackOptions", *, quiet: bool, as_json: bool) -> None:
    from farebox_cli.stack import read_state, running_stack
    from farebox_cli.stack.output import silent, to_terminal

    say(f"Starting in {options.home} …")
    async with running_stack(options, echo=silent if quiet or as_json else to_terminal, say=say) as stack:
        if as_json:
            print_json(read_state(options.home))
        else:
            print_tables(_addresses(stack.addresses, note="Ready. Ctrl-C stops everything."))
        await asyncio.Event().wait()


def _check(home: Path, *, as_json: bool) -> None:
    """Say what runs in the folder; exit 1 unless it is all there."""
    from farebox_cli.stack import read_state

    state = read_state(home)
    if state is None:
        raise CommandError(f"Nothing runs in {home}. `farebox up` starts it.", exit_code=Exit.PROBLEM)
    if as_json:
        print_json(state)
    else:
        rows = [(name, one.status, one.pid, one.restarts) for name, one in state.members.items()]
        members = Table(("program", "status", "process", "restarts"), rows)
        print_tables(_addresses(state.addresses, note=None), members)
    if not state.ready or any(member.status != "running" for member in state.members.values()):
        raise CommandError("It is not ready, or something in it is down.", exit_code=Exit.PROBLEM)


def _addresses(where: "Addresses", *, note: str | None) -> Table:
    return Table(
        ("what", "where"),
        [
            ("control plane", where.web),
            ("API reference", f"{where.web}/api/docs"),
            ("gateway", where.gateway),
            ("gateway's Admin API", where.gateway_admin),
            ("sample API behind it", where.upstream),
            ("payments sandbox", where.payments),
            ("mails", where.mail_folder),
            ("usage log", where.usage_log),
            ("logs", where.logs),
            ("settings and secrets", where.env_file),
        ],
        note=note,
    )
