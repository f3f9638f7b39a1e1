"""`collect --once`: read files to their present end and say what came of it.

For finished, late or foreign files, compressed or not, and safe beside a running collector. It registers no
node that others would wait for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import text

from farebox.clock import Clock
from farebox.db import Database
from farebox_worker.collect.batch import Batch, Outcome
from farebox_worker.collect.dimensions import Dimensions
from farebox_worker.collect.ingest import OffsetMovedError, StreamKey, commit
from farebox_worker.collect.reader import CutError, LogReader
from farebox_worker.collect.registry import note_end, reader_for
from farebox_worker.collect.sources import open_source

_MEET_NODE: Final = text(
    """
    INSERT INTO nodes (code, state, retired_at, retired_note)
    VALUES (:node, 'retired', :now, 'known by files only: collected once, never followed')
    ON CONFLICT (code) DO NOTHING
    """
)
_MISSING: Final = text(
    """
    SELECT COALESCE(sum(upper(gap) - lower(gap)), 0)
    FROM usage_streams, unnest(gaps) AS gap
    WHERE node = :node OR (node, boot, worker) IN (SELECT * FROM unnest(
        CAST(:nodes AS text[]), CAST(:boots AS text[]), CAST(:workers AS bigint[])))
    """
)


@dataclass(frozen=True, slots=True)
class Report:
    """What reading the files came to. `gaps`: numbers now missing in the node's streams and in those that
    the files named; `unfinished`: bytes behind the last newline of files that may still grow.
    """

    outcome: Outcome
    gaps: int
    unfinished: int


async def collect_once(database: Database, node: str, paths: Iterable[Path], *, clock: Clock) -> Report:
    """Read each file from where it was left to its present end. Raises `UnreadableError`."""
    async with database.transaction() as session:
        await session.execute(_MEET_NODE, {"node": node, "now": clock.now()})
    outcome, unfinished = Outcome(), 0
    streams: set[StreamKey] = set()
    dimensions = Dimensions()
    for path in paths:
        read, rest = await _read(database, node, path.absolute(), dimensions, streams, clock)
        outcome += read
        unfinished += rest
    async with database.transaction() as session:
        missing = await session.scalar(
            _MISSING,
            {
                "node": node,
                "nodes": [stream[0] for stream in streams],
                "boots": [stream[1] for stream in streams],
                "workers": [stream[2] for stream in streams],
            },
        )
    return Report(outcome, int(missing or 0), unfinished)


async def _read(
    database: Database,
    node: str,
    path: Path,
    dimensions: Dimensions,
    streams: set[StreamKey],
    clock: Clock,
) -> tuple[Outcome, int]:
    outcome = Outcome()
    while True:
        source = open_source(path)
        try:
            reader = await reader_for(database, node, source)
            while reader is not None and (batch := _next(reader)) is not None:
                committed = await commit(database, batch, dimensions)
                outcome += committed.outcome
                streams |= committed.streams
        except (OffsetMovedError, CutError):
            continue  # read by another meanwhile, or cut: begin again from what the database says
        else:
            if reader is not None and source.finished:
                await note_end(database, reader, clock.now())
            return outcome, source.size() if reader is None else reader.unfinished
        finally:
            source.close()


def _next(reader: LogReader) -> Batch | None:
    return reader.last_batch() if reader.source.finished else reader.next_batch()
