"""The worker process: relay, queue, gateways and recurring work in one event loop.

Every part outlives PostgreSQL, Redis and the gateways going away and coming back, each by itself. Two workers
at once are safe: what only one may do is done under a lock in PostgreSQL.
"""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Callable

import structlog

from farebox.clock import Clock, SystemClock
from farebox.db import Database, UnsafeRoleError
from farebox.settings import Settings
from farebox_worker.jobs.outbox_row import Context
from farebox_worker.jobs.recurring import recurring
from farebox_worker.listening import Bell, listen
from farebox_worker.relay import relay, work
from farebox_worker.supervision import keep
from farebox_worker.sync.leader import Leader
from farebox_worker.targets import targets

log = structlog.get_logger(__name__)


async def serve(settings: Settings, *, ready: Callable[[], None]) -> None:
    """Run until TERM or INT. Raises `UnsafeRoleError` if the database role could pass row security by."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, SystemClock(), stop=stop, ready=ready)


async def run(
    settings: Settings, clock: Clock, *, stop: asyncio.Event, ready: Callable[[], None] = lambda: None
) -> None:
    """Run every part until `stop`; what is under way is finished. `ready` is called when all have begun."""
    url = settings.database_worker_url.get_secret_value()
    database = Database(url, pool_size=settings.database_pool_size)
    context = Context(database, settings, clock)
    bell = Bell()
    writer = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    try:
        await _refuse_unsafe_role(database, stop)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep("listening", lambda: listen(url, bell, stop), stop))
            tasks.create_task(keep("relay", lambda: relay(context, bell, stop), stop))
            tasks.create_task(keep("queue", lambda: work(context, stop), stop))
            tasks.create_task(keep("recurring", lambda: recurring(context, stop), stop))
            for target in targets(settings):
                leader = Leader(target, database, url, clock, bell, writer)
                tasks.create_task(_lead(leader, stop))
            tasks.create_task(_ring_at_the_end(bell, stop))
            log.info("worker_started", writer=writer)
            ready()
    finally:
        await database.close()
    log.info("worker_stopped")


async def _refuse_unsafe_role(database: Database, stop: asyncio.Event) -> None:
    """Ask which role we are, waiting for PostgreSQL; a role that row security does not hold is an error."""
    refused: list[UnsafeRoleError] = []

    async def ask() -> None:
        try:
            await database.refuse_unsafe_role()
        except UnsafeRoleError as error:
            refused.append(error)
        asked.set()

    asked = asyncio.Event()
    giving_up = asyncio.ensure_future(_either(stop, asked))
    await keep("database", ask, asked)
    giving_up.cancel()
    if refused:
        raise refused[0]


async def _either(stop: asyncio.Event, other: asyncio.Event) -> None:
    await stop.wait()
    other.set()


async def _lead(leader: Leader, stop: asyncio.Event) -> None:
    await keep(f"gateway {leader.target.code}", lambda: leader.run(stop), stop)


async def _ring_at_the_end(bell: Bell, stop: asyncio.Event) -> None:
    """Let nobody sleep on when it is time to go."""
    await stop.wait()
    bell.ring()
