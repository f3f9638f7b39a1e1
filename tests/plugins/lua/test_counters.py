"""Counters of the Lua plugins: local ones, and leased ones in a Redis that embedded gateways share."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest_asyncio
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from tests.plugins.lua.runner import Nginx, running_nginx
from tests.support.processes import gone

from farebox_contract import counters
from farebox_gateway.edge.counters.base import Taken, Want
from farebox_gateway.edge.counters.redis_store import RedisCounters

SETTINGS = {"require_generation": True, "lease_seconds": 1, "timeout": 2, "longest_wait": 5}
NOW = int(time.time() * 1000)
PERIOD = (NOW - 1000, NOW + 3_600_000)


def _want(subscription: str, limit: int | None, units: int = 1) -> dict[str, Any]:
    """The quota of a subscription, as `terms.wants` has it."""
    want = {
        "name": "quota",
        "key": counters.quota_key(subscription, PERIOD[0]),
        "start": PERIOD[0],
        "ends": PERIOD[1],
        "kept": counters.quota_expires_at(PERIOD[1], NOW),
        "units": units,
        "is_quota": True,
    }
    return want if limit is None else {**want, "limit": limit}


def _take(lua: Nginx, *wants: dict[str, Any], owner: str = "acme") -> list[Any]:
    """Take at the Lua node: the index that refused (from 1) or None, what is used, why it is unavailable."""
    return (lua.call("store", "take", owner, wants) + [None] * 3)[:3]


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A Redis that has been seeded."""
    async with Redis.from_url(redis_url) as connection:
        await connection.set(counters.GENERATION_KEY, "g1")
        yield connection


async def _units(redis: Redis, subscription: str, expected: int) -> int:
    """Return what stands on a counter once it is `expected`, or after a while."""
    units = -1
    for _ in range(100):
        units = int(await redis.get(counters.quota_key(subscription, PERIOD[0])) or 0)
        if units == expected:
            break
        await asyncio.sleep(0.05)
    return units


def test_local_counters_give_out_exactly_the_limit() -> None:
    """From two workers at once, a limit is given out to the unit; a refusal takes nothing from the others."""
    with running_nginx(workers=2) as lua, ThreadPoolExecutor(16) as pool:
        wants = (_want("wide", 1000), _want("narrow", 100))
        answers = list(pool.map(lambda _: _take(lua, *wants), range(300)))
        passed = [answer for answer in answers if answer[0] is None]
        assert len(passed) == 100
        assert _take(lua, _want("wide", 1000)) == [None, [101], None]
        lua.call("store", "settle", _want("narrow", 100), -3)
        assert [_take(lua, *wants)[0] for _ in range(4)] == [None, None, None, 2]


async def test_one_node_gives_out_exactly_the_limit(redis: Redis, redis_url: str) -> None:
    """From two workers at once the quota is given out to the unit, and few requests ask Redis."""
    with (
        running_nginx(workers=2, settings={**SETTINGS, "redis_url": redis_url}) as lua,
        ThreadPoolExecutor(16) as pool,
    ):
        asked = (await redis.info("stats"))["total_commands_processed"]
        answers = list(pool.map(lambda _: _take(lua, _want("s1", 400)), range(600)))
        assert sum(answer[0] is None for answer in answers) == 400
        assert (await redis.info("stats"))["total_commands_processed"] - asked < 600


async def test_a_node_of_each_kind_shares_one_quota(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A Lua node and an embedded one, asked in turn, together never pass the limit, and come near it."""
    limit = 500
    embedded = RedisCounters(
        redis_url, tmp_path / "leases", timeout=2, require_generation=True, lease_seconds=1
    )
    key = counters.quota_key("s2", PERIOD[0])
    want = Want("quota", key, key, *PERIOD, limit, 1)
    passed = 0
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url}) as lua:
        async with embedded:
            for _ in range(limit):
                passed += _take(lua, _want("s2", limit))[0] is None
                taken = embedded.take("acme", [want])
                taken = taken if isinstance(taken, Taken) else await taken
                passed += taken.refused is None
    assert passed == limit


async def test_idle_leases_go_back(redis: Redis, redis_url: str) -> None:
    """What is leased and not used returns, so that in the end Redis holds what was used."""
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url}) as lua:
        for _ in range(5):
            assert _take(lua, _want("s3", 10_000))[0] is None
        assert int(await redis.get(counters.quota_key("s3", PERIOD[0])) or 0) > 5
        assert await _units(redis, "s3", 5) == 5


async def test_a_stop_brings_leases_back(redis: Redis, redis_url: str) -> None:
    """When nginx is told to end, what it held returns before it is gone."""
    settings = {**SETTINGS, "redis_url": redis_url, "lease_seconds": 3600}
    for number, subscription in ((signal.SIGTERM, "s4"), (signal.SIGQUIT, "s5")):
        with running_nginx(settings=settings) as lua:
            for _ in range(5):
                assert _take(lua, _want(subscription, 10_000))[0] is None
            assert int(await redis.get(counters.quota_key(subscription, PERIOD[0])) or 0) > 5
            lua.stop(number)
        assert int(await redis.get(counters.quota_key(subscription, PERIOD[0])) or 0) == 5


async def test_a_killed_worker_loses_no_lease(redis: Redis, redis_url: str) -> None:
    """What a killed worker had fetched is spent, and in the end brought back, by the worker after it."""
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url, "lease_seconds": 2}) as lua:
        for _ in range(3):
            assert _take(lua, _want("s6", 10_000))[0] is None
        (worker,) = lua.workers
        os.kill(worker, signal.SIGKILL)
        await gone(worker)
        for _ in range(2):
            assert _take(lua, _want("s6", 10_000))[0] is None
        assert await _units(redis, "s6", 5) == 5


async def test_what_weighs_more_counts_at_once(redis: Redis, redis_url: str) -> None:
    """Units that an answer adds are in the way of the next request, and reach Redis by themselves."""
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url}) as lua:
        assert _take(lua, _want("s7", 10))[0] is None
        lua.call("store", "settle", _want("s7", 10), 8)
        assert [_take(lua, _want("s7", 10))[0] for _ in range(3)] == [None, 1, 1]
        assert _take(lua, _want("s8", None))[0] is None
        lua.call("store", "settle", _want("s8", None), 5000)
        assert await _units(redis, "s8", 5001) == 5001


async def test_what_is_given_back_can_be_used(redis: Redis, redis_url: str) -> None:
    """Units of a request that is not billed are there for the next one."""
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url}) as lua:
        for _ in range(2):
            assert _take(lua, _want("s9", 2))[0] is None
            lua.call("store", "settle", _want("s9", 2), -1)
        assert [_take(lua, _want("s9", 2))[0] for _ in range(3)] == [None, None, 1]


async def test_a_heavy_request_is_taken_whole_or_not(redis: Redis, redis_url: str) -> None:
    """Several units are taken from lease and Redis together, to the last one."""
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url}) as lua:
        answers = [_take(lua, _want("s10", 100, 7))[0] for _ in range(15)]
        assert answers == [None] * 14 + [1]
        assert _take(lua, _want("s10", 100, 2))[0] is None
        assert _take(lua, _want("s10", 100, 1))[0] == 1


async def test_a_refusal_takes_nothing(redis: Redis, redis_url: str) -> None:
    """What the second counter refuses the first keeps, leases and Redis added up."""
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url}) as lua:
        answers = [_take(lua, _want("s11", 1000), _want("s12", 3))[0] for _ in range(10)]
        assert answers == [None] * 3 + [2] * 7
        assert await _units(redis, "s11", 3) == 3


async def test_an_unseeded_redis_is_unavailable(redis: Redis, redis_url: str) -> None:
    """Without the marker nothing is given out; after a flush leases are void; a new seed is followed."""
    with running_nginx(settings={**SETTINGS, "redis_url": redis_url}) as lua:
        assert _take(lua, _want("s13", 1000))[0] is None
        await redis.flushall()
        for _ in range(100):
            if _take(lua, _want("s13", 1000))[2]:
                break
            await asyncio.sleep(0.05)
        refused, used, reason = _take(lua, _want("s13", 1000))
        assert (refused, used) == (None, None)
        assert "seeded" in reason
        await redis.set(counters.quota_key("s13", PERIOD[0]), 999)
        await redis.set(counters.GENERATION_KEY, "g2")
        assert [_take(lua, _want("s13", 1000))[0] for _ in range(2)] == [None, 1]


async def test_without_redis_leases_last(redis: Redis, redis_url: str) -> None:
    """A Redis that stands still: what is leased may be spent, the rest is unavailable, and it recovers."""
    settings = {**SETTINGS, "redis_url": redis_url, "timeout": 0.1, "lease_seconds": 3600}
    with running_nginx(settings=settings) as lua:
        assert _take(lua, _want("s14", 10_000))[0] is None
        with BlockingRedis.from_url(redis_url) as blocking:
            process = blocking.info("server")["process_id"]
        os.kill(process, signal.SIGSTOP)
        try:
            answers = [_take(lua, _want("s14", 10_000)) for _ in range(600)]
            assert sum(answer[1] is not None for answer in answers) == 511
            began = time.monotonic()
            assert all(_take(lua, _want("s15", 10))[2] for _ in range(50))
            assert time.monotonic() - began < 5
        finally:
            os.kill(process, signal.SIGCONT)
        for _ in range(200):
            if _take(lua, _want("s15", 10))[1] is not None:
                break
            await asyncio.sleep(0.05)
        assert _take(lua, _want("s15", 10))[1] is not None
