"""`farebox web`, and the commands about people, organizations and test clocks.

All but `web` work as the worker's role, because they act for no tenant or for any.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.organizations.model import Organization

T = TypeVar("T")
pass_settings = click.make_pass_decorator(Settings)


@click.command("web")
@click.option("--host", help="Address to listen on; FAREBOX_WEB_HOST otherwise.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="0 takes a free port; FAREBOX_WEB_PORT otherwise."
)
@pass_settings
def web(settings: Settings, *, host: str | None, port: int | None) -> None:
    """Run the control-plane API.

    When it is ready it prints one line of JSON with its address. TERM lets requests under way finish.
    """
    import uvloop

    from farebox import logs
    from farebox.db import UnsafeRoleError
    from farebox.users.tokens import WeakSecretError

    logs.configure(settings.log_format)
    at = (host or settings.web_host, settings.web_port if port is None else port)
    try:
        uvloop.run(_serve(settings, *at))
    except (WeakSecretError, UnsafeRoleError) as error:
        raise CommandError(str(error), exit_code=Exit.USAGE) from None


async def _serve(settings: Settings, host: str, port: int) -> None:
    from aiohttp import web as http

    from farebox.app import make_app

    runner = http.AppRunner(make_app(settings), access_log=None, shutdown_timeout=10.0)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await http.TCPSite(runner, host, port, backlog=1024).start()
        bound = runner.addresses[0][1]
        click.echo(json.dumps({"event": "ready", "url": f"http://{host}:{bound}", "pid": os.getpid()}))
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


@click.group
def operator() -> None:
    """The people who run this installation."""


@operator.command("create")
@click.argument("email")
@click.option("--name", default="", help="The person's name.")
@click.option(
    "--password",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Asked for when left out; on a command line others can read it.",
)
@pass_settings
def create_operator(settings: Settings, *, email: str, name: str, password: str) -> None:
    """Make an operator: a user who sees every organization in the admin endpoints."""

    async def act(session: "AsyncSession") -> None:
        from farebox.users import service

        await service.make_operator(
            session, email=address, name=name, password_hash=password_hash, now=datetime.now(UTC)
        )

    address = _email(email)
    password_hash = asyncio.run(_hash(password, address, name))
    _work(settings, act)
    say(f"{address} is an operator.")


@click.group
def member() -> None:
    """The members of an organization."""


@member.command("add")
@click.argument("organization")
@click.argument("email")
@click.option("--role", type=click.Choice(["owner", "admin", "member"]), default="member", show_default=True)
@pass_settings
def add_member(settings: Settings, *, organization: str, email: str, role: str) -> None:
    """Make an existing user a member of ORGANIZATION (org_…), or change the role he has there."""

    async def act(session: "AsyncSession") -> str:
        from farebox.organizations import service
        from farebox.organizations.permissions import Role

        found = await service.by_public_id(session, organization)
        await service.put_member(session, found.id, address, Role(role))
        return found.name

    address = _email(email)
    say(f"{address} is {role} of {_work(settings, act)}.")


@click.group
def clock() -> None:
    """The test clock of an organization in test mode."""


@clock.command("enable")
@click.argument("organization")
@pass_settings
def enable_clock(settings: Settings, *, organization: str) -> None:
    """Put ORGANIZATION (org_…) into test mode, for good: its time may then be advanced."""

    async def act(session: "AsyncSession") -> None:
        from farebox.organizations import service

        (await service.by_public_id(session, organization)).test_mode = True

    _work(settings, act)
    say(f"{organization} is in test mode.")


@clock.command("advance")
@click.argument("organization")
@click.option("--days", type=click.FloatRange(0), help="How far.")
@click.option("--to", type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"]), help="To which instant, UTC.")
@json_option
@pass_settings
def advance_clock(
    settings: Settings, *, organization: str, days: float | None, to: datetime | None, as_json: bool
) -> None:
    """Move the time of ORGANIZATION (org_…) ahead. It never runs backwards."""

    async def act(session: "AsyncSession") -> datetime:
        from farebox.clock import SystemClock
        from farebox.organizations import service, test_clock

        found = await service.by_public_id(session, organization)
        return await test_clock.advance(
            session,
            found.id,
            by=timedelta(days=days) if days is not None else None,
            to=to.replace(tzinfo=UTC) if to is not None else None,
            clock=SystemClock(),
        )

    if (days is None) == (to is None):
        raise click.UsageError("Say either --days or --to.")
    present = _work(settings, act)
    emit(
        {"organization": organization, "now": present},
        as_json=as_json,
        tables=Table(["organization", "now"], [[organization, present.isoformat(timespec="seconds")]]),
    )


@click.group
def organization() -> None:
    """The organizations of this installation."""


@organization.command("list")
@click.option("--search", help="Part of the name.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@pass_settings
def list_organizations(settings: Settings, *, search: str | None, limit: int, as_json: bool) -> None:
    """List organizations, the newest first."""

    async def act(session: "AsyncSession") -> "list[Organization]":
        from farebox.organizations import service

        return await service.search(session, search, limit=limit)

    rows = [
        {
            "id": f"org_{found.public_id}",
            "name": found.name,
            "state": found.state,
            "test_mode": found.test_mode,
            "created_at": found.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        }
        for found in _work(settings, act)
    ]
    columns = ["id", "name", "state", "test_mode", "created_at"]
    emit(rows, as_json=as_json, tables=Table(columns, [[row[column] for column in columns] for row in rows]))


def _email(text: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from farebox.fields import Email

    try:
        return TypeAdapter(Email).validate_python(text)
    except ValidationError:
        raise click.BadParameter(f"{text!r} is no e-mail address", param_hint="EMAIL") from None


async def _hash(password: str, email: str, name: str) -> str:
    from farebox.problems import Refusal
    from farebox.users.passwords import LeakedPasswords, Passwords, refuse_weak

    passwords = Passwords(threads=1)
    try:
        refuse_weak(password, leaked=LeakedPasswords(), email=email, name=name, organization="")
        return await passwords.hash(password)
    except Refusal as refusal:
        raise CommandError(f"The password {refusal.message}.", exit_code=Exit.USAGE) from None
    finally:
        passwords.close()


def _work(settings: Settings, act: "Callable[[AsyncSession], Awaitable[T]]") -> T:
    """Run `act` in one transaction of the worker's role; refusals become one line."""
    from farebox.organizations.test_clock import TestClockError
    from farebox.problems import Refusal

    try:
        return in_one_transaction(settings, act)
    except Refusal as refusal:
        raise CommandError(refusal.message) from None
    except TestClockError as error:
        raise CommandError(f"The clock stays as it is: {error}.") from None
