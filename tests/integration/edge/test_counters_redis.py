"""Limits that several gateways share in one Redis: never passed, at most refused a little early."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis
from tests.gateway.harness import Admin, Gateway, Upstream, running_edge, start_edge
from tests.integration.edge.nodes import drive, give_plan, running_nodes
from tests.plugins.accounts import open_account, settled_window, this_month

from farebox_cli.servers import embedded_redis
from farebox_contract import counters, keys

HOUR = 3600


@pytest.mark.parametrize("nodes", [2, 4])
@pytest.mark.parametrize("quota", [7, 100, 1000])
async def test_nodes_together_never_pass_a_quota(
    tmp_path: Path,
    redis: Redis,
    redis_url: str,
    client: ClientSession,
    upstream: Upstream,
    nodes: int,
    quota: int,
) -> None:
    """N nodes let through exactly the quota once their leases have come back, and never one more."""
    async with running_nodes(nodes, tmp_path, redis_url, client, upstream, LEASE_SECONDS="0.2") as accounts:
        await give_plan(accounts, {"limits": [], "quota": {"units": quota, "kind": "hard"}}, this_month())
        passed = 0
        for _ in range(40):
            statuses = await drive(accounts, quota // 2 + 20)
            assert set(statuses) <= {200, 429}
            passed += statuses[200]
            assert passed <= quota
            if passed == quota:
                break
            await asyncio.sleep(0.3)
        assert passed == quota
        assert (await drive(accounts, 20))[200] == 0


@pytest.mark.parametrize("nodes", [2, 4])
async def test_nodes_together_never_pass_a_window(
    tmp_path: Path, redis: Redis, redis_url: str, client: ClientSession, upstream: Upstream, nodes: int
) -> None:
    """In one window N nodes let through at most the limit; what is refused early is what others hold."""
    await settled_window(HOUR, 20)
    async with running_nodes(nodes, tmp_path, redis_url, client, upstream) as accounts:
        limits = [{"name": "hourly", "requests": 320, "window": HOUR}]
        await give_plan(accounts, {"limits": limits}, this_month())
        statuses = await drive(accounts, 700)
        assert statuses[200] <= 320
        assert statuses[200] >= 320 - (nodes - 1) * 320 // 16


async def test_leases_spare_round_trips(
    tmp_path: Path, redis: Redis, redis_url: str, client: ClientSession, upstream: Upstream
) -> None:
    """Of a large allowance most requests are decided without Redis."""
    async with running_nodes(1, tmp_path, redis_url, client, upstream) as accounts:
        quota = {"units": 1_000_000, "kind": "hard"}
        await give_plan(accounts, {"limits": [], "quota": quota}, this_month())
        before = (await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
        assert (await drive(accounts, 1000))[200] == 1000
        after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before < 50


async def test_idle_leases_come_back(
    tmp_path: Path, redis: Redis, redis_url: str, client: ClientSession, upstream: Upstream
) -> None:
    """A node that has nothing to do returns what it holds: the counter is then what was used."""
    periods = this_month()
    async with running_nodes(1, tmp_path, redis_url, client, upstream, LEASE_SECONDS="0.2") as accounts:
        await give_plan(accounts, {"limits": [], "quota": {"units": 10_000, "kind": "hard"}}, periods)
        await drive(accounts, 10)
        key = counters.quota_key(accounts[0].organization, periods[0]["start"])
        assert await _until(redis, key, 10) == 10
        assert await redis.pttl(key) > periods[0]["end"] - time.time() * 1000


async def _until(redis: Redis, key: str, wanted: int) -> int:
    value = -1
    for _ in range(500):
        value = int(await redis.get(key) or -1)
        if value == wanted:
            return value
        await asyncio.sleep(0.01)
    return value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_leases_of_a_stopped_node_come_back(
    tmp_path: Path,
    redis: Redis,
    redis_url: str,
    client: ClientSession,
    upstream: Upstream,
    number: signal.Signals,
) -> None:
    """Stopped, a node returns its leases; killed, it does when it starts again: not one unit is burned."""
    periods = this_month()
    settings = {"COUNTERS": "redis", "REDIS_URL": redis_url, "LEASE_SECONDS": "60"}
    gateway = await start_edge(tmp_path, **settings)
    account = await open_account(Admin(gateway, client), upstream)
    await give_plan([account], {"limits": [], "quota": {"units": 10_000, "kind": "hard"}}, periods)
    await drive([account], 25)
    key = counters.quota_key(account.organization, periods[0]["start"])
    assert int(await redis.get(key)) > 25
    await gateway.stop(number)
    if number is signal.SIGKILL:
        async with running_edge(tmp_path, **settings):
            assert await _until(redis, key, 25) == 25
    assert int(await redis.get(key)) == 25


@pytest.mark.parametrize(("choice", "status"), [("open", 200), ("closed", 503)])
async def test_without_the_marker_the_plan_decides(
    tmp_path: Path,
    redis: Redis,
    redis_url: str,
    client: ClientSession,
    upstream: Upstream,
    choice: str,
    status: int,
) -> None:
    """A flushed Redis is no fresh quota: until it is seeded, open plans pass and closed ones are 503."""
    periods = this_month()
    conf = {"limits": [], "quota": {"units": 5, "kind": "hard"}, "without_counter": choice}
    async with running_nodes(1, tmp_path, redis_url, client, upstream) as accounts:
        (account,) = accounts
        await give_plan(accounts, conf, periods)
        assert (await drive(accounts, 4))[200] == 4
        await redis.flushall()
        for _ in range(300):
            if (await account.get()).status == status and await _unavailable(account.admin.gateway, client):
                break
            await asyncio.sleep(0.01)
        assert (await drive(accounts, 10)) == {status: 10}
        answer = await account.get()
        if status == 503:
            assert (await answer.json())["error"]["code"] == "limits_unavailable"
            assert answer.headers["Retry-After"] == "1"
        expires = counters.quota_expires_at(periods[0]["end"], int(time.time() * 1000))
        await redis.set(counters.quota_key(account.organization, periods[0]["start"]), 4, pxat=expires)
        await redis.set(counters.GENERATION_KEY, "g2")
        for _ in range(300):
            if not await _unavailable(account.admin.gateway, client):
                break
            await asyncio.sleep(0.01)
        assert (await drive(accounts, 4)) == {200: 1, 429: 3}


async def _unavailable(gateway: Gateway, client: ClientSession) -> bool:
    async with client.get(f"{gateway.admin}/farebox/status") as response:
        return not (await response.json())["counters"]["available"]


async def test_the_marker_may_be_waived(
    tmp_path: Path, redis: Redis, redis_url: str, client: ClientSession, upstream: Upstream
) -> None:
    """With REQUIRE_GENERATION=false an empty Redis counts from nothing."""
    await redis.flushall()
    async with running_nodes(
        1, tmp_path, redis_url, client, upstream, REQUIRE_GENERATION="false"
    ) as accounts:
        await give_plan(accounts, {"limits": [], "quota": {"units": 3, "kind": "hard"}}, this_month())
        assert (await drive(accounts, 5, concurrency=1)) == {200: 3, 429: 2}


async def test_redis_gone_costs_no_time(tmp_path: Path, client: ClientSession, upstream: Upstream) -> None:
    """A Redis that hangs holds up one request, one timeout long; the others are decided at once; it heals."""
    async with embedded_redis(tmp_path / "redis", appendonly=False) as server:
        async with Redis.from_url(server.url) as connection:
            await connection.set(counters.GENERATION_KEY, "g1")
            pid = (await connection.info("server"))["process_id"]
        async with running_nodes(1, tmp_path, server.url, client, upstream, REDIS_TIMEOUT="0.2") as accounts:
            conf = {"limits": [{"name": "h", "requests": 10, "window": HOUR}], "without_counter": "closed"}
            await give_plan(accounts, conf, this_month())
            while (await accounts[0].get()).status != 200:  # a busy machine may miss the short timeout
                await asyncio.sleep(0.01)
            os.kill(pid, signal.SIGSTOP)
            try:
                while (await accounts[0].get()).status != 503:
                    await asyncio.sleep(0.01)
                assert (await drive(accounts, 200)) == {503: 200}
                waits = [line["us"] for line in accounts[0].admin.gateway.lines()[-200:]]
                asked = [wait for wait in waits if wait >= 200_000]
                assert len(asked) < 20, "hardly any waits for the timeout: the others do not ask"
            finally:
                os.kill(pid, signal.SIGCONT)
            for _ in range(1000):
                if (await accounts[0].get()).status == 200:
                    break
                await asyncio.sleep(0.01)
            assert (await accounts[0].get()).status == 200


async def test_what_passes_without_counters_is_still_metered(
    tmp_path: Path, client: ClientSession, upstream: Upstream
) -> None:
    """Nobody at the address of Redis: an open plan passes, and every request has its billable line."""
    async with running_nodes(1, tmp_path, "redis://127.0.0.1:1", client, upstream) as accounts:
        conf = {"limits": [{"name": "h", "requests": 1, "window": HOUR}], "without_counter": "open"}
        await give_plan(accounts, conf, this_month())
        assert (await drive(accounts, 20)) == {200: 20}
        lines = accounts[0].admin.gateway.lines()[-20:]
    assert {(line["outcome"], line["units"], line["org"]) for line in lines} == {
        ("served", 1, accounts[0].organization)
    }


async def test_an_upgrade_counts_from_its_own_start(
    tmp_path: Path, redis: Redis, redis_url: str, client: ClientSession, upstream: Upstream
) -> None:
    """Another subscription or period start is another counter, and the old one is left alone."""
    periods = this_month()
    async with running_nodes(1, tmp_path, redis_url, client, upstream, LEASE_SECONDS="0.1") as accounts:
        (account,) = accounts
        await give_plan(accounts, {"limits": [], "quota": {"units": 4, "kind": "hard"}}, periods)
        assert (await drive(accounts, 6, concurrency=1))[200] == 4
        old = counters.quota_key(account.organization, periods[0]["start"])
        periods[0]["start"] += 1000
        await give_plan(accounts, {"limits": [], "quota": {"units": 6, "kind": "hard"}}, periods)
        assert (await drive(accounts, 9, concurrency=1))[200] == 6
        assert int(await redis.get(old)) == 4


async def test_a_key_is_not_a_counter(redis_url: str) -> None:
    """The names of the contract: windows by organization and limit, quotas by subscription and start."""
    organization = keys.public_id()
    assert (
        counters.window_key(organization, "minute", 60_000) == f"farebox:window:{organization}:minute:60000"
    )
    assert counters.quota_key("sub1", 5) == "farebox:quota:sub1:5"
    assert counters.window_bounds(61_999, 60) == (60_000, 120_000)
