"""Counters in a mapped file: as fast as memory, and still there after the process was killed.

A write goes to the kernel's page cache at once, so a kill of the process loses nothing; a power cut loses
what the kernel had not yet written back (it is asked to every few seconds by its own clock). Slots hold a
name of at most 111 bytes and three integers.
"""

import logging
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

NAME_BYTES: Final = 112
_SLOT: Final = NAME_BYTES + 24
_WORDS: Final = _SLOT // 8
_START, _COUNT, _ENDS = (NAME_BYTES // 8 + offset for offset in range(3))
_FIRST_SLOTS: Final = 1024


class CounterTable:
    """Named rows of (start, count, ends). Rows whose end has long passed are used again."""

    def __init__(self, path: Path, now_ms: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._slots = 0
        self._persistent = True
        size = os.fstat(self._file).st_size
        self._map = mmap.mmap(-1, _SLOT)
        self.words = memoryview(self._map).cast("q")
        """The file as integers. It is another object after a row was added: look it up after `seek`."""
        self._resize(max(_FIRST_SLOTS, size // _SLOT))
        self._load(now_ms)

    def row(self, name: str) -> int | None:
        """Return the row of a name."""
        return self._rows.get(name)

    def add(self, name: str, now_ms: int) -> int:
        """Return a new row for a name of at most `NAME_BYTES` - 1 bytes."""
        if not self._free:
            self._reclaim(now_ms)
        if not self._free:
            self._resize(self._slots * 2)
        row = self._free.pop()
        self.words[row * _WORDS + _START] = 0
        self.words[row * _WORDS + _COUNT] = 0
        self.words[row * _WORDS + _ENDS] = 0
        raw = name.encode()
        if len(raw) < NAME_BYTES:
            self._map[row * _SLOT : row * _SLOT + NAME_BYTES] = raw.ljust(NAME_BYTES, b"\0")
        self._rows[name] = row
        return row

    def seek(self, name: str, start: int, ends: int) -> int:
        """Return the place of a row's count in `words`, the row begun anew if a later window has begun.

        It is not begun anew for an earlier start: a clock that steps back gives no second allowance.
        """
        row = self._rows.get(name)
        if row is None:
            row = self.add(name, start)
        place = row * _WORDS + _COUNT
        if start > self.words[place + _START - _COUNT]:
            self.set(row, start, 0, ends)
        return place

    def get(self, row: int) -> tuple[int, int, int]:
        """Return start, count and end."""
        base = row * _WORDS
        return self.words[base + _START], self.words[base + _COUNT], self.words[base + _ENDS]

    def set(self, row: int, start: int, count: int, ends: int) -> None:
        """Set start, count and end."""
        base = row * _WORDS
        self.words[base + _COUNT] = count
        self.words[base + _START] = start
        self.words[base + _ENDS] = ends

    def set_count(self, row: int, count: int) -> None:
        """Set the count alone."""
        self.words[row * _WORDS + _COUNT] = count

    def remove(self, name: str) -> None:
        """Give a row back."""
        row = self._rows.pop(name, None)
        if row is not None:
            self._clear(row)

    def items(self) -> Iterator[tuple[str, int]]:
        """Yield names and rows."""
        return iter(list(self._rows.items()))

    def close(self) -> None:
        """Let go of the file."""
        self.words.release()
        self._map.flush()
        self._map.close()
        os.close(self._file)

    def _load(self, now_ms: int) -> None:
        self._free.clear()
        for row in range(self._slots - 1, -1, -1):
            raw = self._map[row * _SLOT : row * _SLOT + NAME_BYTES].rstrip(b"\0")
            if raw and self.words[row * _WORDS + _ENDS] > now_ms:
                self._rows[raw.decode("utf-8", "replace")] = row
            else:
                self._clear(row)

    def _clear(self, row: int) -> None:
        self._map[row * _SLOT : (row + 1) * _SLOT] = bytes(_SLOT)
        self._free.append(row)

    def _reclaim(self, now_ms: int) -> None:
        for name, row in self.items():
            if self.words[row * _WORDS + _ENDS] < now_ms:
                self.remove(name)

    def _resize(self, slots: int) -> None:
        size = slots * _SLOT
        old = self._map
        mapped = self._map_file(size) if self._persistent else None
        if mapped is None:
            self._persistent = False
            mapped = mmap.mmap(-1, size)
            mapped[: self._slots * _SLOT] = old[: self._slots * _SLOT]
        self.words.release()
        old.close()
        self._map = mapped
        self.words = memoryview(mapped).cast("q")
        self._free.extend(range(slots - 1, self._slots - 1, -1))
        self._slots = slots

    def _map_file(self, size: int) -> mmap.mmap | None:
        """Map the file in its new size, its blocks allocated: a full disk must show here, not as a SIGBUS."""
        try:
            os.posix_fallocate(self._file, 0, size)
            return mmap.mmap(self._file, size)
        except OSError as error:
            log.critical("counters are kept in memory only, a restart will forget them: %s", error)
            return None
