"""Keeps the raw lines: each file that was read to its end, compressed, for as long as is set.

The archive is what a later `farebox verify` reads, so a file stands in it whole or not at all, its bytes are
those that were counted, and the same bytes give the same archive. The original is never touched: whoever
rotates the log also removes it.
"""

import asyncio
import contextlib
import gzip
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from farebox.db import Database
from farebox_worker.collect.sources import PlainSource, UnreadableError, fingerprint

_STEP: Final = 1024 * 1024
_WAITING: Final = text(
    """
    SELECT id, path, fingerprint, read_offset FROM usage_files
    WHERE node_code = :node AND state = 'ended' AND archived_as IS NULL AND ended_at > :since
    ORDER BY ended_at
    """
)
_ARCHIVED: Final = text(
    "UPDATE usage_files SET archived_as = :name WHERE id = :id AND read_offset = :offset AND state = 'ended'"
)
_EXPIRED: Final = text(
    "SELECT id, archived_as FROM usage_files "
    "WHERE node_code = :node AND state = 'ended' AND archived_as IS NOT NULL AND ended_at <= :since"
)
_REMOVED: Final = text("UPDATE usage_files SET archived_as = NULL WHERE id = :id")


async def archive_ended(
    database: Database, node: str, folder: Path, *, keep: timedelta, now: datetime
) -> None:
    """Compress what has ended and is not in the archive yet, and remove what is older than `keep`.

    A file that is gone, or that no longer holds what was read, is left out. Raises `UnreadableError` (also
    for a disk that is full) and what the database raises; the next call goes on where this one stopped.
    """
    async with database.transaction() as session:
        waiting = (await session.execute(_WAITING, {"node": node, "since": now - keep})).all()
        expired = (await session.execute(_EXPIRED, {"node": node, "since": now - keep})).all()
    for row in expired:
        (folder / row.archived_as).unlink(missing_ok=True)
        async with database.transaction() as session:
            await session.execute(_REMOVED, {"id": row.id})
    for row in waiting:
        name = f"{node}-{row.id}-{row.fingerprint.hex()[:12]}.log.gz"
        if await asyncio.to_thread(_compress, row, folder / name):
            async with database.transaction() as session:
                await session.execute(_ARCHIVED, {"id": row.id, "name": name, "offset": row.read_offset})


def _compress(row: Any, target: Path) -> bool:
    """Write the file's bytes up to where it was read; tell whether they were there."""
    if not Path(row.path).exists():
        return False
    source = PlainSource(Path(row.path))
    source.finished = True
    with contextlib.closing(source):
        if source.size() != row.read_offset or fingerprint(source) != row.fingerprint:
            return False
        draft = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as raw:
                _write_gzip(source, row.read_offset, raw)
                raw.flush()
                os.fsync(raw.fileno())
            draft.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise UnreadableError(target, error.strerror or str(error)) from error
    return True


def _write_gzip(source: PlainSource, size: int, raw: Any) -> None:
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
        offset = 0
        while offset < size and (data := source.read(offset, min(_STEP, size - offset))):
            packed.write(data)
            offset += len(data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
