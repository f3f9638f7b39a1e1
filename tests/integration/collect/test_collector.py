"""The collector as a process: alone on its node, patient with what fails, truthful about where it stands."""

import asyncio
import contextlib
import gzip
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.integration.collect.conftest import MakeFollower
from tests.integration.collect.story import Stream, counted, fetch, mixed_lines, recount, write

from farebox import migrations
from farebox.clock import SystemClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox.usage import service
from farebox_cli.servers.postgres import EmbeddedPostgres
from farebox_worker.collect.archive import archive_ended
from farebox_worker.collect.collector import DATABASE_ERRORS, CollectorOptions, collect
from farebox_worker.collect.follow import Follower, Round


async def _nothing() -> None:
    await asyncio.sleep(0)


async def _round(follower: Follower) -> Round:
    return await follower.round(_nothing)


async def until(database: Database, statement: str, expected: object) -> None:
    """Return once a query gives this one value; the test's own time limit ends a vain wait."""
    while (found := (await fetch(database, statement))[0][0]) != expected:
        await asyncio.sleep(0.02)
        assert found is not None or expected is not None


def options(log: Path, *, node: str = "gw-1") -> CollectorOptions:
    return CollectorOptions(
        node=node,
        log=log,
        archive=log.parent / "archive",
        keep=timedelta(days=30),
        interval=0.02,
        settle=0.2,
        report=0.0,
    )


@contextlib.asynccontextmanager
async def collecting(database: Database, log: Path) -> AsyncIterator[None]:
    """Run a collector for the length of the block."""
    stop = asyncio.Event()
    task = asyncio.create_task(collect(database, options(log), clock=SystemClock(), stop=stop))
    try:
        yield
    finally:
        stop.set()
        await task


REQUESTS = "SELECT COALESCE(sum(requests), 0) FROM usage_rollups"


async def test_a_second_collector_waits_until_the_first_has_gone(
    worker: Database, database: DatabaseUrls, usage_log: Path
) -> None:
    """It counts nothing meanwhile, and takes over at once."""
    stream = Stream()
    write(usage_log, stream.lines(5))
    other = Database(database.worker, pool_size=4)
    first = collecting(worker, usage_log)
    await first.__aenter__()
    await until(worker, REQUESTS, 5)
    async with collecting(other, usage_log):
        write(usage_log, stream.lines(5))
        await until(worker, REQUESTS, 10)
        await first.__aexit__(None, None, None)
        write(usage_log, stream.lines(5))
        await until(worker, REQUESTS, 15)
    await other.close()


async def test_two_followers_without_the_lock_count_nothing_twice(
    worker: Database, usage_log: Path, make_follower: MakeFollower
) -> None:
    """The lock saves work; the transaction is what makes a double impossible."""
    chance = random.Random(7)
    streams = [Stream(boot="a"), Stream(boot="b")]
    followers = [make_follower(), make_follower()]
    written: list[bytes] = []
    for _ in range(15):
        lines = mixed_lines(chance, streams, 40)
        written += lines
        write(usage_log, lines)
        await asyncio.gather(*map(_round, followers))
    for _ in range(3):
        for follower in followers:
            await _round(follower)
    assert await counted(worker) == recount(written)


async def test_postgresql_stopped_and_back_loses_nothing(tmp_path: Path, usage_log: Path) -> None:
    """Killed in mid-work, twice: the collector waits, and goes on from what was committed."""
    folder = tmp_path / "postgres"
    folder.mkdir(mode=0o755)
    async with EmbeddedPostgres(folder) as server:
        passwords = dict.fromkeys(migrations.ROLES, "secret")
        urls = await asyncio.to_thread(
            migrations.bootstrap, server.superuser_url, database="farebox", passwords=passwords
        )
        await asyncio.to_thread(migrations.upgrade, urls.owner)
        port = server.port
    chance = random.Random(3)
    streams = [Stream()]
    written = mixed_lines(chance, streams, 200)
    write(usage_log, written)
    database = Database(urls.worker, pool_size=4)
    async with collecting(database, usage_log):
        for _ in range(2):
            async with EmbeddedPostgres(folder, port=port) as server:
                lines = mixed_lines(chance, streams, 3_000)
                written += lines
                write(usage_log, lines)
                os.kill(server.pid, signal.SIGKILL)
        async with EmbeddedPostgres(folder, port=port):
            await until_steady(database, len(written))
            assert await counted(database) == recount(written)
    await database.close()


async def until_steady(database: Database, lines: int) -> None:
    """Wait until as many lines are read, through the first errors of connections that died."""
    while True:
        try:
            await until(database, "SELECT COALESCE(sum(lines), 0) FROM usage_segments", lines)
        except DATABASE_ERRORS:  # a pooled connection of the dead server; the next one is new
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("seed", range(2))
async def test_kill_9_at_random_points_loses_and_doubles_nothing(
    worker: Database, database: DatabaseUrls, usage_log: Path, seed: int
) -> None:
    """The real process, killed a dozen times while lines are written and the log is rotated."""
    chance = random.Random(seed)
    streams = [Stream(boot="a"), Stream(boot="b", worker=1)]
    written: list[bytes] = []
    environment = {
        **os.environ,
        "FAREBOX_HOME": str(usage_log.parent),
        "FAREBOX_DATABASE_WORKER_URL": database.worker,
        "FAREBOX_USAGE_LOG": str(usage_log),
        "FAREBOX_USAGE_ARCHIVE": str(usage_log.parent / "archive"),
        "FAREBOX_COLLECT_INTERVAL_SECONDS": "0.01",
        "FAREBOX_NODE": "gw-1",
    }
    command = [sys.executable, "-m", "farebox_cli", "collect"]

    def put(count: int) -> None:
        lines = mixed_lines(chance, streams, count)
        written.extend(lines)
        write(usage_log, lines)

    put(100)
    for turn in range(6):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        before = int((await fetch(worker, REQUESTS))[0][0])
        put(chance.randint(500, 4_000))
        while int((await fetch(worker, REQUESTS))[0][0]) == before:
            await asyncio.sleep(0.01)
        for _ in range(chance.randint(1, 30)):
            put(chance.randint(1, 200))
            await asyncio.sleep(chance.random() / 200)
        if turn % 2:
            usage_log.rename(usage_log.with_name(f"usage.log.{turn}"))
            put(10)
        process.kill()
        process.wait()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    await until(worker, "SELECT sum(lines) FROM usage_segments", len(written))
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert await counted(worker) == recount(written)


async def _state(worker: Database) -> service.NodeReport:
    async with worker.transaction() as session:
        return (await service.nodes(session))[0]


async def test_the_node_is_reported_at_the_end_only_when_all_of_it_is_read(
    worker: Database, usage_log: Path, make_follower: MakeFollower
) -> None:
    """Not without the live log, not with half a line, not with an old file unread."""
    stream = Stream()
    follower = make_follower(3600.0)
    assert not (await _round(follower)).at_end, "no log: it may be the wrong folder"
    write(usage_log, stream.lines(3))
    assert (await _round(follower)).at_end
    line = stream.line()
    write(usage_log, [line[:50]])
    assert not (await _round(follower)).at_end, "half a line"
    write(usage_log, [line[50:]])
    before = datetime.now(UTC)
    result = await _round(follower)
    assert result.at_end
    assert result.began >= before
    usage_log.rename(usage_log.with_name("usage.log.1"))
    assert not (await _round(follower)).at_end, "between rename and reopening"
    write(usage_log, [])
    assert (await _round(follower)).at_end


async def test_a_file_that_is_gone_unread_holds_the_node_back_until_it_is_given_up(
    worker: Database, usage_log: Path, make_follower: MakeFollower
) -> None:
    """What may have been lost is never called read; retiring the node accepts it."""
    write(usage_log, Stream().lines(3))
    first = make_follower()
    await _round(first)
    first.close()
    usage_log.unlink()
    write(usage_log, Stream(boot="next").lines(3))
    follower = make_follower()
    result = await _round(follower)
    assert not result.at_end
    assert result.hindrance is not None
    assert "is gone" in result.hindrance
    follower.close()
    async with worker.transaction() as session:
        await service.retire(session, "gw-1", note="disk burnt", now=datetime.now(UTC))
    assert (await _round(make_follower())).at_end


async def test_a_file_removed_while_it_is_followed_is_read_to_its_end(
    worker: Database, usage_log: Path, make_follower: MakeFollower
) -> None:
    """The open file outlives its name."""
    stream = Stream()
    write(usage_log, stream.lines(3))
    follower = make_follower()
    await _round(follower)
    with usage_log.open("ab", buffering=0) as held:
        usage_log.unlink()
        held.write(b"".join(stream.lines(2)))
        write(usage_log, Stream(boot="next").lines(1))
        await _round(follower)
    assert (await _round(follower)).at_end
    assert await fetch(worker, REQUESTS) == [(6,)]


@pytest.mark.parametrize("spoil", ["folder", "loop"])
async def test_what_cannot_be_read_is_said_and_never_called_the_end(
    worker: Database, usage_log: Path, make_follower: MakeFollower, spoil: str
) -> None:
    """A missing folder and an unreadable file: the reason names the path, and mending it is enough."""
    write(usage_log, Stream().lines(3))
    follower = make_follower()
    moved = usage_log.with_name("away")
    if spoil == "folder":
        usage_log.parent.rename(usage_log.parent.with_name("elsewhere"))
    else:
        usage_log.rename(moved)
        usage_log.symlink_to(usage_log)
    result = await _round(follower)
    assert not result.at_end
    assert result.hindrance is not None
    assert str(usage_log.parent) in result.hindrance
    if spoil == "folder":
        usage_log.parent.with_name("elsewhere").rename(usage_log.parent)
    else:
        usage_log.unlink()
        moved.rename(usage_log)
    result = await _round(follower)
    assert result.at_end
    assert result.outcome.new == 3


async def test_the_half_line_at_the_end_of_a_rotated_file_is_quarantined(
    worker: Database, usage_log: Path, make_follower: MakeFollower
) -> None:
    """Nobody will finish it; a whole line that only lacks its newline counts."""
    one, two = Stream(boot="one"), Stream(boot="two")
    write(usage_log, [*one.lines(2), one.line()[:60]])
    usage_log.rename(usage_log.with_name("usage.log.2"))
    write(usage_log, [*two.lines(2), two.line()[:-1]])
    usage_log.rename(usage_log.with_name("usage.log.1"))
    write(usage_log, [])
    follower = make_follower()
    await _round(follower)
    assert (await _round(follower)).at_end
    assert await fetch(worker, REQUESTS) == [(5,)]
    assert await fetch(worker, "SELECT length, reason FROM usage_quarantine") == [
        (60, "the last line of the file has no end")
    ]


async def test_what_was_read_is_archived_whole_and_removed_in_its_time(
    worker: Database, usage_log: Path, make_follower: MakeFollower, tmp_path: Path
) -> None:
    """Equal bytes give an equal archive; the original stays; after the retention the archive goes."""
    lines = Stream().lines(100)
    write(usage_log, lines)
    usage_log.rename(usage_log.with_name("usage.log.1"))
    write(usage_log, [])
    follower = make_follower()
    await _round(follower)
    await _round(follower)
    keep, now = timedelta(days=30), datetime.now(UTC)
    folder = tmp_path / "archive"
    await archive_ended(worker, "gw-1", folder, keep=keep, now=now)
    (packed,) = folder.iterdir()
    assert gzip.decompress(packed.read_bytes()) == b"".join(lines)
    assert await fetch(worker, "SELECT archived_as FROM usage_files WHERE state = 'ended'") == [
        (packed.name,)
    ]
    assert usage_log.with_name("usage.log.1").exists()
    first = packed.read_bytes()
    packed.unlink()
    await fetch_nothing(worker, "UPDATE usage_files SET archived_as = NULL")
    await archive_ended(worker, "gw-1", folder, keep=keep, now=now)
    assert packed.read_bytes() == first
    await archive_ended(worker, "gw-1", folder, keep=keep, now=now + timedelta(days=31))
    assert list(folder.iterdir()) == []
    await archive_ended(worker, "gw-1", folder, keep=keep, now=now + timedelta(days=31))
    assert list(folder.iterdir()) == []


async def test_an_archive_that_cannot_be_written_hinders_no_metering(
    worker: Database, usage_log: Path
) -> None:
    """A full or broken archive disk is said in the log; lines go on counting."""
    stream = Stream()
    (usage_log.parent / "archive").write_text("a file where a folder should be")
    write(usage_log, stream.lines(3))
    usage_log.rename(usage_log.with_name("usage.log.1"))
    write(usage_log, stream.lines(1))
    async with collecting(worker, usage_log):
        await until(worker, "SELECT count(*) FROM usage_files WHERE state = 'ended'", 1)
        write(usage_log, stream.lines(1))
        await until(worker, REQUESTS, 5)
        await until(worker, "SELECT read_to_end_at IS NOT NULL FROM nodes", True)


async def fetch_nothing(database: Database, statement: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement))
