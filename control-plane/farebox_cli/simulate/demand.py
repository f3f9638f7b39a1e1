"""The requests that an organization made: out of raw usage lines, each once, in the order of their starts.

Demand is every request with a valid key, those included that were refused for a limit or a quota then: under
another plan they might have passed. Refused keys are no demand. Knows no prices and no limits.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from farebox_cli.simulate.replay import Request
from farebox_worker.collect.lines import decode_chunk
from farebox_worker.collect.sources import Source, open_source

_CHUNK: Final = 8 * 1024 * 1024
_COLUMNS: Final = ("ts", "node", "boot", "worker", "seq", "env", "units", "outcome", "status")
_NO_DEMAND: Final = ("unauthorized", "forbidden")


@dataclass(frozen=True, slots=True)
class Demand:
    """The requests, and how many of them were let through then (`served`, or refused by the upstream)."""

    requests: tuple[Request, ...]
    passed: int


def log_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files at the paths, and all of a folder's, by name; what is being written is left out."""
    found: list[Path] = []
    for path in paths:
        found += sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [path for path in found if path.suffix != ".part"]


def read(paths: Iterable[Path], organization: str, *, since_ms: int, until_ms: int) -> Demand:
    """Read an organization's requests that began in the stretch (`until_ms` excluded; Unix ms of the wall).

    A line that two files hold counts once, by its stream and number. Memory is the organization's own lines.
    Raises `UnreadableError`.
    """
    frames = [frame for path in paths for frame in _of(path, organization, since_ms, until_ms)]
    if not frames:
        return Demand((), 0)
    whole = pl.concat(frames).unique(["node", "boot", "worker", "seq"], keep="first")
    whole = whole.sort("ts", "node", "boot", "worker", "seq")
    passed = whole.filter(~pl.col("outcome").is_in(["rate_limited", "quota_exceeded"])).height
    rows = whole.select("ts", "units", "env").iter_rows()
    return Demand(tuple(Request(ts, units, env == "live") for ts, units, env in rows), passed)


def _of(path: Path, organization: str, since_ms: int, until_ms: int) -> Iterator[pl.DataFrame]:
    # Lines of others are left out as text, before they are parsed: most are.
    mark = f'"org":"{organization}"'.encode()
    with closing(open_source(path)) as source:
        for chunk in _chunks(source):
            lines = [line for line in chunk.split(b"\n") if mark in line]
            if not lines:
                continue
            frame = decode_chunk(b"\n".join(lines) + b"\n").frame
            wanted = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String)).filter(
                (pl.col("org") == organization)
                & pl.col("ts").is_between(since_ms, until_ms, closed="left")
                & ~pl.col("outcome").is_in(_NO_DEMAND)
                & (pl.col("seq") > 0)
            )
            if wanted.height:
                yield wanted.select(_COLUMNS)


def _chunks(source: Source) -> Iterator[bytes]:
    """Yield whole lines; the last may lack its newline."""
    offset, rest = 0, b""
    while data := source.read(offset, _CHUNK):
        offset += len(data)
        whole, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            yield whole
    if rest:
        yield rest
