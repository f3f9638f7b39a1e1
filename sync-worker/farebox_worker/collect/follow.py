"""Follows a node's log through growth, rotation, truncation and copies, one round after another.

A file is held open from when it is first seen until it has ended, so that a rename or removal takes nothing
away. A rotated file ends when nothing was added for a while and a new live file exists; should more come,
it is open again. Files that hold nothing more than is read already are remembered and left alone.

A round tells whether everything was read: the instant it began is then one before which every logged line is
counted. Anything doubtful (an error, a file that came or went meanwhile, an unfinished line) makes it say no.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog

from farebox.clock import Clock
from farebox.db import Database
from farebox_worker.collect.batch import Outcome
from farebox_worker.collect.dimensions import Dimensions
from farebox_worker.collect.folder import Entry, list_logs
from farebox_worker.collect.ingest import OffsetMovedError, commit
from farebox_worker.collect.reader import CutError, LogReader
from farebox_worker.collect.registry import lost_files, note_end, note_place, reader_for
from farebox_worker.collect.sources import Place, PlainSource, UnreadableError

log = structlog.get_logger(__name__)


Progress = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Followed:
    """A file that is being read, and since when (monotonic seconds) it has not grown."""

    reader: LogReader
    live: bool
    size: int = -1
    quiet_since: float = 0.0

    def quiet_seconds(self) -> float:
        """Return for how long the file has not grown."""
        size = self.reader.source.size()
        if size != self.size:
            self.size, self.quiet_since = size, time.monotonic()
        return time.monotonic() - self.quiet_since


@dataclass(slots=True)
class Round:
    """What one round came to. `at_end`: every file was read to its end; if not, `hindrance` may say why."""

    began: datetime
    outcome: Outcome = field(default_factory=Outcome)
    at_end: bool = True
    hindrance: str | None = None

    def hinder(self, reason: str) -> None:
        """Note why not everything could be read."""
        self.at_end = False
        self.hindrance = self.hindrance or reason


class Follower:
    """Reads the logs of one node. Whatever the database raises passes through; make a new one then."""

    def __init__(
        self, database: Database, node: str, path: Path, *, clock: Clock, settle_seconds: float
    ) -> None:
        """`path` is the live log; `settle_seconds` how long a rotated file must be quiet to have ended."""
        self._database = database
        self._node = node
        self._path = path.absolute()
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._dimensions = Dimensions()
        self._followed: dict[Place, _Followed] = {}
        self._nothing_beyond: dict[Place, int] = {}
        self._headless_since: dict[Place, tuple[int, float]] = {}
        self._stopping = False

    def stop(self) -> None:
        """Let the round end after the batch it is at."""
        self._stopping = True

    def close(self) -> None:
        """Let go of all files."""
        for followed in self._followed.values():
            followed.reader.source.close()
        self._followed.clear()

    async def round(self, progress: Progress) -> Round:
        """Look at the folder, read everything there is to read, and tell whether that was everything.

        `progress` is awaited after each batch: a round over a long backlog takes a while.
        """
        result = Round(began=self._clock.now())
        try:
            entries = list_logs(self._path)
            await self._meet(entries, result)
            has_live = any(entry.live for entry in entries)
            for place, followed in sorted(self._followed.items(), key=lambda item: item[1].live):
                await self._read(place, followed, result, progress, may_end=has_live)
            self._look_again(result)
        except UnreadableError as error:
            result.hinder(str(error))
        await self._miss(result)
        return result

    async def _meet(self, entries: list[Entry], result: Round) -> None:
        """Take up the files that are new or have grown, and note where the others lie now."""
        if not any(entry.live for entry in entries):
            result.hinder(f"{self._path} does not exist; the gateway has yet to open it, or logs elsewhere")
        present = {entry.place for entry in entries}
        self._nothing_beyond = {at: size for at, size in self._nothing_beyond.items() if at in present}
        for followed in self._followed.values():
            followed.live = False
        for entry in entries:
            if entry.place not in self._followed and self._nothing_beyond.get(entry.place) != entry.size:
                try:
                    await self._open(entry, result)
                except UnreadableError as error:
                    result.hinder(str(error))
            if entry.place in self._followed:
                followed = self._followed[entry.place]
                followed.live = entry.live
                await note_place(self._database, followed.reader, entry.path)

    async def _open(self, entry: Entry, result: Round) -> None:
        source = PlainSource(entry.path)
        taken = False
        try:
            if source.place != entry.place:
                result.at_end = False  # renamed since it was listed: the next round finds both
                return
            source.finished = self._never_finishes_a_line(entry)
            reader = await reader_for(self._database, self._node, source)
            if reader is None:
                result.at_end = result.at_end and entry.size == 0
            elif reader.row.ended and not reader.unfinished:
                self._nothing_beyond[entry.place] = entry.size
            else:
                taken = self._prefer(entry, reader, result)
        finally:
            if not taken:
                source.close()

    def _never_finishes_a_line(self, entry: Entry) -> bool:
        """Tell whether a rotated file has been without any whole line for so long that none will come."""
        size, since = self._headless_since.get(entry.place, (-1, 0.0))
        if size != entry.size:
            size, since = self._headless_since[entry.place] = entry.size, time.monotonic()
        return not entry.live and time.monotonic() - since >= self._settle_seconds

    def _prefer(self, entry: Entry, reader: LogReader, result: Round) -> bool:
        """Follow this file unless a copy with at least as much in it is followed; tell whether it is."""
        for place, followed in self._followed.items():
            if followed.reader.row.id == reader.row.id:
                other = followed.reader.source
                if other.size() >= reader.source.size():
                    self._nothing_beyond[entry.place] = entry.size
                    return False
                # The other may be shorter because it was cut: it is looked at as if it were new.
                other.close()
                del self._followed[place]
                result.at_end = False
                break
        self._followed[entry.place] = _Followed(reader, entry.live)
        self._headless_since.pop(entry.place, None)
        return True

    async def _read(
        self, place: Place, followed: _Followed, result: Round, progress: Progress, *, may_end: bool
    ) -> None:
        reader = followed.reader
        try:
            while not self._stopping and (batch := reader.next_batch()) is not None:
                result.outcome += (await commit(self._database, batch, self._dimensions)).outcome
                await progress()
            quiet = followed.quiet_seconds()
            if self._stopping:
                result.at_end = False
            elif not followed.live and may_end and quiet >= self._settle_seconds:
                await self._finish(place, followed, result)
            elif reader.unfinished:
                result.at_end = False
                if quiet >= self._settle_seconds:
                    result.hinder(f"the last line of {reader.source.path} has had no end for {quiet:.0f} s")
        except UnreadableError as error:
            self._drop(place)
            result.hinder(str(error))
        except OffsetMovedError as moved:
            log.warning("somebody else reads this file too", node=self._node, reason=str(moved))
            self._drop(place)
            result.at_end = False
        except CutError as cut:
            # What was not read before the cut shows as a gap, unless a copy (copytruncate) still has it.
            log.warning("file cut, and taken up anew", node=self._node, reason=str(cut))
            self._drop(place)
            await note_end(self._database, reader, self._clock.now())
            result.at_end = False

    async def _finish(self, place: Place, followed: _Followed, result: Round) -> None:
        """End a file that was rotated away; if it has grown after all, read that and wait again."""
        reader = followed.reader
        batch = reader.last_batch()
        if batch is not None:
            result.outcome += (await commit(self._database, batch, self._dimensions)).outcome
        if reader.unfinished:
            result.at_end = False
            return
        await note_end(self._database, reader, self._clock.now())
        log.info("file read to its end", node=self._node, path=reader.row.path, bytes=reader.offset)
        self._nothing_beyond[place] = reader.offset
        del self._followed[place]
        reader.source.close()

    def _drop(self, place: Place) -> None:
        """Forget a file, so that the next round takes it up by what the database says of it. Its copies are
        looked at again too: one of them may now be the one to follow.
        """
        self._followed.pop(place).reader.source.close()
        self._nothing_beyond.clear()

    def _look_again(self, result: Round) -> None:
        """Doubt the round if a file has come, or has changed its name while the folder was listed."""
        for entry in list_logs(self._path):
            if entry.size and entry.place not in self._followed and entry.place not in self._nothing_beyond:
                result.at_end = False

    async def _miss(self, result: Round) -> None:
        """Refuse to call it the end while a file is gone whose end was never seen."""
        followed = {item.reader.row.id for item in self._followed.values()}
        lost = await lost_files(self._database, self._node, self._path, followed)
        if lost:
            result.hinder(
                f"{lost[0]} is gone and was not read to its end; put it back, or collect it once from where "
                "it is, or accept the loss with `farebox node retire --accept-gap` and start the collector"
            )
