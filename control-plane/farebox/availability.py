"""Which failures mean that PostgreSQL is away, as opposed to our own mistakes.

SQLSTATE classes: 08 connection, 53 insufficient resources, 57P operator intervention (start-up, shutdown).
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


def is_stale_connection(error: BaseException) -> bool:
    """Tell whether a connection turned out to be dead when it was used."""
    if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.InterfaceError | ConnectionResetError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_away(error: BaseException) -> bool:
    """Tell whether the error says that the database cannot be reached or will not serve now."""
    if isinstance(error, OSError | PoolTimeoutError | asyncpg.InterfaceError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_away_state(error.orig) or _caused_by_connection(error.orig)
    return is_away_state(error)


def is_away_state(error: BaseException | None) -> bool:
    """Tell whether the error carries an SQLSTATE of a database that is away."""
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith(("08", "53", "57P"))


def _caused_by_connection(error: BaseException | None) -> bool:
    return error is not None and isinstance(error.__cause__, OSError | asyncpg.InterfaceError)
