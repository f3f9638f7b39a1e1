"""What commands for operators share: the database as the worker's role, organizations by name, times.

Commands act for no tenant or for any, so they use `farebox_worker`, which sees all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final, TypeVar

import click

from farebox_cli.errors import CommandError, Exit

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.db import Database
    from farebox.settings import Settings

T = TypeVar("T")
_CONNECTIONS: Final = 4


@asynccontextmanager
async def worker_database(settings: "Settings") -> AsyncIterator["Database"]:
    """Open the database for the block. Raises `CommandError` if its URL is not known."""
    from farebox.db import Database

    url = settings.database_worker_url.get_secret_value()
    if not url:
        raise CommandError(
            "FAREBOX_DATABASE_WORKER_URL is not set; run this where `farebox up` runs, or export it.",
            exit_code=Exit.USAGE,
        )
    database = Database(url, pool_size=_CONNECTIONS)
    try:
        yield database
    finally:
        await database.close()


async def with_database(settings: "Settings", work: Callable[["Database"], Awaitable[T]]) -> T:
    """Do the work with the database, opened and closed around it."""
    async with worker_database(settings) as database:
        return await work(database)


def in_one_transaction(settings: "Settings", work: Callable[["AsyncSession"], Awaitable[T]]) -> T:
    """Do the work in one transaction, from a command that runs no event loop of its own."""

    async def inside(database: "Database") -> T:
        async with database.transaction() as session:
            return await work(session)

    return asyncio.run(with_database(settings, inside))


async def organization_id(session: "AsyncSession", name: str) -> "UUID":
    """Return the id of the organization `org_…`. Raises `CommandError` if there is none."""
    from sqlalchemy import select

    from farebox import ids
    from farebox.organizations.model import Organization

    try:
        public = ids.strip("org", name)
    except ids.MalformedIdError as error:
        raise CommandError(str(error), exit_code=Exit.USAGE) from None
    found = await session.scalar(select(Organization.id).where(Organization.public_id == public))
    if found is None:
        raise CommandError(f"There is no organization {name}.")
    return found


def read_instant(text: str, *, option: str, zone: tzinfo = UTC) -> datetime:
    """Read an RFC 3339 time; one without an offset is meant in `zone`. Raises `click.BadParameter`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time; write it as 2026-12-01T00:00:00Z", param_hint=option
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
