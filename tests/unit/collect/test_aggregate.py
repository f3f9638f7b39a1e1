"""Lines are added up at their start, in their organization's own time, by everything that they name."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.clock import ClockOffset, OrganizationTime
from farebox.subscriptions.periods import BUCKET_SECONDS
from farebox_worker.collect.aggregate import deltas, disowned, tally
from farebox_worker.collect.lines import SCHEMA

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = 1_795_219_000_000


def frame_of(rows: list[tuple[int, str | None, int, int]]) -> pl.DataFrame:
    """Lines with (ts, org, seq, units) and the rest alike."""
    return pl.DataFrame(
        [
            {
                "line": 0, "ts": ts, "node": "n", "boot": "b", "worker": 0, "seq": seq, "env": "live",
                "org": org, "key": org, "sub": None, "group": None, "route": "r", "status": 200,
                "outcome": "served", "units": units, "in": 1, "out": 2, "us": 3,
            }
            for ts, org, seq, units in rows
        ],
        schema=SCHEMA,
    )  # fmt: skip


offsets = st.lists(
    st.tuples(st.integers(0, 9_000_000), st.integers(0, 50_000_000)),
    max_size=4,
    unique_by=lambda pair: pair[0],
).map(
    lambda pairs: [
        ClockOffset(
            EPOCH + timedelta(milliseconds=FIRST, microseconds=500 * began), timedelta(milliseconds=ahead)
        )
        for began, ahead in zip(sorted(p[0] for p in pairs), sorted(p[1] for p in pairs), strict=True)
    ]
)
rows = st.lists(
    st.tuples(
        st.integers(FIRST - 2_000_000, FIRST + 9_000_000),
        st.sampled_from(["a", "b", None]),
        st.just(1),
        st.integers(0, 9),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(rows, offsets, offsets)
def test_each_line_counts_in_the_bucket_of_its_own_time(
    lines: list[tuple[int, str | None, int, int]], clock_a: list[ClockOffset], clock_b: list[ClockOffset]
) -> None:
    """Against `OrganizationTime` and plain integer division, for organizations with and without a clock."""
    clocks = {name: clock for name, clock in (("a", clock_a), ("b", clock_b)) if clock}
    expected: Counter[tuple[str, int]] = Counter()
    units: Counter[tuple[str, int]] = Counter()
    for ts, org, _, carried in lines:
        own = OrganizationTime(clocks.get(org or "", ())).at(EPOCH + timedelta(milliseconds=ts))
        bucket = (own - EPOCH) // timedelta(seconds=BUCKET_SECONDS) * BUCKET_SECONDS
        expected[org or "", bucket] += 1
        units[org or "", bucket] += carried
    found = deltas(frame_of(lines), clocks)
    assert {(row["org"], row["bucket"]): row["requests"] for row in found.iter_rows(named=True)} == expected
    assert {(row["org"], row["bucket"]): row["units"] for row in found.iter_rows(named=True)} == dict(units)


def test_a_line_without_a_stream_has_no_organization() -> None:
    """What it says of its owner is dropped, its count stays."""
    found = deltas(disowned(frame_of([(FIRST, "a", 0, 1), (FIRST, "a", 1, 1)])), {})
    assert {(row["org"], row["env"], row["requests"]) for row in found.iter_rows(named=True)} == {
        ("", "", 1),
        ("a", "live", 1),
    }


def test_a_name_that_postgresql_cannot_hold_is_counted_under_one_that_it_can() -> None:
    """JSON allows the NUL character, text columns do not: the line is not lost for it."""
    assert deltas(frame_of([(FIRST, "a\0", 1, 1)]), {})["org"].to_list() == ["a\ufffd"]


def test_a_tally_tells_new_from_doubled_by_stretch() -> None:
    """And the earliest and latest start, doubled lines included: they are in those bytes."""
    lines = frame_of([(FIRST + 5, "a", 1, 1), (FIRST, "a", 2, 1), (FIRST + 9, "a", 3, 1)]).with_columns(
        pl.Series("stretch", [0, 0, 1], dtype=pl.UInt32), pl.Series("new", [True, False, True])
    )
    counted = tally(lines)
    assert (counted[0].lines, counted[0].new, counted[0].duplicate) == (2, 1, 1)
    assert (counted[0].first_ts, counted[0].last_ts) == (FIRST, FIRST + 5)
    assert counted[1].lines == 1
