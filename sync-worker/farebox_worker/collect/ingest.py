"""One transaction that makes a batch count: rollups, streams, segments, quarantine and the file's offset.

All of it or nothing. The file's row is locked and its offset compared first, then the streams' rows in one
order, so whoever else reads the same bytes or the same lines, by mistake or after a crash, waits and then
finds them read. A shared lock keeps test clocks still while lines are mapped through them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import polars as pl
from sqlalchemy import text

from farebox.clock import ClockOffset
from farebox.db import Database
from farebox_worker.collect.aggregate import STREAM, Tally, deltas, disowned, tally
from farebox_worker.collect.batch import Batch, FileRow, Outcome
from farebox_worker.collect.copying import copy_frame
from farebox_worker.collect.dimensions import Dimensions
from farebox_worker.collect.streams import Seen, Stretch, absorb

_HOLD_TEST_CLOCKS: Final = text("SELECT pg_advisory_xact_lock_shared(hashtext('farebox test clock'))")
_LOCK_FILE: Final = "SELECT read_offset FROM usage_files WHERE id = $1 FOR UPDATE"
# A file that goes on after its end was thought reached is open again, and its archive no longer whole.
_MOVE_FILE: Final = """
    UPDATE usage_files SET read_offset = $2, state = 'open', ended_at = NULL, archived_as = NULL WHERE id = $1
"""
_STREAM_ROWS: Final = "unnest($1::text[], $2::text[], $3::bigint[]) AS n(node, boot, worker)"
_MEET_STREAMS: Final = """
    INSERT INTO usage_streams (node, boot, worker, highest, first_at, last_at)
    SELECT node, boot, worker, 0, first_at, last_at
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
         AS n(node, boot, worker, first_at, last_at)
    ORDER BY node, boot, worker
    ON CONFLICT DO NOTHING
"""
_LOCK_STREAMS: Final = f"""
    SELECT node, boot, worker, highest, gaps FROM usage_streams JOIN {_STREAM_ROWS} USING (node, boot, worker)
    ORDER BY node, boot, worker FOR UPDATE OF usage_streams
"""  # noqa: S608 - constants of this module
_MOVE_STREAM: Final = """
    UPDATE usage_streams SET highest = $4, gaps = $5,
           first_at = LEAST(first_at, $6), last_at = GREATEST(last_at, $7)
    WHERE (node, boot, worker) = ($1, $2, $3)
"""
_CLOCKS: Final = """
    SELECT o.public_id, c.began_at, c.offset_ms
    FROM test_clock_offsets c JOIN organizations o ON o.id = c.organization_id
    WHERE o.public_id = ANY($1) ORDER BY c.began_at
"""


def _saturating(column: str) -> str:
    # An absurd sum must not stop the log: it stays at the greatest number there is, which nobody overlooks.
    greatest = 2**63 - 1
    return (
        f"{column} = CASE WHEN r.{column} > {greatest} - excluded.{column} THEN {greatest} "
        f"ELSE r.{column} + excluded.{column} END"
    )


_SUMS: Final = ("requests", "units", "bytes_in", "bytes_out", "microseconds")
_DELTAS: Final = """
    CREATE TEMPORARY TABLE IF NOT EXISTS deltas (
        dimension_id bigint, bucket bigint, organization_id uuid, requests bigint, units bigint,
        bytes_in bigint, bytes_out bigint, microseconds bigint, max_units bigint
    ) ON COMMIT DELETE ROWS
"""
# The rows come sorted by the key, so that two collectors that add to the same rows wait in one order.
_ADD: Final = f"""
    INSERT INTO usage_rollups AS r (dimension_id, bucket, organization_id, {", ".join(_SUMS)}, max_units)
    SELECT * FROM deltas
    ON CONFLICT (dimension_id, bucket) DO UPDATE SET {", ".join(map(_saturating, _SUMS))},
        max_units = GREATEST(r.max_units, excluded.max_units)
"""  # noqa: S608 - constants of this module
# Invoiced periods that the lines fall into are counted once more with their organization's next invoice.
_TOUCH: Final = """
    SELECT farebox_touch_periods(array_agg(dimension_id), array_agg(first), array_agg(last))
    FROM (SELECT dimension_id, min(bucket) AS first, max(bucket) AS last FROM deltas GROUP BY dimension_id) t
"""
_GROW_SEGMENT: Final = """
    INSERT INTO usage_segments AS s (file_id, start_offset, end_offset, sha256, sealed, lines, new_lines,
                                     duplicate_lines, quarantined_lines, first_at, last_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (file_id, start_offset) DO UPDATE SET
        end_offset = excluded.end_offset, sha256 = excluded.sha256, sealed = excluded.sealed,
        lines = s.lines + excluded.lines, new_lines = s.new_lines + excluded.new_lines,
        duplicate_lines = s.duplicate_lines + excluded.duplicate_lines,
        quarantined_lines = s.quarantined_lines + excluded.quarantined_lines,
        first_at = LEAST(s.first_at, excluded.first_at), last_at = GREATEST(s.last_at, excluded.last_at)
"""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

StreamKey = tuple[str, str, int]
"""Node, boot and worker."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a batch came to, and the streams that its lines belong to."""

    outcome: Outcome
    streams: frozenset[StreamKey]


class OffsetMovedError(RuntimeError):
    """Somebody else has read on in this file: the batch was not committed and must be read anew."""


async def commit(database: Database, batch: Batch, dimensions: Dimensions) -> Committed:
    """Make the batch count, in one transaction.

    Raises `OffsetMovedError` if the file was read on meanwhile, and what the database raises; nothing has
    changed then, or (the connection broke at the commit) everything has: the file's offset tells.
    """
    try:
        async with database.transaction() as session:
            await session.execute(_HOLD_TEST_CLOCKS)
            raw = await (await session.connection()).get_raw_connection()
            return await _write(raw.driver_connection, batch, dimensions)
    except BaseException:
        dimensions.forget()
        raise


async def _write(connection: Any, batch: Batch, dimensions: Dimensions) -> Committed:
    await _claim(connection, batch.file, batch.start)
    frame = disowned(batch.frame())
    new, streams = await _see(connection, frame)
    frame = frame.with_columns(new)
    fresh = frame if frame["new"].all() else frame.filter("new")
    if fresh.height:
        await _add(connection, fresh, dimensions)
    outcome = await _record_stretches(connection, batch, tally(frame))
    await connection.execute(_MOVE_FILE, batch.file.id, batch.end)
    return Committed(outcome, streams)


async def _claim(connection: asyncpg.Connection, file: FileRow, offset: int) -> None:
    found = await connection.fetchval(_LOCK_FILE, file.id)
    if found != offset:
        raise OffsetMovedError(f"{file.path} was read to {found}, not {offset}")


async def _see(connection: asyncpg.Connection, frame: pl.DataFrame) -> tuple[pl.Series, frozenset[StreamKey]]:
    """Move the streams' rows over the lines. Returns the column `new` and the streams."""
    numbered = frame.with_row_index("row")
    with_stream = numbered.select("row", *STREAM, "seq", "ts").filter(pl.col("seq") > 0)
    rows_new = [numbered.filter((pl.col("seq") == 0) & ~pl.col("recounted"))["row"]]
    parts: dict[StreamKey, pl.DataFrame] = {}
    for (node, boot, worker), part in with_stream.partition_by(
        *STREAM, as_dict=True, maintain_order=True
    ).items():
        key = (_storable(node), _storable(boot), worker)
        parts[key] = pl.concat([parts[key], part]).sort("row") if key in parts else part
    if parts:
        before = await _lock_streams(connection, parts)
        moves = []
        for key, part in parts.items():
            new, seen = absorb(before[key], part["seq"])
            rows_new.append(part["row"].filter(new))
            moves.append((*key, seen.highest, _ranges(seen.gaps), *_span(part)))
        await connection.executemany(_MOVE_STREAM, moves)
    if sum(rows.len() for rows in rows_new) == frame.height:
        return pl.repeat(value=True, n=frame.height, dtype=pl.Boolean, eager=True).alias("new"), frozenset(
            parts
        )
    return numbered.select(pl.col("row").is_in(pl.concat(rows_new).implode()).alias("new"))["new"], frozenset(
        parts
    )


async def _lock_streams(
    connection: asyncpg.Connection, parts: dict[StreamKey, pl.DataFrame]
) -> dict[StreamKey, Seen]:
    nodes, boots, workers = zip(*parts, strict=True)
    firsts, lasts = zip(*map(_span, parts.values()), strict=True)
    await connection.execute(_MEET_STREAMS, nodes, boots, workers, firsts, lasts)
    return {
        (row["node"], row["boot"], row["worker"]): Seen(
            row["highest"], tuple(Stretch(gap.lower, gap.upper - 1) for gap in row["gaps"])
        )
        for row in await connection.fetch(_LOCK_STREAMS, nodes, boots, workers)
    }


async def _add(connection: asyncpg.Connection, fresh: pl.DataFrame, dimensions: Dimensions) -> None:
    organizations = fresh["org"].unique().drop_nulls().cast(pl.String).to_list()
    clocks: defaultdict[str, list[ClockOffset]] = defaultdict(list)
    for row in await connection.fetch(_CLOCKS, [name for name in organizations if "\0" not in name]):
        clocks[row["public_id"]].append(
            ClockOffset(row["began_at"], timedelta(milliseconds=row["offset_ms"]))
        )
    sums = await dimensions.identify(connection, deltas(fresh, clocks))
    columns = ("id", "bucket", "organization", "requests", "units", "in", "out", "us", "most")
    await connection.execute(_DELTAS)
    await copy_frame(connection, sums.select(columns).sort("id", "bucket"), "deltas")
    await connection.execute(_ADD)
    await connection.execute(_TOUCH)


async def _record_stretches(
    connection: asyncpg.Connection, batch: Batch, tallies: dict[int, Tally]
) -> Outcome:
    outcome = Outcome()
    for number, part in enumerate(batch.stretches):
        counted = tallies.get(number, Tally(0, 0, 0, None, None))
        quarantined = len(part.quarantined)
        outcome += Outcome(counted.lines + quarantined, counted.new, counted.duplicate, quarantined)
        await connection.execute(
            _GROW_SEGMENT,
            batch.file.id,
            part.segment_start,
            part.end,
            part.sha256,
            part.sealed,
            counted.lines + quarantined,
            counted.new,
            counted.duplicate,
            quarantined,
            _instant(counted.first_ts),
            _instant(counted.last_ts),
        )
    await connection.copy_records_to_table(
        "usage_quarantine",
        columns=("file_id", "start_offset", "length", "reason", "excerpt"),
        records=_quarantine_rows(batch),
    )
    return outcome


def _quarantine_rows(batch: Batch) -> Iterable[tuple[int, int, int, str, bytes]]:
    for part in batch.stretches:
        for line in part.quarantined:
            yield batch.file.id, line.start, line.length, line.reason, line.excerpt


def _ranges(gaps: Sequence[Stretch]) -> list["asyncpg.Range[int]"]:
    return [asyncpg.Range(gap.first, gap.last + 1) for gap in gaps]


def _span(part: pl.DataFrame) -> tuple[datetime, datetime]:
    first, last = part.select(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last")).row(0)
    return _EPOCH + timedelta(milliseconds=first), _EPOCH + timedelta(milliseconds=last)


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)


def _storable(name: str) -> str:
    # PostgreSQL's text holds no NUL character, which JSON can.
    return name.replace("\0", "\ufffd")
