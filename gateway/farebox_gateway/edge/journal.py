"""The gateway's state on disk: an append-only journal beside a snapshot.

A record is one line, `crc32(8 hex) SP payload LF`. `append` returns only after the bytes are on the disk, so
what the Admin API has answered survives a kill and a power cut. A torn last record is what a kill leaves and
is dropped; a broken record in the middle is damage and refused loudly. A failed append leaves the file as it
was. This module knows no resources: payloads are opaque bytes without newlines.
"""

import contextlib
import fcntl
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"(snapshot|journal)\.(\d{10})")


class JournalError(OSError):
    """The disk refused a record; nothing of it was kept."""


class DamagedJournalError(RuntimeError):
    """A record in the middle of a file is not what was written; the message names file, byte and remedy."""


class FolderInUseError(RuntimeError):
    """Another gateway process holds the state folder."""


class Journal:
    """Snapshot `n` holds all that the journals below `n` said; a start reads it and the journals from `n`."""

    def __init__(self, folder: Path) -> None:
        """Take the folder for this process alone. Raises `FolderInUseError`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise FolderInUseError(
                f"another gateway runs on {folder}: stop it, or set FAREBOX_EDGE_STATE_FOLDER"
            ) from None
        self._number = 1
        self._file = -1
        self._size = 0
        self._broken = False

    @property
    def size(self) -> int:
        """Bytes in the running journal, which compaction would spare the next start."""
        return self._size

    def recover(self) -> Iterator[bytes]:
        """Yield every payload in the order in which it was written, then stand ready to append."""
        numbers: dict[str, list[int]] = {"snapshot": [], "journal": []}
        for path in self._folder.iterdir():
            if match := _NAME.fullmatch(path.name):
                numbers[match[1]].append(int(match[2]))
        start = max(numbers["snapshot"], default=0)
        journals = sorted(number for number in numbers["journal"] if number >= start)
        if start:
            yield from _read(self._path("snapshot", start), last=False)
        for number in journals:
            yield from _read(self._path("journal", number), last=number == journals[-1])
        self._number = max([start, *journals, 1])
        self._open(self._number)
        self._remove_below(start)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write the payloads as one and wait for the disk. Raises `JournalError` with the file as before."""
        if self._broken:
            raise JournalError(
                "the journal is broken since an earlier fault of the disk; restart the gateway"
            )
        data = b"".join(_record(payload) for payload in payloads)
        try:
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError as error:
            try:
                os.ftruncate(self._file, self._size)
                os.fdatasync(self._file)
            except OSError:
                self._broken = True
            raise JournalError(error.errno, f"the journal cannot be written: {error.strerror}") from error
        self._size += len(data)

    def rotate(self) -> int:
        """Begin the next journal; return the number for the snapshot of the state as it now is."""
        self._open(self._number + 1)
        self._number += 1
        return self._number

    def write_snapshot(self, number: int, payloads: Iterable[bytes]) -> None:
        """Write the state as of `rotate()`; older files go once this one is safe. May run in a thread."""
        final = self._path("snapshot", number)
        temporary = final.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                for payload in payloads:
                    file.write(_record(payload))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(final)
            self._sync_folder()
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        self._remove_below(number)

    def close(self) -> None:
        """Give the folder back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        os.close(self._lock)

    def _open(self, number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        opened = os.open(self._path("journal", number), flags, 0o600)
        self._sync_folder()
        if self._file >= 0:
            os.close(self._file)
        self._file = opened
        self._size = os.fstat(opened).st_size

    def _path(self, kind: str, number: int) -> Path:
        return self._folder / f"{kind}.{number:010d}"

    def _remove_below(self, number: int) -> None:
        for path in self._folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and int(match[2]) < number:
                path.unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _record(payload: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _read(path: Path, *, last: bool) -> Iterator[bytes]:
    """Yield the payloads of one file; a torn end is cut off if a kill may have left it (`last`)."""
    position = 0
    with path.open("rb") as file:
        for line in file:
            payload = line[9:-1]
            if not (line.endswith(b"\n") and line[:9] == b"%08x " % zlib.crc32(payload)):
                break
            position += len(line)
            yield payload
        else:
            return
        rest = file.read(1)
    if not last or rest:
        raise DamagedJournalError(
            f"{path} is damaged at byte {position}: restore it from a backup, or move the folder away, start"
            " the gateway empty and run `farebox sync all`"
        )
    os.truncate(path, position)
