"""The process behind `farebox collect`: follows one node's log until it is told to stop.

It outlives what it depends on: while PostgreSQL is away, while another collector has the node, while a file
cannot be read, it waits, says so, and goes on from what was committed. It reports the node every second or
so, and says that it stood at the end of the log only when it did.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from farebox.clock import Clock
from farebox.db import Database
from farebox_worker.advisory import HeldLock, LockLostError, try_lock
from farebox_worker.collect import node as nodes
from farebox_worker.collect.archive import archive_ended
from farebox_worker.collect.follow import Follower, Round
from farebox_worker.collect.sources import UnreadableError

log = structlog.get_logger(__name__)

DATABASE_ERRORS: Final = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    LockLostError,
    OSError,
)
"""What a database that is away, restarting or going down raises (a refused connection is an `OSError`)."""
_LONGEST_WAIT: Final = 5.0
_ARCHIVE_EVERY: Final = 10.0


@dataclass(frozen=True, slots=True)
class CollectorOptions:
    """What a collector is to follow, and how. Times are seconds.

    `settle`: how long a rotated file must be quiet before it has ended. `report`: how often the node's state
    is written, at most.
    """

    node: str
    log: Path
    archive: Path
    keep: timedelta
    interval: float = 0.25
    settle: float = 60.0
    report: float = 1.0


async def collect(
    database: Database, options: CollectorOptions, *, clock: Clock, stop: asyncio.Event
) -> None:
    """Follow the log until `stop` is set. Raises `UnsafeRoleError`; what else fails is waited for."""
    trouble: str | None = None
    wait = options.interval
    while not stop.is_set():
        try:
            async with try_lock(_url(database), f"collector {options.node}") as lock:
                if lock is None:
                    log.warning(
                        "another collector follows this node; waiting for it to end", node=options.node
                    )
                    await _pause(stop, _LONGEST_WAIT / 5)
                    continue
                await database.refuse_unsafe_role()
                await nodes.start(database, options.node, now=clock.now(), error=trouble)
                log.info("collecting", node=options.node, log=str(options.log))
                trouble, wait = None, options.interval
                await _follow(database, options, lock, clock, stop)
        except DATABASE_ERRORS as error:
            trouble = f"{type(error).__name__}: {error}"
            log.warning("the database cannot be used; waiting", node=options.node, error=trouble)
            await _pause(stop, wait)
            wait = min(wait * 2, _LONGEST_WAIT)


async def _follow(
    database: Database,
    options: CollectorOptions,
    lock: HeldLock,
    clock: Clock,
    stop: asyncio.Event,
) -> None:
    follower = Follower(database, options.node, options.log, clock=clock, settle_seconds=options.settle)
    reporter = _Reporter(database, options, clock)
    async with _archiving(database, options, clock), _stopping(follower, stop):
        try:
            while not stop.is_set():
                await lock.check()
                result = await follower.round(reporter.busy)
                await reporter.tell(result)
                if not result.outcome.lines:
                    await _pause(stop, options.interval)
        finally:
            follower.close()


class _Reporter:
    """Writes the node's state, not more often than is set."""

    def __init__(self, database: Database, options: CollectorOptions, clock: Clock) -> None:
        self._database = database
        self._options = options
        self._clock = clock
        self._next = 0.0
        self._hindrance: str | None = None

    async def busy(self) -> None:
        """Report from within a long round: alive, not at the end."""
        if time.monotonic() >= self._next:
            await self._write(None)

    async def tell(self, result: Round) -> None:
        """Report a round."""
        if result.hindrance != self._hindrance and result.hindrance:
            log.warning("the log cannot be read to its end", node=self._options.node, reason=result.hindrance)
        changed = result.hindrance != self._hindrance
        self._hindrance = result.hindrance
        if changed or time.monotonic() >= self._next:
            await self._write(result)

    async def _write(self, result: Round | None) -> None:
        self._next = time.monotonic() + self._options.report
        await nodes.report(
            self._database,
            self._options.node,
            now=self._clock.now(),
            read_to_end_at=result.began if result is not None and result.at_end else None,
            error=self._hindrance,
        )


@contextlib.asynccontextmanager
async def _archiving(database: Database, options: CollectorOptions, clock: Clock) -> AsyncIterator[None]:
    """Archive beside the reading; an archive that fails is tried again and hinders nothing."""
    task = asyncio.create_task(_archive(database, options, clock))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _archive(database: Database, options: CollectorOptions, clock: Clock) -> None:
    while True:
        try:
            await archive_ended(database, options.node, options.archive, keep=options.keep, now=clock.now())
        except (UnreadableError, *DATABASE_ERRORS) as error:
            log.warning("files could not be archived; trying again", node=options.node, error=str(error))
        await asyncio.sleep(_ARCHIVE_EVERY)


@contextlib.asynccontextmanager
async def _stopping(follower: Follower, stop: asyncio.Event) -> AsyncIterator[None]:
    """End a long round at its next batch when the process is told to stop."""

    async def watch() -> None:
        await stop.wait()
        follower.stop()

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _url(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
