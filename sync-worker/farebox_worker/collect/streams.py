"""Which numbers of a stream were seen: the highest, and the gaps below it. Pure set arithmetic.

A stream counts its lines from 1 without leaving one out. So a line is new if its number is above the highest
or inside a gap, a loss is a gap that stays open, and a late file heals its gap. What is remembered is as
small as the trouble there was: a stream without loss is one number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl


class Stretch(NamedTuple):
    """Consecutive numbers, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a stream. `gaps` are disjoint, ascending, not adjacent, and below `highest`."""

    highest: int = 0
    gaps: tuple[Stretch, ...] = ()

    @property
    def missing(self) -> int:
        """How many numbers below the highest were not seen."""
        return sum(gap.last - gap.first + 1 for gap in self.gaps)


NEVER_SEEN: Final = Seen()


def absorb(seen: Seen, numbers: pl.Series) -> tuple[pl.Series, Seen]:
    """Take in the numbers (1 or more, in the order of their lines, none null) of a stretch of log.

    Returns a mask of those that are new, the first of equal ones only, and what has been seen then.
    """
    count = numbers.len()
    if count == 0:
        return pl.Series(dtype=pl.Boolean), seen
    first, last = numbers[0], numbers[-1]
    if first == seen.highest + 1 and last - first + 1 == count and bool((numbers.diff()[1:] == 1).all()):
        return pl.repeat(value=True, n=count, dtype=pl.Boolean, eager=True), Seen(last, seen.gaps)
    new = _unseen(seen, numbers) & numbers.is_first_distinct()
    runs = _runs(numbers.filter(new).sort())
    highest = max([seen.highest, *(run.last for run in runs[-1:])])
    open_before = [*seen.gaps, Stretch(seen.highest + 1, highest)] if highest > seen.highest else seen.gaps
    return new, Seen(highest, tuple(_without(_joined(open_before), runs)))


def _unseen(seen: Seen, numbers: pl.Series) -> pl.Series:
    above = numbers > seen.highest
    if not seen.gaps:
        return above
    firsts = pl.Series([gap.first for gap in seen.gaps], dtype=pl.Int64)
    lasts = pl.Series([gap.last for gap in seen.gaps], dtype=pl.Int64)
    following = firsts.search_sorted(numbers, side="right").cast(pl.Int64)
    inside = (following > 0) & (numbers <= lasts.gather((following - 1).clip(lower_bound=0)))
    return above | inside


def _runs(ascending: pl.Series) -> list[Stretch]:
    """Return the maximal stretches of consecutive numbers in an ascending series without equals."""
    if ascending.is_empty():
        return []
    breaks = (ascending.diff() != 1).fill_null(value=True)
    firsts = ascending.filter(breaks)
    lasts = ascending.filter(breaks.shift(-1, fill_value=True))
    return [Stretch(*ends) for ends in zip(firsts, lasts, strict=True)]


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Join adjacent stretches, so that a gap that grows stays one."""
    joined: list[Stretch] = []
    for stretch in stretches:
        if joined and joined[-1].last + 1 == stretch.first:
            joined[-1] = Stretch(joined[-1].first, stretch.last)
        else:
            joined.append(stretch)
    return joined


def _without(stretches: Iterable[Stretch], taken: Sequence[Stretch]) -> Iterable[Stretch]:
    """Yield what is left of the stretches; each of `taken` lies within one of them."""
    index = 0
    for stretch in stretches:
        start = stretch.first
        while index < len(taken) and taken[index].last <= stretch.last:
            if taken[index].first > start:
                yield Stretch(start, taken[index].first - 1)
            start = taken[index].last + 1
            index += 1
        if start <= stretch.last:
            yield Stretch(start, stretch.last)
