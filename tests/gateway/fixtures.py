"""Fixtures for tests that share one gateway."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from tests.gateway.harness import (
    ADMIN_KEY,
    FOREIGN_ADMIN_URL,
    FOREIGN_DATA_URL,
    FOREIGN_USAGE_LOG,
    Admin,
    Gateway,
    Upstream,
    running_upstream,
    start_edge,
)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway under test: our own, or the one that the environment names."""
    if FOREIGN_ADMIN_URL and FOREIGN_DATA_URL:
        foreign = Gateway(
            FOREIGN_ADMIN_URL.rstrip("/"), FOREIGN_DATA_URL.rstrip("/"), ADMIN_KEY, foreign=True
        )
        if FOREIGN_USAGE_LOG:
            foreign.usage_log = Path(FOREIGN_USAGE_LOG)
            foreign.log_begins = foreign.usage_log.stat().st_size
        yield foreign
        return
    folder: Path = tmp_path_factory.mktemp("edge")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started = asyncio.run_coroutine_threadsafe(start_edge(folder), loop).result(30)
    try:
        yield started
    finally:
        asyncio.run_coroutine_threadsafe(started.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[ClientSession]:
    """A client that keeps no cookies and opens a connection for each request."""
    async with ClientSession(
        connector=TCPConnector(force_close=True), cookie_jar=DummyCookieJar(), auto_decompress=False
    ) as session:
        yield session


@pytest_asyncio.fixture
async def admin(gateway: Gateway, client: ClientSession) -> AsyncIterator[Admin]:
    """The Admin API; what a test made through it is gone after the test."""
    api = Admin(gateway, client)
    yield api
    await api.clean()


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A server behind the gateway."""
    async with running_upstream() as server:
        yield server
