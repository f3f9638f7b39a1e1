"""A log file as bytes at offsets: plain or gzipped, read only, and known by what it says, not by its name.

Every failure to read is an `UnreadableError` that names the file and what to do, so that it is never taken
for the end of the file nor for a failure of the database.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

_T = TypeVar("_T")

FIRST_LINE_BYTES: Final = 65_536
"""A longer first line is known by this much of it."""


class UnreadableError(RuntimeError):
    """The file cannot be read now."""

    def __init__(self, path: Path, reason: str) -> None:
        """Say which file and why."""
        super().__init__(f"{path} cannot be read: {reason}; mend it and the collector reads on by itself")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies on its device; a rename keeps it."""

    device: int
    inode: int


class Source(Protocol):
    """An open file."""

    path: Path
    place: Place
    finished: bool
    """Whether nothing can be appended to it."""

    def size(self) -> int:
        """Return how many bytes there are now."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, fewer than `length` only at the end. Raises `UnreadableError`."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_source(path: Path) -> Source:
    """Open a log, gzipped if its name ends in `.gz`. Raises `UnreadableError`."""
    return GzipSource(path) if path.suffix == ".gz" else PlainSource(path)


class PlainSource:
    """A file that may still grow. It is held open, so a rename or removal takes nothing away."""

    finished = False

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `UnreadableError`."""
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UnreadableError(path, error.strerror or str(error)) from error
        status = os.fstat(self._descriptor)
        self.place = Place(status.st_dev, status.st_ino)

    def size(self) -> int:
        """Return how many bytes there are now."""
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, fewer than `length` only at the end."""
        parts: list[bytes] = []
        while length > 0:
            try:
                part = os.pread(self._descriptor, length, offset)
            except OSError as error:
                raise UnreadableError(self.path, error.strerror or str(error)) from error
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


class GzipSource:
    """A compressed file, whole and finished; offsets are those of its content."""

    finished = True

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `UnreadableError`."""
        self.path = path
        try:
            self._file = gzip.GzipFile(path, "rb")
            status = path.stat()
        except OSError as error:
            raise UnreadableError(path, error.strerror or str(error)) from error
        self.place = Place(status.st_dev, status.st_ino)
        self._size: int | None = None

    def size(self) -> int:
        """Return the content's size; the first call reads all of it."""
        if self._size is None:
            self._size = self._guarded(lambda: self._file.seek(0, os.SEEK_END))
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return the content at `offset`, fewer than `length` only at the end."""
        if self._guarded(lambda: self._file.seek(offset)) < offset:
            return b""
        return self._guarded(lambda: self._file.read(length))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _guarded(self, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(self.path, f"it is no whole gzip file ({error})") from error


def fingerprint(source: Source) -> bytes | None:
    """Return the SHA-256 of the first line without its newline; None while that line is not finished."""
    head = source.read(0, FIRST_LINE_BYTES)
    line, newline, _ = head.partition(b"\n")
    if not newline and len(head) < FIRST_LINE_BYTES and not (source.finished and head):
        return None
    return hashlib.sha256(line).digest()
