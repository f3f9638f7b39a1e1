"""`farebox key`: an organization's API keys, from issue to revocation, and keys from elsewhere.

Works as the worker's role. What is done is done in somebody's name: the one given with `--as`, else the
organization's first owner.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, print_json, say
from farebox_cli.worker_database import in_one_transaction, organization_id, read_instant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")
pass_settings = click.make_pass_decorator(Settings)
as_option = click.option("--as", "email", help="Whose deed it is; the organization's first owner otherwise.")
scope_option = click.option("--scope", "scopes", multiple=True, help="`METHOD route`; may be repeated.")
cidr_option = click.option("--cidr", "cidrs", multiple=True, help="Address or network; may be repeated.")


@click.group
def key() -> None:
    """The API keys of an organization."""


@key.command("list")
@click.argument("organization")
@json_option
@pass_settings
def list_keys(settings: Settings, *, organization: str, as_json: bool) -> None:
    """List the keys of ORGANIZATION (org_…), revoked ones included."""

    async def act(session: "AsyncSession") -> list[dict[str, Any]]:
        from sqlalchemy import select

        from farebox.gateways import service as gateways
        from farebox.keys.shown import KEYS, columns, shown

        owner = await organization_id(session, organization)
        enforced = await gateways.enforced_revision(session, owner)
        rows = await session.execute(
            select(*columns()).where(KEYS.organization_id == owner).order_by(KEYS.created_at, KEYS.id)
        )
        return [shown(row, enforced=enforced, now=datetime.now(UTC)) for row in rows.mappings()]

    keys = in_one_transaction(settings, act)
    columns = ["id", "name", "environment", "state", "origin", "expires_at", "last_used_at"]
    rows = [[each[column] for column in columns] for each in keys]
    emit(keys, as_json=as_json, tables=Table([name.replace("_", " ") for name in columns], rows))


@key.command("issue")
@click.argument("organization")
@click.option("--name", required=True, help="For people to tell keys apart.")
@click.option("--test", "is_test", is_flag=True, help="A test key: metered and limited, never billed.")
@click.option("--expires-at", help="RFC 3339; without it the key has no end.")
@scope_option
@cidr_option
@as_option
@pass_settings
def issue(
    settings: Settings,
    *,
    organization: str,
    name: str,
    is_test: bool,
    expires_at: str | None,
    scopes: tuple[str, ...],
    cidrs: tuple[str, ...],
    email: str | None,
) -> None:
    """Issue a key for ORGANIZATION and print its text on standard output, this once."""
    ends = None if expires_at is None else read_instant(expires_at, option="--expires-at")

    async def act(session: "AsyncSession", owner: "UUID", user: "UUID") -> str:
        from farebox.keys import service

        issued = await service.issue(
            session,
            owner,
            creator=user,
            name=name,
            environment="test" if is_test else "live",
            expires_at=ends,
            scopes=_each("--scope", scopes),
            cidrs=_each("--cidr", cidrs),
            metadata={},
            prefix=settings.key_prefix,
            now=datetime.now(UTC),
        )
        say(f"key_{issued.key.name.key} was issued. Store its text now: it is not shown again.")
        return issued.key.text

    click.echo(_acting(settings, organization, email, act))


@key.command("rotate")
@click.argument("organization")
@click.argument("key_id")
@click.option("--grace-hours", type=click.IntRange(0, 720), default=24, show_default=True)
@as_option
@pass_settings
def rotate(
    settings: Settings, *, organization: str, key_id: str, grace_hours: int, email: str | None
) -> None:
    """Issue the successor of KEY_ID and print its text; the old key ends after the grace."""

    async def act(session: "AsyncSession", owner: "UUID", user: "UUID") -> str:
        from farebox.keys import rotation

        done = await rotation.rotate(
            session,
            owner,
            key_id.removeprefix("key_"),
            rotator=user,
            may_rotate_all=True,
            grace=timedelta(hours=grace_hours),
            expires_at=None,
            prefix=settings.key_prefix,
            now=datetime.now(UTC),
        )
        ends = (
            "is revoked" if done.old.state == "revoked" else f"ends {done.old.expires_at:%Y-%m-%d %H:%M} UTC"
        )
        say(f"key_{done.successor.key.name.key} replaces {key_id}, which {ends}. Store its text now.")
        return done.successor.key.text

    click.echo(_acting(settings, organization, email, act))


@key.command("revoke")
@click.argument("organization")
@click.argument("key_id")
@as_option
@pass_settings
def revoke(settings: Settings, *, organization: str, key_id: str, email: str | None) -> None:
    """Revoke KEY_ID for good."""

    async def act(session: "AsyncSession", owner: "UUID", user: "UUID") -> None:
        from farebox.keys import service

        await service.revoke(
            session,
            owner,
            key_id.removeprefix("key_"),
            revoker=user,
            may_revoke_all=True,
            now=datetime.now(UTC),
        )

    _acting(settings, organization, email, act)
    say(f"{key_id} is revoked; the gateways follow within a second or so.")


@key.command("import")
@click.argument("organization")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@as_option
@json_option
@pass_settings
def import_keys(
    settings: Settings, *, organization: str, file: Path, email: str | None, as_json: bool
) -> None:
    """Take over keys that were issued elsewhere from FILE: CSV, or JSON Lines (.jsonl), all or none.

    Columns: name, and sha256 or key (the text, hashed here); environment, hint, expires_at, scopes, cidrs (in
    CSV several are parted by `;`).
    """
    from farebox.keys.importing import ForeignKey
    from farebox_cli import key_files

    rows = key_files.read(file)

    async def act(session: "AsyncSession", owner: "UUID", user: "UUID") -> list[str]:
        from farebox.keys import importing

        return await importing.take_over(
            session,
            owner,
            [ForeignKey(digest=row.sha256, **row.model_dump(exclude={"sha256"})) for row in rows],
            creator=user,
            now=datetime.now(UTC),
        )

    names = [f"key_{name}" for name in _acting(settings, organization, email, act)]
    if as_json:
        print_json(names)
    say(f"{len(names)} keys imported; their holders go on using them.")


@key.command("report-leak")
@click.option("--found-at", help="Where it was seen, such as a URL.")
@pass_settings
def report_leak(settings: Settings, *, found_at: str | None) -> None:
    """Read the text of a leaked key from standard input; if it is one of ours, revoke it at once."""
    text = sys.stdin.readline().strip()
    if not text:
        raise CommandError("Write the key's text to standard input.", exit_code=Exit.USAGE)

    async def act(session: "AsyncSession") -> None:
        from farebox.keys import leaks

        await leaks.report(session, text, source=found_at, now=datetime.now(UTC))

    in_one_transaction(settings, act)
    say("If this is a key of ours, it is revoked now.")


def _each(option: str, values: tuple[str, ...]) -> list[str] | None:
    from farebox.keys import restrictions

    read = restrictions.scope if option == "--scope" else restrictions.network
    try:
        return list(dict.fromkeys(read(value) for value in values)) or None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _acting(
    settings: Settings,
    organization: str,
    email: str | None,
    act: "Callable[[AsyncSession, UUID, UUID], Awaitable[T]]",
) -> T:
    """Act in one transaction, for an organization and in a member's name."""

    async def inside(session: "AsyncSession") -> T:
        owner = await organization_id(session, organization)
        return await act(session, owner, await _member(session, owner, email))

    return in_one_transaction(settings, inside)


async def _member(session: "AsyncSession", organization: "UUID", email: str | None) -> "UUID":
    from sqlalchemy import select

    from farebox.organizations.model import Membership
    from farebox.users.model import User

    wanted = select(Membership.user_id).where(Membership.organization_id == organization)
    if email is None:
        wanted = wanted.where(Membership.role == "owner").order_by(Membership.created_at).limit(1)
    else:
        wanted = wanted.join(User, User.id == Membership.user_id).where(User.email == email.lower())
    found = await session.scalar(wanted)
    if found is None:
        raise CommandError("The organization has no owner." if email is None else f"{email} is no member.")
    return found
