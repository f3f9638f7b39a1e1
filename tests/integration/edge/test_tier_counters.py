"""Limits of callers without a key over several gateways on one Redis, and with that Redis away."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis
from tests.gateway.harness import Upstream, enforced
from tests.integration.edge.nodes import running_nodes
from tests.plugins.accounts import Account, settled_window

HOUR = 3600


def _tier(requests: int, **more: Any) -> dict[str, Any]:
    return {"limits": [{"name": "hourly", "requests": requests, "window": HOUR}], **more}


async def _call(account: Account, agent: str = "bot/1") -> int:
    async with account.session.get(account.url, headers={"User-Agent": agent}) as answer:
        await answer.read()
        return answer.status


async def _open(accounts: list[Account], **tiers: Any) -> None:
    """Give all nodes one route with tiers; nothing is counted until it is enforced."""
    await settled_window(HOUR, 20)
    for account in accounts:
        account.route = accounts[0].route
        await account.put_route(farebox_auth={"tiers": tiers})
        await enforced(
            lambda account=account: account.session.get(account.url, headers={"X-API-Key": ""}),  # type: ignore[misc]
            lambda answer: answer.status == 401,
        )


async def _drive(accounts: list[Account], requests: int, agent: str = "bot/1") -> Counter[int]:
    found = await asyncio.gather(
        *(_call(accounts[number % len(accounts)], agent) for number in range(requests))
    )
    return Counter(found)


@pytest.mark.parametrize(("agent", "tier"), [("bot/1", "anonymous"), ("bot jo@example.org", "polite")])
async def test_nodes_together_never_pass_a_tier(
    tmp_path: Path,
    redis: Redis,
    redis_url: str,
    client: ClientSession,
    upstream: Upstream,
    agent: str,
    tier: str,
) -> None:
    """One address or contact gets a tier's number once, not once from each node."""
    async with running_nodes(3, tmp_path, redis_url, client, upstream) as accounts:
        await _open(accounts, **{tier: _tier(15)})
        statuses = await _drive(accounts, 60, agent)
        assert set(statuses) == {200, 429}
        # Slices are a sixteenth of what is left, so of 15 none is held back at another node.
        assert statuses[200] == 15


@pytest.mark.parametrize(("choice", "status"), [("open", 200), ("closed", 503)])
async def test_without_redis_the_tier_decides(
    tmp_path: Path, client: ClientSession, upstream: Upstream, choice: str, status: int
) -> None:
    """Nobody at the address of Redis: `without_counter` of the tier holds, and each request is a line."""
    async with running_nodes(1, tmp_path, "redis://127.0.0.1:1", client, upstream) as accounts:
        await _open(accounts, anonymous=_tier(1, without_counter=choice), polite=_tier(1))
        assert await _drive(accounts, 10) == {status: 10}
        assert await _drive(accounts, 3, "bot jo@example.org") == {200: 3}, "the other tier is open"
        lines = accounts[0].admin.gateway.lines()[-13:]
    assert Counter(line["status"] for line in lines) == Counter({status: 10}) + Counter({200: 3})
    assert {line.get("org") for line in lines} == {None}


async def test_a_flushed_redis_is_no_fresh_allowance(
    tmp_path: Path, redis: Redis, redis_url: str, client: ClientSession, upstream: Upstream
) -> None:
    """Until the marker is back a closed tier refuses, also what it had left."""
    async with running_nodes(1, tmp_path, redis_url, client, upstream) as accounts:
        await _open(accounts, anonymous=_tier(5, without_counter="closed"))
        assert [await _call(accounts[0]) for _ in range(3)] == [200] * 3
        await redis.flushall()
        assert await _drive(accounts, 10) == {503: 10}
