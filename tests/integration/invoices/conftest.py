"""A world to bill in."""

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.integration.invoices.world import World, at

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls


@pytest_asyncio.fixture
async def world(database: DatabaseUrls) -> AsyncIterator[World]:
    """An empty house on 1 December 2026, ten minutes after midnight."""
    worker = Database(database.worker)
    try:
        yield World(worker, ManualClock(at("2026-12-01T00:10")))
    finally:
        await worker.close()
