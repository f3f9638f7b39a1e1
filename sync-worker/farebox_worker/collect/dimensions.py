"""The names on usage lines become ids of `usage_dimensions`, remembered once they are known for good.

A name that resolves to nothing stays: its usage is counted under its text. Should the organization or
subscription appear later (a restored database, a copied log), the dimension and its rollups become theirs
when the next line names them.
"""

from typing import Final

import asyncpg
import polars as pl

from farebox_worker.collect.aggregate import DIMENSION
from farebox_worker.collect.copying import copy_frame

_COLUMNS: Final = "org, sub, key, plan_group, route, method, environment, outcome, status"
_TABLE: Final = """
    CREATE TEMPORARY TABLE IF NOT EXISTS named (
        org text, sub text, key text, plan_group text, route text, method text, environment text,
        outcome text, status int
    ) ON COMMIT DELETE ROWS
"""
# Sorted, so that two collectors that insert the same rows wait for each other in one order.
_INSERT: Final = f"""
    INSERT INTO usage_dimensions (organization_id, subscription_id, {_COLUMNS})
    SELECT o.id, s.id, n.org, n.sub, n.key, n.plan_group, n.route, n.method, n.environment, n.outcome,
           n.status
    FROM named n
    LEFT JOIN organizations o ON o.public_id = n.org
    LEFT JOIN subscriptions s ON s.public_id = n.sub AND s.organization_id = o.id
    ORDER BY n.org, n.sub, n.key, n.plan_group, n.route, n.method, n.environment, n.outcome, n.status
    ON CONFLICT ({_COLUMNS}) DO NOTHING
"""  # noqa: S608 - constants of this module
_SELECT: Final = f"""
    SELECT {_COLUMNS}, d.id, d.organization_id::text,
           (d.organization_id IS NOT NULL OR d.org = '')
           AND (d.subscription_id IS NOT NULL OR d.sub = '' OR d.org = '') AS settled
    FROM usage_dimensions d JOIN named USING ({_COLUMNS})
"""  # noqa: S608 - constants of this module
_HEAL: Final = """
    UPDATE usage_dimensions d SET organization_id = n.organization_id, subscription_id = n.subscription_id
    FROM (
        SELECT u.id, o.id AS organization_id, s.id AS subscription_id
        FROM usage_dimensions u
        JOIN organizations o ON o.public_id = u.org
        LEFT JOIN subscriptions s ON s.public_id = u.sub AND s.organization_id = o.id
        WHERE u.id = ANY($1)
    ) n
    WHERE d.id = n.id AND (d.organization_id, d.subscription_id)
                          IS DISTINCT FROM (n.organization_id, n.subscription_id)
    RETURNING d.id
"""
_HEAL_ROLLUPS: Final = """
    UPDATE usage_rollups r SET organization_id = d.organization_id
    FROM usage_dimensions d
    WHERE d.id = ANY($1) AND r.dimension_id = d.id AND r.organization_id IS DISTINCT FROM d.organization_id
"""
_REMEMBERED: Final = 65_536
_TEXTS: Final = {name: pl.Int32 if name == "status" else pl.String for name in DIMENSION}
_SCHEMA: Final = {**_TEXTS, "id": pl.Int64, "organization": pl.String}


class Dimensions:
    """Ids of dimensions, with a memory of those that can no longer change."""

    def __init__(self) -> None:
        """Begin with an empty memory."""
        self._known = pl.DataFrame(schema=_SCHEMA)

    async def identify(self, connection: asyncpg.Connection, frame: pl.DataFrame) -> pl.DataFrame:
        """Add the columns `id` and `organization` (its UUID as text, or null) to a frame that has those of
        `DIMENSION`; a dimension that is missing is made. Call `forget` if the transaction fails.
        """
        named = frame.with_columns(pl.col("status").cast(pl.Int32)).join(
            self._known, on=DIMENSION, how="left"
        )
        unknown = named.filter(pl.col("id").is_null()).select(DIMENSION).unique()
        if unknown.is_empty():
            return named
        found, settled = await self._look_up(connection, unknown)
        room = self._known.height + settled.height <= _REMEMBERED
        self._known = pl.concat([self._known, settled]) if room else settled.head(_REMEMBERED)
        both = pl.concat([named.filter(pl.col("id").is_not_null()).select(_SCHEMA.keys()).unique(), found])
        return named.drop("id", "organization").join(both, on=DIMENSION, how="left")

    def forget(self) -> None:
        """Forget everything: a dimension made in a transaction that did not commit does not exist."""
        self._known = pl.DataFrame(schema=_SCHEMA)

    async def _look_up(
        self, connection: asyncpg.Connection, unknown: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        await connection.execute(_TABLE)
        await copy_frame(connection, unknown, "named")
        rows = await connection.fetch(_SELECT)
        if len(rows) < unknown.height:
            await connection.execute(_INSERT)
            rows = await connection.fetch(_SELECT)
        doubtful = [row["id"] for row in rows if not row["settled"]]
        if doubtful and (healed := await connection.fetch(_HEAL, doubtful)):
            await connection.execute(_HEAL_ROLLUPS, [row["id"] for row in healed])
            rows = await connection.fetch(_SELECT)
        await connection.execute("TRUNCATE named")
        schema = {**_SCHEMA, "settled": pl.Boolean}
        found = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
        return found.drop("settled"), found.filter("settled").drop("settled")
