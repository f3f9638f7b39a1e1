"""Lines become deltas: how much to add to which rollup. Pure; sums columns, knows no database.

A line counts at its start, in its organization's own time, in the quarter hour that holds it. A line without
a stream has no organization, whatever it says: nothing tells a doubled one from a new one but its place in
the file, and so nothing may be billed by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from farebox.clock import ClockOffset
from farebox.subscriptions.periods import BUCKET_SECONDS

DIMENSION: Final = ("org", "sub", "key", "group", "route", "method", "env", "outcome", "status")
"""The members that usage is counted by."""
STREAM: Final = ("node", "boot", "worker")

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""Those that are counted each for itself; all others are `OTHER`, because a client can invent any number."""
OTHER_METHOD: Final = "OTHER"
_OWNER: Final = ("org", "sub", "key", "group", "env")
_SUMMED: Final = ("units", "in", "out", "us")
# Far above any true value, and far enough below 2**63 that a batch of them cannot overflow.
_CEILING: Final = 2**40
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tally:
    """The lines of one stretch of a batch: how many, and when (ms) the earliest and the latest began."""

    lines: int
    new: int
    duplicate: int
    first_ts: int | None
    last_ts: int | None


def disowned(frame: pl.DataFrame) -> pl.DataFrame:
    """Take the organization from lines that have no stream."""
    without_stream = pl.col("seq") == 0
    if not frame.select(without_stream.any()).item():
        return frame
    return frame.with_columns(
        pl.when(without_stream).then(None).otherwise(pl.col(name)).alias(name) for name in _OWNER
    )


def deltas(frame: pl.DataFrame, offsets: Mapping[str, Sequence[ClockOffset]]) -> pl.DataFrame:
    """Add up new lines by dimension and bucket.

    `offsets` are the test clocks by the public id of their organization. Columns: those of `DIMENSION`
    (texts, empty where the line said nothing), `bucket` (Unix seconds), `requests`, `units`, `in`, `out`,
    `us`, each sum below 2**63 for up to 2**22 lines; `most`, the greatest `units` of one line.
    """
    seconds = BUCKET_SECONDS
    return (
        frame.with_columns(pl.Series("at", _own_time(frame, offsets)), _counted_method())
        .with_columns((pl.col("at").floordiv(seconds * 1_000) * seconds).alias("bucket"))
        .group_by(*DIMENSION, "bucket")
        .agg(
            pl.len().cast(pl.Int64).alias("requests"),
            *(pl.col(name).clip(upper_bound=_CEILING).sum() for name in _SUMMED),
            pl.col("units").clip(upper_bound=_CEILING).max().alias("most"),
        )
        .with_columns(_plain(name) for name in DIMENSION if name != "status")
    )


def tally(frame: pl.DataFrame) -> dict[int, Tally]:
    """Count the lines by their column `stretch`; `new` is a column of truth values."""
    rows = (
        frame.group_by("stretch")
        .agg(
            pl.len(), pl.col("new").sum(), pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last")
        )
        .iter_rows(named=True)
    )
    return {
        row["stretch"]: Tally(row["len"], row["new"], row["len"] - row["new"], row["first"], row["last"])
        for row in rows
    }


def _counted_method() -> pl.Expr:
    method = pl.col("method").cast(pl.String)
    return pl.when(method.is_in(METHODS)).then(method).otherwise(pl.lit(OTHER_METHOD)).alias("method")


def _plain(name: str) -> pl.Expr:
    # PostgreSQL's text holds no NUL character, which JSON can.
    return pl.col(name).cast(pl.String).fill_null("").str.replace_all("\0", "\ufffd", literal=True)


def _own_time(frame: pl.DataFrame, offsets: Mapping[str, Sequence[ClockOffset]]) -> pl.Series:
    """Return each line's start in milliseconds of its organization's time (see `OrganizationTime.at`)."""
    if not offsets or frame.is_empty():
        return frame["ts"]
    clocks = pl.DataFrame(
        [
            (
                organization,
                -(-_microseconds_since_epoch(entry) // 1_000),
                entry.offset // _MICROSECOND // 1_000,
            )
            for organization, entries in offsets.items()
            for entry in entries
        ],
        schema={"org": pl.String, "began": pl.Int64, "ahead": pl.Int64},
        orient="row",
    ).sort("began")
    lines = frame.select(pl.int_range(pl.len()).alias("row"), "ts", pl.col("org").cast(pl.String)).sort("ts")
    joined = lines.join_asof(
        clocks, left_on="ts", right_on="began", by="org", strategy="backward", check_sortedness=False
    )
    return joined.sort("row").select(pl.col("ts") + pl.col("ahead").fill_null(0))["ts"]


def _microseconds_since_epoch(entry: ClockOffset) -> int:
    return (entry.began_at - _EPOCH) // _MICROSECOND
