"""A world of its own for each test: database, Redis, gateway, upstream.

With the variables of `tests.gateway.harness` set, the gateway is the one that they name: what stands there of
ours is taken away before and after, and tests that stop the gateway are skipped.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar
from tests.gateway.harness import (
    ADMIN_KEY,
    FOREIGN_ADMIN_URL,
    FOREIGN_DATA_URL,
    Gateway,
    running_edge,
    running_upstream,
)
from tests.integration.sync.world import World

from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox_gateway.client import open_admin
from farebox_gateway.planner import plan
from farebox_gateway.resources import WRITE_ORDER, Kind


@pytest_asyncio.fixture
async def world(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with nothing of ours in it and a database with nothing sold but one route, `api`."""
    app, worker = Database(database.app, pool_size=4), Database(database.worker, pool_size=4)
    async with (
        _gateway(tmp_path / "edge") as gateway,
        running_upstream() as upstream,
        ClientSession(cookie_jar=DummyCookieJar()) as http,
    ):
        made = World(database, redis_url, gateway, upstream, http, app, worker)
        await made.sell()
        yield made
    await app.close()
    await worker.close()


@pytest.fixture
def our_gateway(world: World) -> None:
    """For tests that stop the gateway or ask it what only ours can tell."""
    if world.gateway.foreign:
        pytest.skip("the gateway is shared")


@asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[Gateway]:
    if not (FOREIGN_ADMIN_URL and FOREIGN_DATA_URL):
        async with running_edge(folder) as gateway:
            yield gateway
        return
    gateway = Gateway(FOREIGN_ADMIN_URL.rstrip("/"), FOREIGN_DATA_URL.rstrip("/"), ADMIN_KEY, foreign=True)
    await _empty(gateway)
    yield gateway
    await _empty(gateway)


async def _empty(gateway: Gateway) -> None:
    """Take away everything that carries our label."""
    async with open_admin(gateway.admin, key=gateway.admin_key, timeout=10) as admin:
        kinds = [kind for kind in WRITE_ORDER if kind is not Kind.CREDENTIAL]
        observed = [found for kind in kinds async for page in admin.pages(kind) for found in page]
        for step in plan([], observed).steps:
            await admin.delete(step.ref)
