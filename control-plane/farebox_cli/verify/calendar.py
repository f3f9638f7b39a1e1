"""Time as an invoice sees it: the test clock's offsets, and period edges, found by looking at the wall.

Instants are whole microseconds since the Unix epoch. An edge is searched for instead of computed: the first
quarter hour at which the local date has reached the anchor day, whatever clock changes lie around it.
"""

from bisect import bisect_right
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER_HOUR: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class TestClock:
    """Offsets (microseconds) that an organization's time runs ahead of the wall, each from an instant on."""

    __test__ = False
    began: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()

    def at(self, wall: int) -> int:
        """Return the organization's time at a wall instant."""
        index = bisect_right(self.began, wall)
        return wall + self.offsets[index - 1] if index else wall

    def wall(self, instant: int) -> int:
        """Return the first wall instant at which the organization's time has reached `instant`."""
        for index, began in enumerate(self.began):
            before = self.offsets[index - 1] if index else 0
            if instant - before < began:
                return instant - before
            if instant - self.offsets[index] < began:
                return began
        return instant - (self.offsets[-1] if self.offsets else 0)


def microseconds(text: str) -> int:
    """Read an RFC 3339 instant. Raises `ValueError` unless it says its zone."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return (instant - _EPOCH) // timedelta(microseconds=1)


def shown(instant: int) -> str:
    """Write an instant as RFC 3339 in UTC."""
    return (_EPOCH + timedelta(microseconds=instant)).isoformat().replace("+00:00", "Z")


def is_edge(instant: int, *, time_zone: str, anchor_day: int) -> bool:
    """Whether a period may begin here, under the subscription's time zone and anchor day."""
    moment = _EPOCH + timedelta(microseconds=instant)
    return moment in _edges_around(moment, time_zone, anchor_day)


def next_edge(instant: int, *, time_zone: str, anchor_day: int) -> int:
    """Return the first edge after `instant`."""
    moment = _EPOCH + timedelta(microseconds=instant)
    later = min(edge for edge in _edges_around(moment, time_zone, anchor_day) if edge > moment)
    return (later - _EPOCH) // timedelta(microseconds=1)


def full_period(instant: int, *, time_zone: str, anchor_day: int) -> tuple[int, int]:
    """Return the edges around `instant`: the last at or before it, and the first after it."""
    moment = _EPOCH + timedelta(microseconds=instant)
    edges = _edges_around(moment, time_zone, anchor_day)
    before, after = max(edge for edge in edges if edge <= moment), min(e for e in edges if e > moment)
    return (before - _EPOCH) // timedelta(microseconds=1), (after - _EPOCH) // timedelta(microseconds=1)


def _edges_around(moment: datetime, time_zone: str, anchor_day: int) -> list[datetime]:
    months = moment.year * 12 + moment.month - 1
    return [_edge(*divmod(months + ahead, 12), time_zone, anchor_day) for ahead in (-1, 0, 1, 2)]


def _edge(year: int, month_index: int, time_zone: str, anchor_day: int) -> datetime:
    zone = ZoneInfo(time_zone)
    wanted = date(year, month_index + 1, min(anchor_day, monthrange(year, month_index + 1)[1]))
    moment = datetime(wanted.year, wanted.month, wanted.day, tzinfo=UTC) - timedelta(hours=27)
    while moment.astimezone(zone).date() < wanted:
        moment += _QUARTER_HOUR
    return moment
