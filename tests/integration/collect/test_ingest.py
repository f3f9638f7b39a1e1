"""What a batch does to the tables: names resolved, clocks applied, strangers kept, bad lines passed by."""

import asyncio
import gzip
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.integration.collect.story import START, START_MS, Stream, fetch, plant_organization, write

from farebox.clock import SystemClock
from farebox.db import Database
from farebox.organizations.model import TestClockOffset
from farebox_worker.collect.once import Report, collect_once
from farebox_worker.collect.sources import UnreadableError

QUARTER = 900
FIRST_BUCKET = START_MS // 1000


async def once(worker: Database, *paths: Path) -> Report:
    return await collect_once(worker, "gw-1", paths, clock=SystemClock())


async def ingest(worker: Database, path: Path, lines: Sequence[bytes]) -> Report:
    write(path, lines)
    return await once(worker, path)


async def test_a_file_read_again_and_grown_counts_nothing_twice(worker: Database, usage_log: Path) -> None:
    """The second reading finds nothing, the third only what was added."""
    stream = Stream()
    assert (await ingest(worker, usage_log, stream.lines(10))).outcome.new == 10
    assert (await once(worker, usage_log)).outcome.lines == 0
    assert (await ingest(worker, usage_log, stream.lines(5))).outcome.new == 5
    assert await fetch(worker, "SELECT sum(requests) FROM usage_rollups") == [(15,)]


async def test_names_resolve_to_their_organization_and_its_own_subscription(
    worker: Database, usage_log: Path
) -> None:
    """A subscription of another organization resolves to none, an unknown organization keeps its text."""
    ours = await plant_organization(worker, "orgaaaaaaa", "subaaaaaaa")
    await plant_organization(worker, "orgbbbbbbb", "subbbbbbbb")
    stream = Stream()
    lines = [
        stream.line(),
        stream.line(sub="subbbbbbbb"),
        stream.line(org="nobodyhere"),
        stream.line(sub=None),
    ]
    await ingest(worker, usage_log, lines)
    rows = await fetch(
        worker,
        "SELECT d.org, d.sub, d.organization_id, s.public_id, r.organization_id AS rolled, r.requests "
        "FROM usage_dimensions d JOIN usage_rollups r ON r.dimension_id = d.id "
        "LEFT JOIN subscriptions s ON s.id = d.subscription_id ORDER BY d.org, d.sub",
    )
    assert rows == [
        ("nobodyhere", "subaaaaaaa", None, None, None, 1),
        ("orgaaaaaaa", "", ours.id, None, ours.id, 1),
        ("orgaaaaaaa", "subaaaaaaa", ours.id, "subaaaaaaa", ours.id, 1),
        ("orgaaaaaaa", "subbbbbbbb", ours.id, None, ours.id, 1),
    ]


async def test_an_organization_that_appears_later_takes_over_what_named_it(
    worker: Database, usage_log: Path
) -> None:
    """With the next line that names it, its earlier usage is its own too."""
    stream = Stream()
    await ingest(worker, usage_log, stream.lines(3))
    organization = await plant_organization(worker, "orgaaaaaaa", "subaaaaaaa")
    await ingest(worker, usage_log, stream.lines(1))
    assert await fetch(worker, "SELECT organization_id, sum(requests) FROM usage_rollups GROUP BY 1") == [
        (organization.id, 4)
    ]
    assert await fetch(worker, "SELECT count(*) FROM usage_dimensions WHERE subscription_id IS NULL") == [
        (0,)
    ]


async def test_usage_counts_in_the_organizations_own_time(worker: Database, usage_log: Path) -> None:
    """A test clock moves the lines after it began, and those of nobody else."""
    organization = await plant_organization(worker, "orgaaaaaaa")
    async with worker.transaction() as session:
        session.add(
            TestClockOffset(
                organization_id=organization.id, began_at=START + timedelta(hours=1), offset_ms=86_400_000
            )
        )
    stream = Stream()
    hour = 3_600_000
    lines = [
        stream.line(ts=START_MS + hour - 1),
        stream.line(ts=START_MS + hour),
        stream.line(ts=START_MS + hour, org="orgbbbbbbb"),
    ]
    await ingest(worker, usage_log, lines)
    rows = await fetch(
        worker,
        "SELECT d.org, r.bucket FROM usage_rollups r JOIN usage_dimensions d ON d.id = r.dimension_id "
        "ORDER BY d.org, r.bucket",
    )
    assert rows == [
        ("orgaaaaaaa", FIRST_BUCKET + 3 * QUARTER),
        ("orgaaaaaaa", FIRST_BUCKET + 4 * QUARTER + 86_400),
        ("orgbbbbbbb", FIRST_BUCKET + 4 * QUARTER),
    ]


async def test_a_clock_advance_waits_for_the_batch_and_the_batch_for_the_advance(
    worker: Database, usage_log: Path
) -> None:
    """While someone holds the test clocks, no line is counted; then all are."""
    write(usage_log, Stream().lines(3))
    async with worker.transaction() as session:
        await session.connection()
        await session.execute(text("SELECT pg_advisory_xact_lock(hashtext('farebox test clock'))"))
        reading = asyncio.create_task(once(worker, usage_log))
        waiting: list[object] = []
        while not waiting:
            waiting = await fetch(
                worker, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted LIMIT 1"
            )
        assert not reading.done()
        assert await fetch(worker, "SELECT count(*) FROM usage_rollups") == [(0,)]
    assert (await reading).outcome.new == 3


async def test_bad_lines_are_quarantined_with_their_place_and_block_nothing(
    worker: Database, usage_log: Path
) -> None:
    """Each is named by offset, length and reason, with its first 4 KiB; the good ones around it count."""
    stream = Stream()
    first, last = stream.line(), stream.line()
    long = b"{" + b"x" * 20_000
    report = await ingest(worker, usage_log, [first, b"garbage\n", b"\n", long + b"\n", last])
    assert (report.outcome.lines, report.outcome.new, report.outcome.quarantined) == (5, 2, 3)
    rows = await fetch(
        worker, "SELECT start_offset, length, reason, excerpt FROM usage_quarantine ORDER BY start_offset"
    )
    start = len(first)
    assert [(row[0], row[1]) for row in rows] == [(start, 7), (start + 8, 0), (start + 9, len(long))]
    assert all(row[2] for row in rows)
    assert [bytes(row[3]) for row in rows] == [b"garbage", b"", long[:4096]]


async def test_a_line_longer_than_a_chunk_is_passed_over(
    worker: Database, usage_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it is, it is one quarantined line, and reading goes on behind it."""
    monkeypatch.setattr("farebox_worker.collect.reader.CHUNK_BYTES", 4_000)
    stream = Stream()
    first, last = stream.line(), stream.line()
    write(usage_log, [first, b"x" * 50_000])
    assert (await once(worker, usage_log)).outcome.lines == 1
    report = await ingest(worker, usage_log, [b"\n", last])
    assert (report.outcome.new, report.outcome.quarantined) == (1, 1)
    assert await fetch(worker, "SELECT start_offset, length FROM usage_quarantine") == [(len(first), 50_000)]


async def test_a_lost_line_is_a_gap_until_it_comes(worker: Database, usage_log: Path) -> None:
    """The gap is recorded with its numbers; a late file heals it and counts the lost lines only."""
    lines = Stream().lines(6)
    report = await ingest(worker, usage_log, [*lines[:2], *lines[4:]])
    assert report.gaps == 2
    assert await fetch(worker, "SELECT gaps::text FROM usage_streams") == [("{[3,5)}",)]
    late = await ingest(worker, usage_log.with_name("late.log"), lines[1:5])
    assert (late.outcome.new, late.outcome.duplicate, late.gaps) == (2, 2, 0)


async def test_lines_without_a_stream_count_once_by_their_place_and_for_nobody(
    worker: Database, usage_log: Path
) -> None:
    """Even equal ones are different requests; none has an organization, whatever it says."""
    await plant_organization(worker, "orgaaaaaaa")
    line = Stream(boot="").line(seq=0, outcome="upstream_error", status=502)
    assert (await ingest(worker, usage_log, [line, line, line])).outcome.new == 3
    assert (await once(worker, usage_log)).outcome.new == 0
    assert await fetch(
        worker,
        "SELECT d.org, d.environment, r.requests FROM usage_dimensions d "
        "JOIN usage_rollups r ON r.dimension_id = d.id",
    ) == [("", "", 3)]


async def test_strange_names_and_absurd_numbers_stop_nothing(worker: Database, usage_log: Path) -> None:
    """NUL characters, quotes and enormous counts are stored as near as a table can, and the log goes on."""
    stream = Stream()
    lines = [
        stream.line(route='a"b,c\\d\u2028', **{"in": 2**62, "out": 2**62, "us": 2**62}) for _ in range(4)
    ]
    lines += [stream.line(org="o\0rg", units=10**12), stream.line()]
    assert (await ingest(worker, usage_log, lines)).outcome.new == 6
    names = await fetch(worker, "SELECT DISTINCT org, route FROM usage_dimensions ORDER BY 1, 2")
    assert ("orgaaaaaaa", 'a"b,c\\d\u2028') in names
    assert ("o\ufffdrg", "messages") in names


async def test_a_sum_that_no_column_holds_stays_at_the_greatest(worker: Database, usage_log: Path) -> None:
    """Two enormous sums in one bucket do not overflow: the line after them still counts."""
    stream = Stream()
    await ingest(worker, usage_log, stream.lines(1))
    async with worker.transaction() as session:
        await session.execute(text("UPDATE usage_rollups SET units = 9223372036854775806"))
    await ingest(worker, usage_log, stream.lines(2, units=5))
    assert await fetch(worker, "SELECT requests, units FROM usage_rollups") == [(3, 2**63 - 1)]


async def test_a_compressed_file_continues_what_was_read_of_its_plain_text(
    worker: Database, usage_log: Path
) -> None:
    """The same first line is the same file, and a finished file's last line counts without its newline."""
    stream = Stream()
    lines = stream.lines(10)
    await ingest(worker, usage_log, lines[:6])
    packed = usage_log.with_name("old.log.gz")
    packed.write_bytes(gzip.compress(b"".join(lines)[:-1]))
    report = await once(worker, packed)
    assert (report.outcome.lines, report.outcome.new) == (4, 4)
    packed.write_bytes(gzip.compress(b"".join(lines))[:-20])
    with pytest.raises(UnreadableError, match="no whole gzip"):
        await once(worker, packed)


async def test_two_different_files_that_begin_alike_are_two_files(worker: Database, usage_log: Path) -> None:
    """A common first line of foreign text hides nothing of the second file."""
    one, two = Stream(boot="one"), Stream(boot="two")
    head = b"# usage log\n"
    assert (await ingest(worker, usage_log, [head, *one.lines(5)])).outcome.new == 5
    other = await ingest(worker, usage_log.with_name("other.log"), [head, *two.lines(3)])
    assert other.outcome.new == 3
    longer = await ingest(worker, usage_log.with_name("third.log"), [head, *two.lines(9)])
    assert longer.outcome.new == 9


async def test_two_readers_of_one_file_at_once_count_it_once(worker: Database, usage_log: Path) -> None:
    """Without any lock between them: the offset is compared when a batch is committed."""
    write(usage_log, Stream().lines(2_000))
    reports = await asyncio.gather(*(once(worker, usage_log) for _ in range(3)))
    assert sum(report.outcome.new for report in reports) == 2_000
    assert await fetch(worker, "SELECT sum(requests) FROM usage_rollups") == [(2_000,)]
    assert await fetch(worker, "SELECT sum(lines) FROM usage_segments") == [(2_000,)]


async def test_two_copies_under_two_nodes_count_once(worker: Database, usage_log: Path) -> None:
    """A stream is recognised wherever its lines turn up."""
    write(usage_log, Stream().lines(50))
    reports = await asyncio.gather(
        *(collect_once(worker, name, [usage_log], clock=SystemClock()) for name in ("gw-1", "gw-2"))
    )
    assert sorted(report.outcome.new for report in reports) == [0, 50]
    assert await fetch(worker, "SELECT state FROM nodes WHERE code = 'gw-2'") == [("retired",)]


async def test_segments_prove_the_bytes(
    worker: Database, usage_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They adjoin, hold all bytes, each digest is that of its stretch, and only the last one is open."""
    monkeypatch.setattr("farebox_worker.collect.digest.SEAL_BYTES", 5_000)
    monkeypatch.setattr("farebox_worker.collect.reader.CHUNK_BYTES", 2_000)
    stream = Stream()
    for _ in range(7):
        await ingest(worker, usage_log, stream.lines(9))
    data = usage_log.read_bytes()
    rows = await fetch(
        worker,
        "SELECT start_offset, end_offset, sha256, sealed, lines FROM usage_segments ORDER BY start_offset",
    )
    assert [row[0] for row in rows] == [0, *(row[1] for row in rows[:-1])]
    assert rows[-1][1] == len(data)
    assert all(bytes(row[2]) == hashlib.sha256(data[row[0] : row[1]]).digest() for row in rows)
    assert [row[3] for row in rows[:-1]] == [True] * (len(rows) - 1)
    assert len(rows) > 3
    assert sum(row[4] for row in rows) == 63
