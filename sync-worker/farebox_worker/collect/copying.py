"""A table of columns goes to PostgreSQL by COPY, as CSV that polars writes: no value passes through Python.

Into temporary tables only, from where one statement merges them: the tables of tenants stand under row
security, which COPY does not serve.
"""

import io

import asyncpg
import polars as pl


async def copy_frame(connection: asyncpg.Connection, frame: pl.DataFrame, table: str) -> None:
    """Append the frame to a temporary table with the same columns in the same order.

    Null is null and empty text is empty text: texts are quoted, nulls are not.
    """
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=False, quote_style="non_numeric", null_value="")
    buffer.seek(0)
    await connection.copy_to_table(table, source=buffer, format="csv", schema_name="pg_temp")
