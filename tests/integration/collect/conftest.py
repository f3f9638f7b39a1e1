"""The worker's database, and a follower that is quick to call a rotated file ended."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from farebox.clock import SystemClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox_worker.collect import node
from farebox_worker.collect.follow import Follower

MakeFollower = Callable[..., Follower]


@pytest_asyncio.fixture
async def worker(database: DatabaseUrls) -> AsyncIterator[Database]:
    """The database as the worker's role, which is the collector's, with a node registered."""
    opened = Database(database.worker, pool_size=6)
    await node.start(opened, "gw-1", now=SystemClock().now(), error=None)
    yield opened
    await opened.close()


@pytest.fixture
def usage_log(tmp_path: Path) -> Path:
    """Where the node's log is; its folder exists, the log does not."""
    folder = tmp_path / "usage"
    folder.mkdir()
    return folder / "usage.log"


@pytest.fixture
def make_follower(worker: Database, usage_log: Path) -> MakeFollower:
    """Makes followers of the log, as a restart does."""

    def make(settle_seconds: float = 0.0) -> Follower:
        return Follower(worker, "gw-1", usage_log, clock=SystemClock(), settle_seconds=settle_seconds)

    return make
