"""Billing periods: every edge of every period comes from here.

A period begins at local midnight of the anchor day in the subscription's time zone and ends where the next
begins; a month without that day uses its last. Where a clock change skips midnight, the edge is the instant
of the change; where midnight comes twice, the first. Pure: instants in, instants out, all aware and in UTC.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

BUCKET_SECONDS: Final = 900
"""Usage is kept by quarter hours: every offset of every zone is a multiple of one, so no edge cuts one."""


@dataclass(frozen=True, slots=True)
class Period:
    """`start` included, `end` excluded."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        """Tell whether the instant lies in the period."""
        return self.start <= instant < self.end


def period_containing(instant: datetime, *, time_zone: str, anchor_day: int) -> Period:
    """Return the full period around `instant`, whatever the subscription's own start.

    Raises `ZoneInfoNotFoundError` (a `KeyError`) for an unknown zone, `ValueError` for an impossible day.
    """
    if not 1 <= anchor_day <= 31:
        raise ValueError(f"an anchor day lies between 1 and 31, not at {anchor_day}")
    zone = ZoneInfo(time_zone)
    local = instant.astimezone(zone)
    year, month = local.year, local.month
    if instant < _edge(year, month, anchor_day, zone):
        year, month = _months_later(year, month, -1)
    start, end = (_edge(*_months_later(year, month, ahead), anchor_day, zone) for ahead in (0, 1))
    if instant >= end:
        # A clock set back over midnight shows the old month again, after the edge.
        start, end = end, _edge(*_months_later(year, month, 2), anchor_day, zone)
    return Period(start, end)


def period_after(period: Period, *, time_zone: str, anchor_day: int) -> Period:
    """Return the period from where `period` ends to the next edge; shorter than a full one where `period`
    did not end at an edge (a trial).
    """
    return Period(period.end, period_containing(period.end, time_zone=time_zone, anchor_day=anchor_day).end)


@dataclass(frozen=True, slots=True)
class Course:
    """What a subscription's periods follow from. `resumed_at` is where a resumption cut a paused period.

    A trial is one period, however long; the period after it begins with it and ends at the next edge.
    """

    time_zone: str
    anchor_day: int
    started_at: datetime
    trial_ends_at: datetime | None = None
    resumed_at: datetime | None = None

    def around(self, instant: datetime) -> Period:
        """Return the period around `instant`; for one before the start, the first."""
        floor = max(self.started_at, self.resumed_at or self.started_at)
        instant = max(instant, floor)
        if self.trial_ends_at is not None:
            if instant < self.trial_ends_at:
                return Period(self.started_at, self.trial_ends_at)
            floor = max(floor, self.trial_ends_at)
        full = period_containing(instant, time_zone=self.time_zone, anchor_day=self.anchor_day)
        return Period(max(full.start, floor), full.end)

    def after(self, period: Period) -> Period:
        """Return the period that begins where `period` ends."""
        return period_after(period, time_zone=self.time_zone, anchor_day=self.anchor_day)


def _edge(year: int, month: int, anchor_day: int, zone: ZoneInfo) -> datetime:
    midnight = datetime(year, month, min(anchor_day, monthrange(year, month)[1]), tzinfo=zone)
    edge = midnight.astimezone(UTC)
    if edge.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return edge
    return _change_before(edge, zone)


def _change_before(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock was set forward over a midnight that would have been at `instant`."""
    low, high = instant - timedelta(days=1), instant
    offset = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high


def _months_later(year: int, month: int, months: int) -> tuple[int, int]:
    year_offset, month_index = divmod(month - 1 + months, 12)
    return year + year_offset, month_index + 1
