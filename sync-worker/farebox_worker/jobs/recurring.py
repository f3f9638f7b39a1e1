"""What is done again and again by one worker of all: billing, counters, tidying up.

Each is safe to do twice; the lock only saves the work. A worker that loses it stops at the next round.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog
from redis.asyncio import Redis
from sqlalchemy import text

from farebox.payments import providers
from farebox_worker import billing
from farebox_worker.advisory import LockLostError, try_lock
from farebox_worker.dunning import recurring as dunning
from farebox_worker.jobs.counters import reseed_if_lost
from farebox_worker.jobs.outbox_row import Context
from farebox_worker.payments import recurring as payments
from farebox_worker.subscriptions import alerts, due
from farebox_worker.supervision import every, keep, wait_for

LOCK: Final = "farebox recurring"
WATCH_SECONDS: Final = 1.0
COUNTERS_SECONDS: Final = 1.0
SUBSCRIPTIONS_SECONDS: Final = 1.0
TIDY_SECONDS: Final = 600.0
STANDBY_SECONDS: Final = 2.0
OUTBOX_KEPT_DAYS: Final = 7
_PRUNE_OUTBOX: Final = text(
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox "
    "WHERE done_at < now() - interval '1 day' * :days ORDER BY id LIMIT :limit)"
)
_PRUNE_ANSWERS: Final = text(
    "DELETE FROM idempotent_requests WHERE ctid = ANY(ARRAY(SELECT ctid FROM idempotent_requests "
    "WHERE created_at < now() - interval '1 hour' * :hours LIMIT :limit))"
)
_PRUNE_BATCH: Final = 5_000
ANSWERS_KEPT_HOURS: Final = 25
log = structlog.get_logger(__name__)


async def recurring(context: Context, stop: asyncio.Event) -> None:
    """Do the recurring work whenever this worker holds its lock, until `stop`."""
    url = context.settings.database_worker_url.get_secret_value()
    while not stop.is_set():
        async with try_lock(url, LOCK) as lock:
            if lock is not None:
                log.info("recurring_work_taken")
                await _while_held(context, lock.check, stop)
                continue
        await wait_for(stop, STANDBY_SECONDS)


async def _while_held(context: Context, check: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        redis: Redis = Redis.from_url(
            context.settings.redis_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=2
        )
        stack.push_async_callback(redis.aclose)

        async def bill() -> None:
            report = await billing.run(context.database, context.settings, context.clock)
            if report.failures:
                log.error("billing_failures", failures=[str(each) for each in report.failures[:20]])

        async def subscriptions() -> None:
            await due.run(context.database, context.clock)
            await alerts.run(context.database, context.clock)

        async def counters() -> None:
            await reseed_if_lost(context, redis)

        async def tidy() -> None:
            await prune(context)

        async def watch() -> None:
            while not (over.is_set() or stop.is_set()):
                try:
                    await check()
                except LockLostError as error:
                    log.warning("recurring_lock_lost", error=str(error))
                    break
                await wait_for(stop, WATCH_SECONDS)
            over.set()

        parts: dict[str, tuple[float, Callable[[], Awaitable[None]]]] = {
            "billing": (context.settings.billing_interval_seconds, bill),
            "subscriptions": (SUBSCRIPTIONS_SECONDS, subscriptions),
            "counters": (COUNTERS_SECONDS, counters),
            "tidying": (TIDY_SECONDS, tidy),
        }
        opened = await stack.enter_async_context(providers.opened(context.settings))
        parts |= payments.parts(context, opened)
        parts |= dunning.parts(context, opened)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch())
            for name, (seconds, part) in parts.items():
                tasks.create_task(keep(name, _again(seconds, over, part), over))


def _again(
    seconds: float, stop: asyncio.Event, part: Callable[[], Awaitable[None]]
) -> Callable[[], Awaitable[None]]:
    return lambda: every(seconds, stop, part)


async def prune(context: Context) -> None:
    """Delete completed outbox rows and remembered answers whose time is over, batch by batch."""
    for statement, values in (
        (_PRUNE_OUTBOX, {"days": OUTBOX_KEPT_DAYS}),
        (_PRUNE_ANSWERS, {"hours": ANSWERS_KEPT_HOURS}),
    ):
        deleted = _PRUNE_BATCH
        while deleted == _PRUNE_BATCH:
            async with context.database.transaction() as session:
                result = await session.execute(statement, {**values, "limit": _PRUNE_BATCH})
                deleted = int(getattr(result, "rowcount", 0))
