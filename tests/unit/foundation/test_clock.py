"""An organization's test clock moves its time ahead and never back."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from farebox.clock import ClockOffset, OrganizationTime

START = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def time_lines(draw: st.DrawFn) -> OrganizationTime:
    """Offsets as the clock stores them: ordered starts, never smaller."""
    count = draw(st.integers(0, 4))
    starts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=count, max_size=count, unique=True)))
    offsets = sorted(draw(st.lists(st.integers(0, 10_000), min_size=count, max_size=count)))
    return OrganizationTime(
        [
            ClockOffset(START + timedelta(seconds=s), timedelta(seconds=o))
            for s, o in zip(starts, offsets, strict=True)
        ]
    )


def test_without_a_test_clock_time_is_the_walls() -> None:
    """Nothing is added."""
    assert OrganizationTime().at(START) == START
    assert OrganizationTime().wall(START) == START


def test_an_advance_holds_from_its_wall_instant_on() -> None:
    """Before it the wall's time, from it on ahead by the offset."""
    time = OrganizationTime([ClockOffset(START, timedelta(days=30))])
    assert time.at(START - timedelta(seconds=1)) == START - timedelta(seconds=1)
    assert time.at(START) == START + timedelta(days=30)
    assert time.wall(START + timedelta(days=10)) == START, (
        "an instant that was jumped over is reached at the jump"
    )
    assert time.wall(START + timedelta(days=31)) == START + timedelta(days=1)


@given(time_lines(), st.integers(-5_000, 30_000), st.integers(0, 5_000))
def test_time_never_runs_backwards(time: OrganizationTime, at: int, later: int) -> None:
    """Later on the wall is never earlier for the organization."""
    wall = START + timedelta(seconds=at)
    assert time.at(wall) <= time.at(wall + timedelta(seconds=later))


@given(time_lines(), st.integers(-5_000, 30_000))
def test_wall_is_the_first_instant_that_reached_it(time: OrganizationTime, at: int) -> None:
    """At `wall(t)` the organization's time is at least `t`, and a moment before it was not."""
    instant = START + timedelta(seconds=at)
    wall = time.wall(instant)
    assert time.at(wall) >= instant
    assert time.at(wall - timedelta(microseconds=1)) < instant
