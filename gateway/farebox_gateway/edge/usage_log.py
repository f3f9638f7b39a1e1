"""The usage line on its way to the disk: one append a line, in the order of `seq`, never torn, never doubled.

When the disk refuses, lines wait in memory in their order and are tried again; past the bound of memory a
line is dropped, its `seq` used up, so that the collector sees the gap. What a refused write left half done
is finished before anything else is written. This module knows the line's form from the contract and nothing
of requests.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.25


class UsageLog:
    """One stream of lines in one file. Not for several threads."""

    def __init__(self, path: Path, *, backlog_bytes: int) -> None:
        self.path = path
        self.sequence = 0
        self.lost = 0
        self._backlog_bytes = backlog_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._written_of_first = 0
        self._retry: asyncio.TimerHandle | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    @property
    def waiting(self) -> int:
        """How many lines the disk has refused so far and that are still held."""
        return len(self._waiting)

    def next_sequence(self) -> int:
        """Give out the number of the line that is written next."""
        self.sequence += 1
        return self.sequence

    def write(self, line: bytes) -> None:
        """Append one whole line, or keep it for later."""
        if self._waiting:
            self._keep(line)
            return
        try:
            written = os.write(self._file, line)
        except OSError as error:
            log.critical("usage line not written, it is kept: %s", error)
            written = 0
        if written != len(line):
            self._keep(line)
            self._written_of_first = written
            self.flush()

    def flush(self) -> bool:
        """Write what waits; return whether nothing waits any more. Tries again later by itself."""
        waiting = self._waiting
        while waiting:
            first = waiting[0]
            try:
                written = os.write(self._file, memoryview(first)[self._written_of_first :])
            except OSError:
                self._retry_later()
                return False
            self._written_of_first += written
            if self._written_of_first < len(first):
                if written == 0:
                    self._retry_later()
                    return False
                continue
            waiting.popleft()
            self._waiting_bytes -= len(first)
            self._written_of_first = 0
        return True

    def reopen(self) -> None:
        """Follow a rotation: finish in the old file what was begun there, then open the path anew."""
        self.flush()
        try:
            opened = self._open()
        except OSError as error:
            log.critical("usage log not reopened, the old file stays in use: %s", error)
            return
        os.close(self._file)
        self._file = opened
        self._written_of_first = 0
        self.flush()

    def close(self) -> None:
        """Write what waits, or say what is lost."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self.flush():
            log.critical(
                "usage log: %d lines up to seq %d could not be written and are lost",
                self.waiting,
                self.sequence,
            )
        if self._retry is not None:
            self._retry.cancel()
        os.close(self._file)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        opened = os.open(self.path, flags, 0o640)
        size = os.fstat(opened).st_size
        if size and os.pread(opened, 1, size - 1) != b"\n":
            # A torn end is left by a kill or a full disk: close it, or it would swallow our first line.
            with contextlib.suppress(OSError):
                os.write(opened, b"\n")
        return opened

    def _keep(self, line: bytes) -> None:
        if self._waiting and self._waiting_bytes + len(line) > self._backlog_bytes:
            if self.lost == 0 or self.lost % 1000 == 0:
                log.critical("usage log: no room left to keep lines, lost so far: %d", self.lost + 1)
            self.lost += 1
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self._retry_later()

    def _retry_later(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self._waiting and self.flush():
            log.warning("usage log: the disk takes lines again, nothing waits")
