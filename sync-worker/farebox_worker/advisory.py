"""One worker at a time: a session-level advisory lock of PostgreSQL on a connection of its own.

The lock is held exactly as long as the session lives, so a worker that dies lets go of it at once, and one
that asks whether its connection still answers knows whether it still holds it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url

_TRY: Final = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_IS_HELD: Final = """
    SELECT EXISTS (
        SELECT FROM pg_locks, (SELECT hashtextextended($1, 0) AS key) wanted
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
          AND (classid::bigint << 32 | objid::bigint) = wanted.key)
"""
_KEEPALIVE: Final = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}


class LockLostError(RuntimeError):
    """The connection that held the lock is gone: somebody else may hold it now."""


class HeldLock:
    """A lock that is held."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", name: str, *, patience: float
    ) -> None:
        self._connection = connection
        self._name = name
        self._patience = patience

    async def check(self) -> None:
        """Return if the lock is still held. Raises `LockLostError`."""
        try:
            async with asyncio.timeout(self._patience):
                await self._connection.execute("SELECT 1")
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise LockLostError(f"the lock {self._name!r} is lost: {error}") from error


@asynccontextmanager
async def try_lock(url: str, name: str, *, patience: float = 5.0) -> AsyncIterator[HeldLock | None]:
    """Hold the lock for as long as the context lasts; None if somebody else holds it.

    `url` is the worker's database; `patience` in seconds bounds every wait for PostgreSQL.
    """
    connection = await connect(url, application="farebox lock", patience=patience)
    try:
        held = await connection.fetchval(_TRY, name)
        yield HeldLock(connection, name, patience=patience) if held else None
    finally:
        await hang_up(connection, patience=patience)


async def is_held(url: str, name: str, *, patience: float = 5.0) -> bool:
    """Tell whether anybody holds the lock; takes nothing."""
    connection = await connect(url, application="farebox health", patience=patience)
    try:
        return bool(await connection.fetchval(_IS_HELD, name))
    finally:
        await hang_up(connection, patience=patience)


async def connect(url: str, *, application: str, patience: float) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a connection outside the pool, one that notices a dead peer by itself."""
    return await asyncpg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
        timeout=patience,
        server_settings={"application_name": application, **_KEEPALIVE},
    )


async def hang_up(connection: "asyncpg.Connection[asyncpg.Record]", *, patience: float) -> None:
    """Close a connection, politely if the server still listens."""
    try:
        await connection.close(timeout=patience)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
