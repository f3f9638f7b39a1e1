"""The node that a collector works for: registered, reported on, and locked against a second collector."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from farebox.db import Database

_LOCK: Final = text("SELECT pg_try_advisory_lock(hashtext('farebox collector'), hashtext(:node))")
_UNLOCK: Final = text("SELECT pg_advisory_unlock(hashtext('farebox collector'), hashtext(:node))")
_ALIVE: Final = text("SELECT 1")
# A node that was given up on comes back with its collector; the note stays, for statements of that time.
_START: Final = text(
    """
    INSERT INTO nodes (code, reported_at, last_error) VALUES (:node, :now, :error)
    ON CONFLICT (code) DO UPDATE SET state = 'active', reported_at = :now, last_error = :error
    """
)
_REPORT: Final = text(
    """
    UPDATE nodes SET reported_at = :now, last_error = :error,
           read_to_end_at = COALESCE(:read_to_end_at, read_to_end_at)
    WHERE code = :node
    """
)


class NodeLock:
    """The right to collect for a node, held as long as one connection lives."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Hold the lock that was taken on this connection."""
        self._connection = connection

    async def confirm(self) -> None:
        """Raise what the database raises if the connection, and with it the lock, is lost."""
        await self._connection.execute(_ALIVE)


@asynccontextmanager
async def node_lock(database: Database, node: str) -> AsyncIterator[NodeLock | None]:
    """Try to take the node's lock; yields None while another collector has it."""
    async with database.engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        if not await connection.scalar(_LOCK, {"node": node}):
            yield None
            return
        try:
            yield NodeLock(connection)
        finally:
            # The pool keeps the connection, and with it the lock, unless it is given back.
            if not connection.closed and not connection.invalidated:
                await connection.execute(_UNLOCK, {"node": node})


async def start(database: Database, node: str, *, now: datetime, error: str | None) -> None:
    """Register the node, or take it up again."""
    async with database.transaction() as session:
        await session.execute(_START, {"node": node, "now": now, "error": error})


async def report(
    database: Database, node: str, *, now: datetime, read_to_end_at: datetime | None, error: str | None
) -> None:
    """Say that the collector lives, when it last stood at the end of everything, and what hinders it.

    `read_to_end_at` is written as it is, also when the machine's clock was set back: periods then wait.
    """
    async with database.transaction() as session:
        await session.execute(
            _REPORT, {"node": node, "now": now, "read_to_end_at": read_to_end_at, "error": error}
        )
