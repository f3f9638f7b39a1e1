"""Which numbers of a stream were seen: disjoint ranges, so that millions of lines cost a few words.

Each range remembers the times of its two ends, which tell whether a hole between two ranges lies inside the
stretch of time that is being checked.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Hole:
    """Numbers `first` to `last` that were not seen, between a line of time `after` and one of `before`
    (microseconds; None at the stream's beginning).
    """

    first: int
    last: int
    after: int | None
    before: int


@dataclass(slots=True)
class Seen:
    """The numbers of one stream that were seen so far."""

    _first: list[int] = field(default_factory=list)
    _last: list[int] = field(default_factory=list)
    _first_at: list[int] = field(default_factory=list)
    _last_at: list[int] = field(default_factory=list)

    def add(self, number: int, at: int) -> bool:
        """Take a line's number and time; False if the number was seen before."""
        if self._last and number == self._last[-1] + 1:
            self._last[-1], self._last_at[-1] = number, at
            return True
        index = bisect_right(self._first, number)
        if index and number <= self._last[index - 1]:
            return False
        joins_below = index > 0 and self._last[index - 1] == number - 1
        joins_above = index < len(self._first) and self._first[index] == number + 1
        if joins_below and joins_above:
            self._last[index - 1], self._last_at[index - 1] = self._last[index], self._last_at[index]
            for column in (self._first, self._last, self._first_at, self._last_at):
                del column[index]
        elif joins_below:
            self._last[index - 1], self._last_at[index - 1] = number, at
        elif joins_above:
            self._first[index], self._first_at[index] = number, at
        else:
            self._first.insert(index, number)
            self._last.insert(index, number)
            self._first_at.insert(index, at)
            self._last_at.insert(index, at)
        return True

    @property
    def highest(self) -> int:
        """The highest number seen; 0 if none was."""
        return self._last[-1] if self._last else 0

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The ranges seen, both ends included, ascending."""
        return list(zip(self._first, self._last, strict=True))

    def touches(self, since: int | None, until: int | None) -> bool:
        """Whether the stream lived in a stretch of time, `until` excluded; None is no bound."""
        return (until is None or min(self._first_at, default=until) < until) and (
            since is None or max(self._last_at, default=since - 1) >= since
        )

    def holes(self) -> Iterator[Hole]:
        """Yield what was not seen below the highest number, ascending."""
        expected, after = 1, None
        for first, last, first_at, last_at in zip(
            self._first, self._last, self._first_at, self._last_at, strict=True
        ):
            if first > expected:
                yield Hole(expected, first - 1, after, first_at)
            expected, after = last + 1, last_at


def without(hole: tuple[int, int], declared: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the parts of the hole that no declared gap covers. Both ends of every range are included."""
    first, last = hole
    left = []
    for gap_first, gap_last in sorted(declared):
        if gap_last < first:
            continue
        if gap_first > last:
            break
        if gap_first > first:
            left.append((first, gap_first - 1))
        first = gap_last + 1
    if first <= last:
        left.append((first, last))
    return left


def overlap(ranges: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what both lists of ranges hold. Both ends of every range are included."""
    return [
        (max(first, other_first), min(last, other_last))
        for first, last in ranges
        for other_first, other_last in others
        if first <= other_last and other_first <= last
    ]
