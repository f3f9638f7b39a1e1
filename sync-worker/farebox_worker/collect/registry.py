"""Files as the database knows them: found by their first line, checked by their digest, told when they end.

Two different files may begin with the same line (foreign text does), and a cut file keeps its first line. So
a row is taken for a file only if the bytes of its last segment are still there; else the file is a further
generation, read from its start, where the streams recognise what they have seen.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from farebox.db import Database
from farebox_worker.collect.batch import FileRow
from farebox_worker.collect.digest import Digest, digest_of
from farebox_worker.collect.folder import is_log
from farebox_worker.collect.reader import LogReader
from farebox_worker.collect.sources import Source, fingerprint

_COLUMNS: Final = (
    "f.id, f.node_code, f.fingerprint, f.generation, f.recounted_to, f.path, f.device, f.inode, "
    "f.read_offset, f.state, f.archived_as"
)
_KNOWN: Final = text(
    f"""
    SELECT {_COLUMNS}, s.start_offset, s.end_offset, s.sha256, s.sealed
    FROM usage_files f
    LEFT JOIN LATERAL (
        SELECT * FROM usage_segments WHERE file_id = f.id ORDER BY start_offset DESC LIMIT 1
    ) s ON true
    WHERE f.node_code = :node AND f.fingerprint = :fingerprint ORDER BY f.generation
    """  # noqa: S608 - constants of this module
)
_REGISTER: Final = text(
    """
    INSERT INTO usage_files (node_code, device, inode, fingerprint, generation, recounted_to, path)
    VALUES (:node, :device, :inode, :fingerprint, :generation, :recounted_to, :path)
    ON CONFLICT (node_code, fingerprint, generation) DO NOTHING
    """
)
# A file that was cut in place ends there; what was lost of it shows as a gap in the streams that go on.
_END_CUT: Final = text("UPDATE usage_files SET state = 'ended', ended_at = now() WHERE id = ANY(:ids)")
_FOUND_AT: Final = text(
    "UPDATE usage_files SET path = :path, device = :device, inode = :inode WHERE id = :id"
)
_END: Final = text(
    "UPDATE usage_files SET state = 'ended', ended_at = :now WHERE id = :id AND read_offset = :offset"
)
_SEAL: Final = text(
    "UPDATE usage_segments SET sealed = true WHERE file_id = :id AND end_offset = :offset AND NOT sealed"
)
_OPEN: Final = text("SELECT id, path FROM usage_files WHERE node_code = :node AND state = 'open' ORDER BY id")


async def reader_for(database: Database, node: str, source: Source) -> LogReader | None:
    """Return a reader at the place that was reached in this file, registered if it is met for the first time;
    None while its first line is not finished. Raises `UnreadableError`.
    """
    mark = fingerprint(source)
    if mark is None:
        return None
    while True:
        async with database.transaction() as session:
            known = (await session.execute(_KNOWN, {"node": node, "fingerprint": mark})).all()
        for row in known:
            digest = _open_segment(source, row)
            if digest is not None:
                await _end_what_was_cut(database, source, row, known)
                return LogReader(source, file_row(row), digest)
        generation = {
            "node": node,
            "fingerprint": mark,
            "generation": max((row.generation for row in known), default=0) + 1,
            "device": source.place.device,
            "inode": source.place.inode,
        }
        recounted_to = max((row.read_offset for row in known), default=0)
        async with database.transaction() as session:
            await session.execute(
                _REGISTER, {**generation, "recounted_to": recounted_to, "path": str(source.path)}
            )


def file_row(row: Any) -> FileRow:
    """Read a row of `usage_files`."""
    return FileRow(
        row.id,
        row.node_code,
        row.fingerprint,
        row.generation,
        row.recounted_to,
        row.path,
        row.device,
        row.inode,
        row.read_offset,
        row.state == "ended",
        row.archived_as,
    )


async def note_place(database: Database, reader: LogReader, path: Path) -> None:
    """Write down where the file lies now, if that has changed."""
    place = reader.source.place
    if (reader.row.path, reader.row.device, reader.row.inode) == (str(path), place.device, place.inode):
        return
    reader.row = replace(reader.row, path=str(path), device=place.device, inode=place.inode)
    async with database.transaction() as session:
        await session.execute(
            _FOUND_AT,
            {"id": reader.row.id, "path": str(path), "device": place.device, "inode": place.inode},
        )


async def note_end(database: Database, reader: LogReader, now: datetime) -> None:
    """Write down that nothing more is expected of this file. If something comes, it is open again."""
    async with database.transaction() as session:
        found = await session.execute(_END, {"id": reader.row.id, "offset": reader.offset, "now": now})
        if found.rowcount:  # type: ignore[attr-defined]
            await session.execute(_SEAL, {"id": reader.row.id, "offset": reader.offset})


async def lost_files(database: Database, node: str, log: Path, followed: Collection[int]) -> list[str]:
    """Return the paths of the log's files that were not read to their end and are followed no more."""
    async with database.transaction() as session:
        rows = (await session.execute(_OPEN, {"node": node})).all()
    return [
        row.path
        for row in rows
        if row.id not in followed and Path(row.path).parent == log.parent and is_log(Path(row.path), log)
    ]


async def _end_what_was_cut(database: Database, source: Source, found: Any, known: Sequence[Any]) -> None:
    place = (source.place.device, source.place.inode)
    cut = [
        row.id
        for row in known
        if row.generation < found.generation and row.state == "open" and (row.device, row.inode) == place
    ]
    if cut:
        async with database.transaction() as session:
            await session.execute(_END_CUT, {"ids": cut})


def _open_segment(source: Source, row: Any) -> Digest | None:
    """Return the digest to go on with, or None if the source does not hold what the row says was read."""
    if row.read_offset == 0:
        return Digest(0, 0)
    if source.size() < row.read_offset:
        return None
    digest = digest_of(source, row.start_offset, row.end_offset)
    if digest.end != row.end_offset or digest.value() != row.sha256:
        return None
    return digest.following() if row.sealed else digest
