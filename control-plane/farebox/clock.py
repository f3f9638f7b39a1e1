"""Where `now` comes from. Rules take instants as arguments; only the edges of the system ask a clock."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the wall time, always aware and in UTC."""

    def now(self) -> datetime:
        """Return the present instant."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant."""
        return datetime.now(UTC)


@dataclass(slots=True)
class ManualClock:
    """A clock that a test sets and advances."""

    instant: datetime

    def now(self) -> datetime:
        """Return the instant it was set to."""
        return self.instant

    def advance(self, by: timedelta) -> None:
        """Move the clock forward."""
        self.instant += by


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """From wall time `began_at` on, an organization's time runs `offset` ahead of the wall."""

    began_at: datetime
    offset: timedelta


@dataclass(frozen=True, slots=True)
class OrganizationTime:
    """An organization's own time line: the wall's, moved ahead by its test clock.

    `offsets` are ordered by `began_at` and never decrease, so that its time never runs backwards. An
    organization without a test clock has none, and its time is the wall's.
    """

    offsets: Sequence[ClockOffset] = ()

    def at(self, wall: datetime) -> datetime:
        """Return the organization's time at the wall instant."""
        index = bisect_right(self.offsets, wall, key=lambda entry: entry.began_at)
        return wall + self.offsets[index - 1].offset if index else wall

    def wall(self, instant: datetime) -> datetime:
        """Return the first wall instant at which the organization's time has reached `instant`."""
        previous = timedelta()
        for entry in self.offsets:
            if instant <= entry.began_at + previous:
                return instant - previous
            if instant <= entry.began_at + entry.offset:
                return entry.began_at
            previous = entry.offset
        return instant - previous
