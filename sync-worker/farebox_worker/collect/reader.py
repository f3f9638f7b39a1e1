"""An open log read from an offset on, in batches of whole lines, each with its digests.

Holds the place in one file and the hash of its open segment. Knows no database: a reader whose batch was not
committed is thrown away, and another begins where the file's row says.
"""

from typing import Final

from farebox_contract.usage_line import MAX_LINE_BYTES
from farebox_worker.collect.batch import EXCERPT_BYTES, NO_LINES, Batch, FileRow, Quarantined, Stretch
from farebox_worker.collect.digest import SEAL_BYTES, Digest
from farebox_worker.collect.lines import Decoded, decode_chunk
from farebox_worker.collect.sources import Source

CHUNK_BYTES: Final = SEAL_BYTES + 65_536
"""Read and parsed at once. A little above a segment, so that whole lines of one chunk fill one segment."""
BATCH_CHUNKS: Final = 8
"""Committed at once, at most: fewer transactions and fewer upserts, and a bounded memory."""
_TAIL_BYTES: Final = 256
_PROBE_BYTES: Final = 32_768

UNFINISHED: Final = "the last line of the file has no end"
TOO_LONG: Final = f"longer than {MAX_LINE_BYTES} bytes"


class CutError(RuntimeError):
    """The file no longer holds what was read from it: it was truncated or overwritten."""


class LogReader:
    """Reads one file on from where its row says."""

    def __init__(self, source: Source, row: FileRow, digest: Digest) -> None:
        """Go on at the row's offset, where `digest`, that of the file's open segment, ends."""
        self.source = source
        self.row = row
        self.offset = row.read_offset
        self._digest = digest
        self._tail = source.read(max(self.offset - _TAIL_BYTES, 0), min(self.offset, _TAIL_BYTES))
        self._searched_to = 0

    @property
    def unfinished(self) -> int:
        """How many bytes lie behind the last whole line that was read."""
        return max(self.source.size() - self.offset, 0)

    def next_batch(self, *, chunks: int = BATCH_CHUNKS) -> Batch | None:
        """Return the next whole lines, or None when there are none yet.

        Raises `CutError` if the file is not what was read, `UnreadableError` if it cannot be read.
        """
        self._refuse_cut()
        stretches: list[Stretch] = []
        while len(stretches) < chunks and (stretch := self._next_stretch()) is not None:
            stretches.append(stretch)
        return Batch(self.row, stretches) if stretches else None

    def last_batch(self) -> Batch | None:
        """Return what lies behind the last newline of a file that has ended, or None if nothing does.

        It counts if it is a whole usage line that lacks its newline only, and is quarantined if not.
        """
        batch = self.next_batch()
        if batch is not None or not self.unfinished:
            return batch
        rest = self.source.read(self.offset, MAX_LINE_BYTES + 1)
        end = self.source.size()
        decoded = decode_chunk(rest + b"\n") if len(rest) == end - self.offset else NO_LINES
        quarantined: list[Quarantined] = []
        if decoded.frame.is_empty():
            decoded = NO_LINES
            quarantined = [Quarantined(self.offset, end - self.offset, UNFINISHED, rest[:EXCERPT_BYTES])]
        recounted = self._recounted
        start = self._pass_over(end)
        return Batch(self.row, [self._taken(start, decoded, quarantined, recounted=recounted)])

    @property
    def _recounted(self) -> bool:
        return self.offset < self.row.recounted_to

    def _refuse_cut(self) -> None:
        if self.source.size() < self.offset or self._tail != self.source.read(
            self.offset - len(self._tail), len(self._tail)
        ):
            raise CutError(f"{self.source.path} was cut or overwritten before byte {self.offset}")

    def _next_stretch(self) -> Stretch | None:
        size = min(CHUNK_BYTES, self.unfinished)
        data = self.source.read(self.offset, self._up_to_last_newline(size))
        chunk = data[: self._whole_lines(data)]
        if not chunk:
            return self._overlong_line() if size == CHUNK_BYTES else None
        decoded = decode_chunk(chunk)
        quarantined = [
            Quarantined(
                self.offset + line.start,
                line.length,
                line.reason,
                chunk[line.start : line.start + min(line.length, EXCERPT_BYTES)],
            )
            for line in decoded.bad
        ]
        recounted = self._recounted
        start = self.offset
        self._take(chunk)
        return self._taken(start, decoded, quarantined, recounted=recounted)

    def _up_to_last_newline(self, size: int) -> int:
        """Return how much of the next `size` bytes to read: up to the last newline, where that is near.

        So a chunk need not be cut after it was read; a copy of so many bytes costs more than reading them.
        """
        probe = (
            self.source.read(self.offset + size - _PROBE_BYTES, _PROBE_BYTES) if size > _PROBE_BYTES else b""
        )
        found = probe.rfind(b"\n")
        return size - _PROBE_BYTES + found + 1 if found >= 0 else size

    def _whole_lines(self, data: bytes) -> int:
        """Return the length of the whole lines in `data`, which either all were read before or none."""
        known = self.row.recounted_to - self.offset
        within = data.find(b"\n", known - 1) + 1 if 0 < known <= len(data) else 0
        return within or data.rfind(b"\n") + 1

    def _overlong_line(self) -> Stretch | None:
        """Pass over a line that is longer than a chunk, without holding it."""
        position = max(self.offset, self._searched_to)
        while data := self.source.read(position, CHUNK_BYTES):
            found = data.find(b"\n")
            if found >= 0:
                end = position + found + 1
                excerpt = self.source.read(self.offset, EXCERPT_BYTES)
                line = Quarantined(self.offset, end - 1 - self.offset, TOO_LONG, excerpt)
                recounted = self._recounted
                return self._taken(self._pass_over(end), NO_LINES, [line], recounted=recounted)
            position += len(data)
        self._searched_to = position
        return None

    def _pass_over(self, end: int) -> int:
        """Take the bytes up to `end` without looking at them; return where they started."""
        start = self.offset
        while self.offset < end:
            data = self.source.read(self.offset, min(CHUNK_BYTES, end - self.offset))
            if not data:
                raise CutError(f"{self.source.path} was cut at byte {self.offset} while it was read")
            self._take(data)
        return start

    def _take(self, data: bytes) -> None:
        self._digest.take(data)
        self.offset += len(data)
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def _taken(
        self, start: int, decoded: Decoded, quarantined: list[Quarantined], *, recounted: bool
    ) -> Stretch:
        """Describe what was taken since `start`, and begin the next segment if this one is full."""
        digest = self._digest
        if digest.full:
            self._digest = digest.following()
        return Stretch(
            start, self.offset, digest.start, digest.value(), digest.full, recounted, decoded, quarantined
        )
