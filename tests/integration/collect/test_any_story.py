"""Whatever happens to the files, every line that a gateway wrote is counted once."""

import asyncio
import os
import random
import shutil
from pathlib import Path

import pytest
from tests.integration.collect.conftest import MakeFollower
from tests.integration.collect.story import GARBAGE, Stream, counted, fetch, mixed_lines, recount

from farebox.clock import SystemClock
from farebox.db import Database
from farebox_worker.collect.follow import Round
from farebox_worker.collect.once import collect_once


async def _nothing() -> None:
    await asyncio.sleep(0)


class _Gateway:
    """Writes lines, rotates, copies, cuts and tears its log at random, and keeps what it has written."""

    def __init__(self, log: Path, chance: random.Random) -> None:
        self.log = log
        self.chance = chance
        self.streams = [Stream(boot=f"boot{number}", worker=number) for number in range(3)]
        self.written: list[bytes] = []
        self.garbage = 0
        self._file = log.open("ab", buffering=0)
        self._old = self._file
        self._rotations = 0

    def write_lines(self) -> None:
        """Append some lines: doubled ones, garbage and out of order ones among them."""
        lines = mixed_lines(self.chance, self.streams, self.chance.randint(1, 30))
        if self.chance.random() < 0.3:
            self.chance.shuffle(lines)
        if self.written and self.chance.random() < 0.3:
            lines += self.chance.choices(self.written, k=5)
        if self.chance.random() < 0.3:
            lines.insert(self.chance.randint(0, len(lines)), self.chance.choice(GARBAGE) + b"\n")
            self.garbage += 1
        self.written += [line for line in lines if line.startswith(b'{"v":1,"ts":1')]
        self._file.write(b"".join(lines))

    def write_torn(self) -> None:
        """Append one line in two writes, with the reader free to look in between."""
        line = self.streams[0].line()
        cut = self.chance.randint(1, len(line) - 1)
        self._file.write(line[:cut])
        self._torn = line[cut:]
        self.written.append(line)

    def finish_torn(self) -> None:
        """Append the rest of the line."""
        self._file.write(self._torn)

    def rename(self) -> None:
        """Rotate; until it reopens, it goes on in the renamed file."""
        self._rotations += 1
        self.log.rename(self.log.with_name(f"usage.log.{self._rotations}"))

    def reopen(self) -> None:
        """Open the log anew, as USR1 asks."""
        self._old = self._file
        self._file = self.log.open("ab", buffering=0)

    def write_late(self) -> None:
        """Append to the file before this one, as a worker does that reopens late."""
        line = self.streams[1].line()
        self._old.write(line)
        self.written.append(line)

    def copy(self) -> None:
        """Leave a copy of the log as it is now beside it."""
        self._rotations += 1
        shutil.copy(self.log, self.log.with_name(f"usage.log.copy{self._rotations}"))

    def copy_and_truncate(self) -> None:
        """Rotate as logrotate's copytruncate does."""
        self.copy()
        os.truncate(self.log, 0)

    def cut_to_a_half(self) -> None:
        """Lose the end of what was read (a crash of the machine) and write on after it."""
        data = self.log.read_bytes()
        os.truncate(self.log, data.find(b"\n", len(data) // 2) + 1)


class _Story:
    """A gateway, the collector that follows it, and what may happen to them."""

    def __init__(self, log: Path, chance: random.Random, make_follower: MakeFollower) -> None:
        self.gateway = _Gateway(log, chance)
        self.chance = chance
        self._make_follower = make_follower
        self.follower = make_follower()

    async def write(self) -> None:
        self.gateway.write_lines()

    async def tear(self) -> None:
        self.gateway.write_torn()
        await self.read()
        self.gateway.finish_torn()

    async def rotate(self) -> None:
        self.gateway.rename()
        await self.perhaps_read()
        self.gateway.write_lines()
        await self.perhaps_read()
        self.gateway.reopen()

    async def write_late(self) -> None:
        self.gateway.write_late()

    async def copy(self) -> None:
        self.gateway.copy()

    async def copy_and_truncate(self) -> None:
        self.gateway.copy_and_truncate()

    async def lose_the_end(self) -> None:
        """Seen by the collector that follows, or by the next: an end that nobody saw holds a node back."""
        await self.read_all()
        self.gateway.cut_to_a_half()
        if self.chance.random() < 0.5:
            await self.restart()
        await self.read()

    async def restart(self) -> None:
        self.follower.close()
        self.follower = self._make_follower()

    async def read(self) -> Round:
        return await self.follower.round(_nothing)

    async def perhaps_read(self) -> None:
        if self.chance.random() < 0.5:
            await self.read()

    async def read_all(self) -> None:
        """Go round until a round finds nothing more and stands at the end of everything."""
        for _ in range(20):
            result = await self.read()
            if result.at_end and not result.outcome.lines:
                return
        raise AssertionError(f"never at the end: {result}")


@pytest.mark.parametrize("seed", [*range(8), 104, 117, 123, 132])
async def test_every_line_counts_once_in_any_story(
    worker: Database, usage_log: Path, make_follower: MakeFollower, seed: int
) -> None:
    """Lines torn, late, doubled and out of order; rotation, copies, truncation, lost bytes and restarts."""
    chance = random.Random(seed)
    story = _Story(usage_log, chance, make_follower)
    acts = [story.write] * 3 + [story.tear, story.rotate, story.write_late, story.copy]
    acts += [story.copy_and_truncate, story.lose_the_end, story.restart]
    for _ in range(60):
        await chance.choice(acts)()
        await story.perhaps_read()
    await story.read_all()
    story.follower.close()
    assert await counted(worker) == recount(story.gateway.written)
    assert await fetch(worker, "SELECT node FROM usage_streams WHERE gaps <> '{}'::int8multirange") == []
    again = await collect_once(worker, "gw-1", sorted(usage_log.parent.iterdir()), clock=SystemClock())
    assert again.outcome.new == 0
