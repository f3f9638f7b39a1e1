"""The independent reader and the independent rule say what the contract says."""

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farebox_cli.verify.lines import Line, Malformed, read, served_v1
from farebox_cli.verify.streams import Seen, overlap, without
from farebox_contract import billable, usage_line

GOOD: dict[str, Any] = {
    "v": 1, "ts": 1795219218123, "node": "gw-1", "boot": "m2x9k4", "worker": 0, "seq": 42, "rid": "a467",
    "env": "live", "org": "4f7q2k", "key": "9tz3m1", "sub": "x81k", "group": "starter-1", "route": "messages",
    "method": "POST", "path": "/v1", "status": 200, "outcome": "served", "units": 1, "in": 192, "out": 793,
    "us": 1530, "up_us": 1010, "ip": "203.0.113.7", "ua": "curl/8",
}  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**63), st.floats(), st.text(max_size=130),
    st.sampled_from(["", "live", "test", "served", 0, 1, 999, 1000, 10**12, 10**12 + 1, 2**62, 2**62 + 1]),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip


def accepted(raw: bytes) -> tuple[bool, bool]:
    try:
        usage_line.decode(raw)
        theirs = True
    except usage_line.MalformedLineError:
        theirs = False
    try:
        read(raw)
        ours = True
    except Malformed:
        ours = False
    return ours, theirs


@given(name=st.sampled_from([*GOOD, "more"]), value=VALUES, without_member=st.sampled_from([None, *GOOD]))
def test_both_readers_accept_the_same_lines(name: str, value: Any, without_member: str | None) -> None:
    """Any member with any value, and any member left out."""
    document = GOOD | {name: value}
    document.pop(without_member or "", None)
    ours, theirs = accepted(json.dumps(document).encode())
    assert ours == theirs


@given(st.binary(max_size=80))
def test_both_readers_refuse_garbage(raw: bytes) -> None:
    """Neither takes bytes for a line, and neither fails in another way than by saying so."""
    assert accepted(raw) == (False, False)


@given(at=st.integers(0, 330), byte=st.integers(0, 255))
def test_both_readers_agree_on_a_damaged_byte(at: int, byte: int) -> None:
    """One byte of a good line is replaced."""
    raw = bytearray(json.dumps(GOOD, separators=(",", ":")).encode())
    raw[at % len(raw)] = byte
    ours, theirs = accepted(bytes(raw))
    assert ours == theirs


def test_both_rules_decide_alike_in_every_cell() -> None:
    """Every environment, outcome and status there is."""
    for environment, outcome, status in itertools.product(
        (None, "live", "test"), usage_line.OUTCOMES, range(1000)
    ):
        line = Line("n", "b", 0, 1, 0, environment, "o", "s", outcome, status, 1)
        assert served_v1(line) == billable.served_v1(environment, outcome, status).reason


@given(st.lists(st.integers(1, 60)))
def test_a_stream_remembers_what_a_set_would(numbers: list[int]) -> None:
    """New or seen, in any order, and the holes are what is left."""
    seen, naive = Seen(), set[int]()
    for number in numbers:
        assert seen.add(number, number) == (number not in naive)
        naive.add(number)
    assert {n for first, last in seen.ranges for n in range(first, last + 1)} == naive
    holes = {n for hole in seen.holes() for n in range(hole.first, hole.last + 1)}
    assert holes == set(range(1, max(naive, default=0))) - naive
    assert all(hole.after in {None, hole.first - 1} and hole.before == hole.last + 1 for hole in seen.holes())
    assert all(above[0] - below[1] > 1 for below, above in itertools.pairwise(seen.ranges))


def test_a_stream_without_loss_is_one_range() -> None:
    """A million lines that arrive a little out of order cost one range, not a million numbers."""
    seen = Seen()
    for start in range(1, 1_000_001, 4):
        for number in (start + 1, start, start + 3, start + 2):
            assert seen.add(number, 0)
    assert seen.ranges == [(1, 1_000_000)]


ranges = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair))), max_size=4
)


def numbers_of(of: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in of for number in range(first, last + 1)}


@given(
    hole=st.tuples(st.integers(1, 40), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair))), gaps=ranges
)
def test_what_no_gap_covers_is_left(hole: tuple[int, int], gaps: list[tuple[int, int]]) -> None:
    """Range arithmetic beside that of sets."""
    assert numbers_of(without(hole, gaps)) == numbers_of([hole]) - numbers_of(gaps)
    assert numbers_of(overlap([hole], gaps)) == numbers_of([hole]) & numbers_of(gaps)
