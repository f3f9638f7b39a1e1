"""Period edges: one function, every zone, every anchor."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.subscriptions.periods import BUCKET_SECONDS, Period, period_after, period_containing

ZONES = sorted(available_timezones())
instants = st.integers(788918400, 2145916799).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
anchors = st.integers(1, 31)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@given(instant=instants, zone=st.sampled_from(ZONES), anchor=anchors)
def test_periods_partition_time(instant: datetime, zone: str, anchor: int) -> None:
    """Every instant lies in exactly one period, and each period begins where the one before ended."""
    period = period_containing(instant, time_zone=zone, anchor_day=anchor)
    assert instant in period
    assert period_containing(period.start, time_zone=zone, anchor_day=anchor) == period
    last_moment = period.end - timedelta(microseconds=1)
    assert period_containing(last_moment, time_zone=zone, anchor_day=anchor) == period
    following = period_after(period, time_zone=zone, anchor_day=anchor)
    assert following.start == period.end < following.end
    before = period_containing(period.start - timedelta(microseconds=1), time_zone=zone, anchor_day=anchor)
    assert before.end == period.start


@given(instant=instants, zone=st.sampled_from(ZONES), anchor=anchors)
def test_no_bucket_is_cut_by_an_edge(instant: datetime, zone: str, anchor: int) -> None:
    """Usage is kept by quarter hours, so both edges must fall on one."""
    period = period_containing(instant, time_zone=zone, anchor_day=anchor)
    assert period.start.timestamp() % BUCKET_SECONDS == 0
    assert period.end.timestamp() % BUCKET_SECONDS == 0


@given(instant=instants, zone=st.sampled_from(ZONES), anchor=anchors)
def test_an_edge_is_the_first_instant_of_its_local_day(instant: datetime, zone: str, anchor: int) -> None:
    """A second before the edge the local date has not yet reached the anchor day; at the edge it has."""
    start = period_containing(instant, time_zone=zone, anchor_day=anchor).start
    local = start.astimezone(ZoneInfo(zone))
    before = (start - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
    assert before.date() < local.date()


@pytest.mark.parametrize(
    ("zone", "anchor", "instant", "start", "end"),
    [
        ("UTC", 1, "2026-11-21T00:00Z", "2026-11-01T00:00Z", "2026-12-01T00:00Z"),
        ("UTC", 31, "2026-02-10T00:00Z", "2026-01-31T00:00Z", "2026-02-28T00:00Z"),
        ("UTC", 31, "2026-02-28T00:00Z", "2026-02-28T00:00Z", "2026-03-31T00:00Z"),
        ("UTC", 30, "2028-02-29T12:00Z", "2028-02-29T00:00Z", "2028-03-30T00:00Z"),
        ("UTC", 29, "2027-02-28T12:00Z", "2027-02-28T00:00Z", "2027-03-29T00:00Z"),
        ("UTC", 1, "2026-12-31T23:59Z", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        ("Pacific/Kiritimati", 1, "2026-10-31T10:00Z", "2026-10-31T10:00Z", "2026-11-30T10:00Z"),
        ("Pacific/Honolulu", 1, "2026-11-01T09:59Z", "2026-10-01T10:00Z", "2026-11-01T10:00Z"),
        # 23 hours shorter, 25 hours longer days at a month's edge.
        ("Europe/Berlin", 1, "2026-03-15T00:00Z", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("Europe/Berlin", 1, "2026-10-15T00:00Z", "2026-09-30T22:00Z", "2026-10-31T23:00Z"),
        # Half an hour of daylight saving.
        ("Australia/Lord_Howe", 1, "2026-04-10T00:00Z", "2026-03-31T13:00Z", "2026-04-30T13:30Z"),
        # Midnight of 24 April 2026 does not exist in Cairo: the clock jumps from 00:00 to 01:00.
        ("Africa/Cairo", 24, "2026-05-01T00:00Z", "2026-04-23T22:00Z", "2026-05-23T21:00Z"),
        # Midnight of 1 November 2026 comes twice in Havana: the first counts.
        ("America/Havana", 1, "2026-11-15T00:00Z", "2026-11-01T04:00Z", "2026-12-01T05:00Z"),
        # At 00:01 on 1 November 2009 the clock of St John's went back into October.
        ("America/St_Johns", 1, "2009-11-01T02:45Z", "2009-11-01T02:30Z", "2009-12-01T03:30Z"),
        # Apia had no 30 December 2011.
        ("Pacific/Apia", 30, "2012-01-05T00:00Z", "2011-12-30T10:00Z", "2012-01-29T10:00Z"),
    ],
)  # fmt: skip
def test_edges_worked_by_hand(zone: str, anchor: int, instant: str, start: str, end: str) -> None:
    """The awkward months, each worked out on paper from the zone's own rules."""
    period = period_containing(at(instant), time_zone=zone, anchor_day=anchor)
    assert period == Period(at(start), at(end))


@pytest.mark.parametrize("day", [0, 32, -1])
def test_an_impossible_anchor_is_refused(day: int) -> None:
    """An anchor day outside 1 to 31 is a mistake, not the month's last day."""
    with pytest.raises(ValueError, match="between 1 and 31"):
        period_containing(at("2026-11-21T00:00Z"), time_zone="UTC", anchor_day=day)
