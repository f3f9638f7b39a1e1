"""A plan's limits and quota over past requests: how many it would have refused, and why. Pure.

Every request is decided as the edge decides it: all limits are checked, then all are taken, and a refused
request burns nothing. Windows are aligned to the Unix epoch and count requests; the quota counts units of
live keys in a billing period. Counters are whole: what several gateway nodes lease ahead of need is left out,
so an edge may refuse a little earlier near a limit, and never later.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

QUOTA: Final = "quota"


@dataclass(frozen=True, slots=True)
class Request:
    """One past request: when it began (Unix ms), what it weighs, and whether its key was live."""

    at_ms: int
    units: int
    live: bool


@dataclass(frozen=True, slots=True)
class Window:
    """At most `requests` in each `seconds`."""

    name: str
    requests: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Limits:
    """A plan's limits. `quota_units` None: no quota; a soft quota refuses nothing."""

    windows: Sequence[Window]
    quota_units: int | None = None
    hard: bool = False


@dataclass(slots=True)
class Refusals:
    """What the limits did. `by_limit` counts refused requests by the name of the limit, or `quota`; a request
    that several would refuse counts for the first. `overage_units` were let past a soft quota.
    """

    requests: int = 0
    refused: int = 0
    by_limit: Counter[str] = field(default_factory=Counter)
    overage_units: int = 0
    most_in_window: dict[str, int] = field(default_factory=dict)


def replay(requests: Iterable[Request], limits: Limits, period_starts_ms: Sequence[int]) -> Refusals:
    """Decide the requests in their order. `period_starts_ms` are the wall instants at which billing periods
    begin, ascending; what lies before the first belongs to it.
    """
    found = Refusals()
    windows: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (-1, 0))
    used: Counter[int] = Counter()
    for request in requests:
        found.requests += 1
        taken: dict[str, tuple[int, int]] = {}
        refused_by: str | None = None
        for window in limits.windows:
            start = request.at_ms - request.at_ms % (window.seconds * 1000)
            begun, count = windows[window.name]
            count = count if begun == start else 0
            if count + 1 > window.requests:
                refused_by = refused_by or window.name
            taken[window.name] = (start, count + 1)
        period = max(bisect_right(period_starts_ms, request.at_ms) - 1, 0)
        counts = limits.quota_units is not None and request.live
        if counts and limits.hard and used[period] + request.units > (limits.quota_units or 0):
            refused_by = refused_by or QUOTA
        if refused_by is not None:
            found.refused += 1
            found.by_limit[refused_by] += 1
            continue
        windows.update(taken)
        for name, (_, count) in taken.items():
            found.most_in_window[name] = max(count, found.most_in_window.get(name, 0))
        if counts:
            before = max(used[period], limits.quota_units or 0)
            used[period] += request.units
            found.overage_units += max(0, used[period] - before)
    return found
