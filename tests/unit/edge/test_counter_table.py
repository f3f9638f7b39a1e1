"""Counters in a mapped file."""

from pathlib import Path

from farebox_gateway.edge.counters.base import Want
from farebox_gateway.edge.counters.local import LocalCounters
from farebox_gateway.edge.counters.table import CounterTable
from farebox_gateway.edge.wall_clock import now_ms

FAR = now_ms() + 10**9


def _want(slot: str, *, start: int = 1, limit: int | None = 10, units: int = 1) -> Want:
    return Want(slot, slot, slot, start, FAR, limit, units)


def test_counts_survive_without_a_close(tmp_path: Path) -> None:
    """What was counted is in the file at once: a second reader sees it while the first still runs."""
    first = LocalCounters(tmp_path / "c")
    for _ in range(3):
        first.take("o", [_want("a")])
    second = LocalCounters(tmp_path / "c")
    assert list(second.take("o", [_want("a")]).used) == [4]


def test_all_or_none(tmp_path: Path) -> None:
    """When one counter refuses, the others have not moved."""
    counters = LocalCounters(tmp_path / "c")
    refused = counters.take("o", [_want("a"), _want("b", limit=0)])
    assert refused.refused == 1
    assert list(counters.take("o", [_want("a")]).used) == [1]


def test_a_later_window_counts_anew_and_an_earlier_does_not(tmp_path: Path) -> None:
    """Windows only go forward: a clock that steps back gives no second allowance."""
    counters = LocalCounters(tmp_path / "c")
    counters.take("o", [_want("a", start=1000)])
    assert list(counters.take("o", [_want("a", start=2000)]).used) == [1]
    assert list(counters.take("o", [_want("a", start=1000)]).used) == [2]


def test_growing_keeps_everything(tmp_path: Path) -> None:
    """More names than the file had room for: all keep their counts, over a reopening too."""
    counters = LocalCounters(tmp_path / "c")
    for number in range(5000):
        counters.take("o", [_want(f"slot{number}", limit=None, units=number)])
    again = LocalCounters(tmp_path / "c")
    used = [next(iter(again.take("o", [_want(f"slot{n}", limit=None, units=0)]).used)) for n in range(5000)]
    assert used == list(range(5000))


def test_rows_that_are_over_are_used_again(tmp_path: Path) -> None:
    """A row whose end has passed is not loaded, and its place is free."""
    table = CounterTable(tmp_path / "t", now_ms())
    table.set(table.add("old", 0), 1, 5, ends=now_ms() - 1)
    table.close()
    table = CounterTable(tmp_path / "t", now_ms())
    assert table.row("old") is None


def test_settling_corrects_only_its_own_window(tmp_path: Path) -> None:
    """Units given back after the window ended are not taken from the next one."""
    counters = LocalCounters(tmp_path / "c")
    old = _want("a", start=1000, units=5)
    counters.take("o", [old])
    counters.settle(old, -2)
    assert list(counters.take("o", [_want("a", start=1000)]).used) == [4]
    counters.take("o", [_want("a", start=2000)])
    counters.settle(old, -1)
    assert list(counters.take("o", [_want("a", start=2000)]).used) == [2]
