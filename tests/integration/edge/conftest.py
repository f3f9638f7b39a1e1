"""The upstream, a client and a seeded Redis, for tests that start gateways of their own."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis
from tests.gateway.fixtures import client, upstream

from farebox_contract import counters

__all__ = ["client", "redis", "upstream"]


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A Redis that has been seeded: the generation marker is there."""
    async with Redis.from_url(redis_url) as connection:
        await connection.set(counters.GENERATION_KEY, "g1")
        yield connection
