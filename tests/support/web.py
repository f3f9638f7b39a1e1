"""The API over real HTTP, with a real PostgreSQL and a real Redis behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aiohttp import web
from tests.support.api_client import Api

from farebox.app import make_app
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox.settings import Settings

SECRET = "a secret that only these tests know, and long enough"


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port for the length of the block; yields its address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def calling(settings: Settings, clock: ManualClock) -> AsyncIterator[Api]:
    """Serve the API with these settings and call it."""
    async with serving(make_app(settings, clock=clock)) as address, Api.connected(address) as client:
        yield client


@pytest.fixture
def clock() -> ManualClock:
    """A clock at a fixed instant in the middle of a month; tests move it."""
    return ManualClock(datetime(2026, 3, 10, 12, 0, tzinfo=UTC))


@pytest.fixture
def settings(database: DatabaseUrls, redis_url: str) -> Settings:
    """Settings with limits that no test reaches by accident."""
    return Settings.model_validate(
        {
            "database_url": database.app,
            "database_worker_url": database.worker,
            "database_owner_url": database.owner,
            "redis_url": redis_url,
            "token_secret": SECRET,
            "link_secret": SECRET,
            "api_rate_limit": 100_000,
            "auth_rate_limit": 100_000,
            "stripe_secret_key": "sk_test_that_nobody_knows",
        }
    )


@pytest_asyncio.fixture
async def api(settings: Settings, clock: ManualClock) -> AsyncIterator[Api]:
    """A client of the whole application."""
    async with calling(settings, clock) as client:
        yield client


@pytest_asyncio.fixture
async def worker(database: DatabaseUrls) -> AsyncIterator[Database]:
    """The database as the worker's role sees it: every tenant."""
    opened = Database(database.worker, pool_size=4)
    yield opened
    await opened.close()
