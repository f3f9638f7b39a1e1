"""A world of its own for each test: database, Redis, gateway, upstream."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar
from tests.gateway.harness import running_edge, running_upstream
from tests.integration.sync.world import World

from farebox.db import Database
from farebox.migrations import DatabaseUrls


@pytest_asyncio.fixture
async def world(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with nothing in it and a database with nothing sold but one route, `api`."""
    app, worker = Database(database.app, pool_size=4), Database(database.worker, pool_size=4)
    async with (
        running_edge(tmp_path / "edge") as gateway,
        running_upstream() as upstream,
        ClientSession(cookie_jar=DummyCookieJar()) as http,
    ):
        made = World(database, redis_url, gateway, upstream, http, app, worker)
        await made.sell()
        yield made
    await app.close()
    await worker.close()
