"""What is remembered of a stream is exactly the set of numbers that were seen."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox_worker.collect.streams import NEVER_SEEN, Seen, Stretch, absorb


def numbers_of(seen: Seen) -> set[int]:
    missing = {number for gap in seen.gaps for number in range(gap.first, gap.last + 1)}
    return set(range(1, seen.highest + 1)) - missing


numbers = st.integers(1, 40) | st.integers(1, 12)
runs = st.builds(
    lambda first, length: list(range(first, first + length)), st.integers(1, 40), st.integers(1, 15)
)
batches = st.lists(st.lists(numbers, max_size=20) | runs, max_size=8)


@settings(max_examples=500, deadline=None)
@given(batches)
def test_a_number_is_new_exactly_once_in_any_order(parts: list[list[int]]) -> None:
    """Against a plain set as the oracle: which are new, the highest, and the gaps in their normal form."""
    seen, oracle = NEVER_SEEN, set[int]()
    for part in parts:
        new, seen = absorb(seen, pl.Series(part, dtype=pl.Int64))
        expected = []
        for number in part:
            expected.append(number not in oracle)
            oracle.add(number)
        assert new.to_list() == expected
        assert numbers_of(seen) == oracle
        assert seen.highest == max(oracle, default=0)
        assert seen.missing == seen.highest - len(oracle)
        for before, after in zip(seen.gaps, seen.gaps[1:], strict=False):
            assert before.last + 1 < after.first, "gaps are ascending and not adjacent"
        assert all(gap.first <= gap.last < seen.highest for gap in seen.gaps)


def test_an_absurd_number_costs_one_gap_and_nothing_else() -> None:
    """A line with an enormous number neither loses the true ones nor needs memory for what lies between."""
    _, seen = absorb(NEVER_SEEN, pl.Series([1, 2, 2**62, 3], dtype=pl.Int64))
    assert seen == Seen(2**62, (Stretch(4, 2**62 - 1),))
    new, seen = absorb(seen, pl.Series([3, 4, 5], dtype=pl.Int64))
    assert new.to_list() == [False, True, True]
    assert seen.gaps == (Stretch(6, 2**62 - 1),)
