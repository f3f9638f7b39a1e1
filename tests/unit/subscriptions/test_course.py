"""A subscription's periods tile its time, with trials and resumptions, in every zone."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from farebox.subscriptions.periods import Course

ZONES = ["UTC", "Pacific/Kiritimati", "Pacific/Honolulu", "Europe/Berlin", "Africa/Casablanca", "Asia/Beirut",
         "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns"]  # fmt: skip
starts = st.datetimes(
    datetime(2010, 1, 1),  # noqa: DTZ001 - hypothesis takes naive bounds and a zone
    datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(
    start=starts,
    zone=st.sampled_from(ZONES),
    anchor=st.integers(1, 31),
    trial=st.none() | st.integers(1, 730),
    resumed=st.none() | st.integers(0, 10**8),
    offset=st.integers(-(10**6), 10**8),
)
@example(datetime(2026, 10, 24, 22, tzinfo=UTC), "Europe/Berlin", 25, 1, None, 86_400)
@example(datetime(2024, 1, 31, 10, tzinfo=UTC), "Pacific/Kiritimati", 31, None, 3_000_000, 5_000_000)
def test_periods_tile_the_subscriptions_time(
    start: datetime, zone: str, anchor: int, trial: int | None, resumed: int | None, offset: int
) -> None:
    """From any instant on: its period holds it, the next begins where it ends, and looking again agrees."""
    trial_ends_at = None if trial is None else start + timedelta(days=trial)
    resumed_at = None if resumed is None or trial is not None else start + timedelta(seconds=resumed)
    course = Course(zone, anchor, start, trial_ends_at, resumed_at)
    floor = max(start, resumed_at or start)
    instant = start + timedelta(seconds=offset)
    period = course.around(instant)
    assert max(instant, floor) in period
    assert period.start >= floor
    for _ in range(4):
        following = course.after(period)
        assert following.start == period.end < following.end
        assert course.around(following.start) == following
        assert course.around(following.end - timedelta(microseconds=1)) == following
        period = following


@given(start=starts, zone=st.sampled_from(ZONES), anchor=st.integers(1, 31), trial=st.integers(1, 730))
def test_a_trial_is_one_period(start: datetime, zone: str, anchor: int, trial: int) -> None:
    """However many months it spans; what is owed begins to the second where it ends."""
    ends_at = start + timedelta(days=trial)
    course = Course(zone, anchor, start, ends_at)
    first = course.around(start)
    assert (first.start, first.end) == (start, ends_at)
    assert course.after(first).start == ends_at
