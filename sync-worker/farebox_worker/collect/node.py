"""The node that a collector works for, as the database knows it: registered, and reported on."""

from datetime import datetime
from typing import Final

from sqlalchemy import text

from farebox.db import Database

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
