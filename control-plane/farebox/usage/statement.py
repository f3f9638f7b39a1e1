"""The completeness statement: what the metering had read at one moment, as an invoice keeps it.

It names every node, stream, open gap, unreadable line and segment digest that usage of the window can rest
on, so that anyone who holds the raw files can check each. It judges nothing: whether a gap stops an invoice
is the billing run's decision.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.subscriptions.periods import BUCKET_SECONDS

VERSION: Final = 1

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)

_NODES: Final = text("SELECT * FROM nodes ORDER BY code")
_STREAMS: Final = text(
    """
    SELECT node, boot, worker, highest, first_at, last_at,
           ARRAY(SELECT ARRAY[lower(gap), upper(gap) - 1] FROM unnest(gaps) AS gap) AS gaps
    FROM usage_streams WHERE first_at < :until AND last_at >= :since ORDER BY node, boot, worker
    """
)
# A segment of unreadable lines only has no time of its own: it is named if any was found since the start.
_SEGMENTS: Final = text(
    """
    SELECT f.node_code, f.path, f.fingerprint, s.*
    FROM usage_segments s JOIN usage_files f ON f.id = s.file_id
    WHERE (s.first_at < :until AND s.last_at >= :since)
       OR (s.first_at IS NULL AND EXISTS (
            SELECT FROM usage_quarantine q
            WHERE q.file_id = s.file_id AND q.start_offset >= s.start_offset
              AND q.start_offset < s.end_offset AND q.found_at >= :since))
    ORDER BY f.node_code, s.file_id, s.start_offset
    """
)
_STRAYS: Final = text(
    """
    SELECT d.org = '' AS anonymous, sum(r.requests) AS requests, sum(r.units) AS units
    FROM usage_rollups r JOIN usage_dimensions d ON d.id = r.dimension_id
    WHERE r.organization_id IS NULL AND r.bucket >= :first_bucket AND r.bucket < :end_bucket
    GROUP BY d.org = ''
    """
)


async def completeness(
    session: AsyncSession, *, since: datetime | None, until: datetime | None, now: datetime
) -> dict[str, Any]:
    """Return the statement for what was logged from `since` to `until` (wall time; None: no bound).

    Plain JSON:
    `{"version": 1, "taken_at", "since", "until",
    "nodes": [{"code", "state", "registered_at", "reported_at", "read_to_end_at", "retired_at",
    "retired_note", "last_error"}],
    "streams": [{"node", "boot", "worker", "highest", "gaps": [[first, last], …], "first_at", "last_at"}],
    "missing_lines", "quarantined",
    "unknown_organization": {"requests", "units"}, "unauthenticated": {"requests", "units"},
    "segments": [{"node", "file", "file_id", "fingerprint", "start", "end", "sha256", "lines", "new",
    "duplicate", "quarantined", "first_at", "last_at", "sealed"}]}`.
    Both ends of a gap are missing numbers. Times are RFC 3339 in UTC. `file` is the name last seen, without
    its folder; `fingerprint` the SHA-256 of the file's first line without its newline; `sha256` that of the
    bytes from `start` to `end` (excluded). A segment that is not `sealed` still grows; its digest holds up to
    `end`. Needs the worker's role; take it in a transaction of repeatable read: its parts are of one moment.
    """
    begin, end = since or _EARLIEST, until or _LATEST
    window = {"since": begin, "until": end}
    first_bucket = int(begin.timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS
    buckets = {"first_bucket": first_bucket, "end_bucket": math.ceil(end.timestamp())}
    streams = [_stream(row) for row in await session.execute(_STREAMS, window)]
    segments = [_segment(row) for row in await session.execute(_SEGMENTS, window)]
    strays = {row.anonymous: row for row in await session.execute(_STRAYS, buckets)}
    return {
        "version": VERSION,
        "taken_at": _instant(now),
        "since": _instant(since),
        "until": _instant(until),
        "nodes": [_node(row) for row in await session.execute(_NODES)],
        "streams": streams,
        "missing_lines": sum(last - first + 1 for stream in streams for first, last in stream["gaps"]),
        "quarantined": sum(segment["quarantined"] for segment in segments),
        "unknown_organization": _count(strays.get(False)),
        "unauthenticated": _count(strays.get(True)),
        "segments": segments,
    }


def _node(row: Any) -> dict[str, Any]:
    return {
        "code": row.code,
        "state": row.state,
        "registered_at": _instant(row.registered_at),
        "reported_at": _instant(row.reported_at),
        "read_to_end_at": _instant(row.read_to_end_at),
        "retired_at": _instant(row.retired_at),
        "retired_note": row.retired_note,
        "last_error": row.last_error,
    }


def _stream(row: Any) -> dict[str, Any]:
    gaps: Sequence[Sequence[int]] = row.gaps
    return {
        "node": row.node,
        "boot": row.boot,
        "worker": row.worker,
        "highest": row.highest,
        "gaps": [list(gap) for gap in gaps],
        "first_at": _instant(row.first_at),
        "last_at": _instant(row.last_at),
    }


def _segment(row: Any) -> dict[str, Any]:
    return {
        "node": row.node_code,
        "file": PurePath(row.path).name,
        "file_id": row.file_id,
        "fingerprint": row.fingerprint.hex(),
        "start": row.start_offset,
        "end": row.end_offset,
        "sha256": row.sha256.hex(),
        "lines": row.lines,
        "new": row.new_lines,
        "duplicate": row.duplicate_lines,
        "quarantined": row.quarantined_lines,
        "first_at": _instant(row.first_at),
        "last_at": _instant(row.last_at),
        "sealed": row.sealed,
    }


def _count(row: Any) -> dict[str, int]:
    return {"requests": int(row.requests) if row else 0, "units": int(row.units) if row else 0}


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
