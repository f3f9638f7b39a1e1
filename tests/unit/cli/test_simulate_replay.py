"""What a plan's limits would have refused: worked by hand, and against a naive second way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox_cli.simulate.replay import Limits, Request, Window, replay

MINUTE = Window("minute", 2, 60)


def at(*seconds: float, units: int = 1, live: bool = True) -> list[Request]:
    """Requests at these seconds."""
    return [Request(int(second * 1000), units, live) for second in seconds]


def test_a_window_is_aligned_to_the_epoch() -> None:
    """The third request of a minute is refused; the next minute begins anew, whenever the first was."""
    found = replay(at(58, 59, 59.999, 60, 61, 62), Limits([MINUTE]), [0])
    assert (found.requests, found.refused, dict(found.by_limit)) == (6, 2, {"minute": 2})
    assert found.most_in_window == {"minute": 2}


def test_a_refused_request_burns_nothing() -> None:
    """What the quota refuses takes no place in a window, and what a window refuses takes no units."""
    wide = Limits([Window("hour", 3, 3600)], quota_units=2, hard=True)
    found = replay([*at(0, units=2), *at(1, units=2), *at(2, units=2), *at(3, 4, units=0)], wide, [0])
    assert dict(found.by_limit) == {"quota": 2}
    tight = Limits([Window("minute", 1, 60)], quota_units=2, hard=True)
    found = replay(at(0, 1, 2, 60), tight, [0])
    assert dict(found.by_limit) == {"minute": 2}


def test_a_quota_belongs_to_its_period() -> None:
    """Each period has its own; what lies before the first known edge belongs to the first period."""
    limits = Limits([], quota_units=2, hard=True)
    found = replay(at(1, 11, 12, 20, 21, 22), limits, [10_000, 20_000])
    assert (found.refused, dict(found.by_limit)) == (2, {"quota": 2})


def test_a_soft_quota_refuses_nothing_and_counts_overage() -> None:
    """The units beyond are what a plan would bill as overage; test keys take none."""
    limits = Limits([], quota_units=3, hard=False)
    found = replay([*at(1, 2, units=2), *at(3, units=5), *at(4, units=100, live=False)], limits, [0])
    assert (found.refused, found.overage_units) == (0, 6)


@pytest.mark.parametrize("limits", [Limits([]), Limits([Window("never", 10**9, 1)], None)])
def test_without_a_reachable_limit_nothing_is_refused(limits: Limits) -> None:
    """A plan without limits is all demand."""
    assert replay(at(*range(50)), limits, [0]).refused == 0


REQUESTS = st.lists(
    st.builds(Request, st.integers(0, 200_000), st.integers(0, 5), st.booleans()), max_size=60
)
WINDOWS = st.lists(st.tuples(st.integers(1, 6), st.sampled_from([1, 10, 60])), max_size=3)


@given(REQUESTS, WINDOWS, st.none() | st.integers(1, 20), st.booleans())
def test_it_agrees_with_counting_all_over_again(
    requests: list[Request], windows: list[tuple[int, int]], quota: int | None, hard: bool
) -> None:
    """The naive way: for each request, look at every accepted one before it."""
    requests.sort(key=lambda request: request.at_ms)
    named = [Window(f"w{number}", most, seconds) for number, (most, seconds) in enumerate(windows)]
    edges = [0, 90_000]
    accepted: list[Request] = []
    refused = 0
    for request in requests:

        def same_window(other: Request, window: Window, request: Request = request) -> bool:
            length = window.seconds * 1000
            return other.at_ms // length == request.at_ms // length

        full = any(
            sum(same_window(other, window) for other in accepted) >= window.requests for window in named
        )
        spent = sum(
            other.units
            for other in accepted
            if other.live and (other.at_ms >= edges[1]) == (request.at_ms >= edges[1])
        )
        over = quota is not None and hard and request.live and spent + request.units > quota
        if full or over:
            refused += 1
        else:
            accepted.append(request)
    found: Any = replay(requests, Limits(named, quota, hard), edges)
    assert (found.requests, found.refused) == (len(requests), refused)
    assert sum(found.by_limit.values()) == refused
