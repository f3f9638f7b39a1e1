"""Reads that must be fast: one read-only transaction of one tenant, on the driver itself.

A statement is written like every other, in SQLAlchemy's language or as text; here it is compiled once and run
without a session, which costs a third. Row security holds as everywhere: the organization is entered in the
same transaction. Knows no writes, and no statements that change their form with their values (`IN` lists).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.engine import make_url

_DIALECT: Final = dialect()  # type: ignore[no-untyped-call]
_ENTER: Final = "SELECT farebox_enter($1, $2)"


class _Connection(asyncpg.Connection):
    """Given back clean as it is: its transactions set nothing that outlives them."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Reader:
    """An open read-only transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Any) -> None:
        """Read through a connection whose transaction is open."""
        self._connection = connection

    async def rows(self, statement: ClauseElement, values: Mapping[str, Any]) -> list[Any]:
        """Run the statement; rows give their columns by name, in the manner of a mapping."""
        sql, names, defaults = _compiled(statement)
        arguments = [values[name] if name in values else defaults[name] for name in names]
        found: list[Any] = await self._connection.fetch(sql, *arguments)
        return found

    async def enter(self, organization_id: UUID, user_id: UUID) -> str | None:
        """Enter the organization for this transaction; returns the user's role there, None if he has none."""
        role: str | None = await self._connection.fetchval(_ENTER, organization_id, user_id)
        return role


class Reading:
    """A few connections for reads. Opened and closed by the process's start-up."""

    def __init__(self, url: str, *, pool_size: int) -> None:
        """Prepare for `url` (`postgresql://…`); nothing is connected before the first read."""
        self._pool: Any = asyncpg.create_pool(
            make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
            min_size=0,
            max_size=pool_size,
            connection_class=_Connection,
            init=_prepare,
            timeout=5,
            server_settings={"application_name": "farebox", "jit": "off"},
        )

    async def open(self) -> None:
        """Make the pool ready; connects to nothing yet."""
        await self._pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Reader]:
        """Open a read-only transaction."""
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            yield Reader(connection)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode, decoder=msgspec.json.decode, format="text"
    )


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@lru_cache(maxsize=512)
def _compiled(statement: ClauseElement) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), tuple(compiled.positiontup or ()), compiled.params  # type: ignore[attr-defined]
