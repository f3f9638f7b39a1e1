"""Two gateways whose clocks differ: what a window and a period give, and until when they are remembered.

The clocks are arguments of the names that a node asks for, so a node that is late is one that asks for the
window of its own clock. No clock of the machine is moved.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from farebox_contract import counters
from farebox_gateway.edge.counters.base import Taken, Want
from farebox_gateway.edge.counters.redis_store import RedisCounters
from farebox_gateway.edge.wall_clock import now_ms

LIMIT = 12
MINUTE = 60
LONG_LEASE = 600.0


@contextlib.asynccontextmanager
async def _nodes(folder: Path, url: str) -> AsyncIterator[tuple[RedisCounters, RedisCounters]]:
    async with contextlib.AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                RedisCounters(
                    url, folder / name, timeout=5, require_generation=True, lease_seconds=LONG_LEASE
                )
            )
            for name in ("first", "second")
        ]
        yield first, second


def _window(clock: int, limit: int = LIMIT) -> Want:
    start, ends = counters.window_bounds(clock, MINUTE)
    key = counters.window_key("org", "minute", start)
    return Want("minute", "window:org:minute", key, start, ends, limit, 1)


def _quota(start: int, ends: int) -> Want:
    key = counters.quota_key("sub", start)
    return Want("quota", key, key, start, ends, LIMIT, 1)


async def _take(node: RedisCounters, want: Want, times: int) -> int:
    """Ask some times; return how often it was granted."""
    granted = 0
    for _ in range(times):
        taken = node.take("org", [want])
        result = taken if isinstance(taken, Taken) else await taken
        granted += result.refused is None
    return granted


@pytest.mark.parametrize("behind", [0, 500, 4_900, 30_000])
async def test_a_late_node_shares_the_window_of_its_clock(
    tmp_path: Path, redis: Redis, redis_url: str, behind: int
) -> None:
    """At any skew each window by name gives its number once: a late node spends the old one's rest."""
    edge = counters.window_bounds(now_ms(), MINUTE)[1] + MINUTE * 1000
    async with _nodes(tmp_path, redis_url) as (punctual, late):
        assert await _take(punctual, _window(edge - 1), 5) == 5
        assert await _take(punctual, _window(edge), 20) == LIMIT
        at_late = _window(edge - behind)
        wanted = 0 if behind == 0 else LIMIT - 5
        assert await _take(late, at_late, 20) == wanted
        assert await _take(late, _window(edge), 20) == 0


async def test_a_window_is_remembered_past_its_end(tmp_path: Path, redis: Redis, redis_url: str) -> None:
    """Its counter outlives it by the skew that is allowed for, so that a late node finds it used up."""
    want = _window(now_ms())
    async with _nodes(tmp_path, redis_url) as (punctual, late):
        assert await _take(punctual, want, 20) == LIMIT
        left = int(await redis.pttl(want.key))
        assert abs(now_ms() + left - want.ends - counters.WINDOW_KEPT_MS) < 1000
        assert await _take(late, want, 5) == 0


async def test_a_clock_that_is_ahead_does_not_shorten_a_window(
    tmp_path: Path, redis: Redis, redis_url: str
) -> None:
    """The end that a node names is the window's, whenever it asks; the counter lives that long for all."""
    ahead = _window(now_ms() + 3 * MINUTE * 1000)
    async with _nodes(tmp_path, redis_url) as (early, punctual):
        assert await _take(early, ahead, 7) == 7
        assert await redis.pttl(ahead.key) > 2 * MINUTE * 1000
        assert await _take(punctual, ahead, 20) == LIMIT - 7


async def test_a_period_edge_gives_neither_quota_twice(tmp_path: Path, redis: Redis, redis_url: str) -> None:
    """One node is in the new period, the other in the old: two counters, each with its number once."""
    now, day = now_ms(), 24 * 3600 * 1000
    old, new = _quota(now - 30 * day, now), _quota(now, now + 30 * day)
    async with _nodes(tmp_path, redis_url) as (punctual, late):
        assert await _take(late, old, 4) == 4
        assert await _take(punctual, new, 20) == LIMIT
        assert await _take(late, old, 20) == LIMIT - 4
        assert await _take(late, new, 5) == 0
        left = int(await redis.pttl(old.key))
        assert now_ms() + left > now + counters.QUOTA_KEPT_MS - 1000


async def test_a_node_that_was_cut_off_spends_no_more_than_it_held(
    tmp_path: Path, redis: Redis, redis_url: str
) -> None:
    """Leases of a window that both know sum up to the limit: none is granted by two nodes."""
    want = _window(now_ms(), limit=1000)
    async with _nodes(tmp_path, redis_url) as (first, second):
        granted = [0, 0]
        for turn in range(1200):
            granted[turn % 2] += await _take((first, second)[turn % 2], want, 1)
        assert sum(granted) <= 1000
        assert sum(granted) >= 1000 - counters.early_refusals(1000, 2)
