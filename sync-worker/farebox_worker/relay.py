"""From the outbox to the queue: rows are leased, the lease is committed, and only then they are enqueued.

A row that cannot be enqueued because Redis is away is given back. Rows of the gateways are not leased: the
holder of the gateway's lock reads them himself, woken by the same notification, so that Redis is in nobody's
way.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker, func

from farebox_worker.jobs import outbox_row
from farebox_worker.jobs.outbox_row import Context, Lease
from farebox_worker.listening import Bell
from farebox_worker.supervision import wait_for

if TYPE_CHECKING:
    from arq.typing import WorkerCoroutine

TASK: Final = "outbox_row"
QUEUE: Final = "farebox:jobs"
POLL_SECONDS: Final = 1.0
COURTESY_SECONDS: Final = 0.02
QUEUE_POLL_SECONDS: Final = 0.1
BATCH: Final = 100


async def relay(context: Context, bell: Bell, stop: asyncio.Event) -> None:
    """Hand rows to the queue until `stop`. Raises what Redis's and PostgreSQL's clients raise."""
    pool = await _pool(context)
    woken = bell.event()
    try:
        while not stop.is_set():
            woken.clear()
            leases = await outbox_row.lease(context.database, limit=BATCH)
            await _enqueue(context, pool, leases)
            if len(leases) < BATCH and await wait_for(woken, POLL_SECONDS):
                # The same bell woke the gateways' loops, for which somebody is waiting at an edge.
                await wait_for(stop, COURTESY_SECONDS)
    finally:
        bell.forget(woken)
        await pool.aclose()


async def work(context: Context, stop: asyncio.Event) -> None:
    """Run queued rows until `stop`; those under way are finished or given to another worker."""

    async def run(_: dict[Any, Any], row: int, attempt: int) -> None:
        await outbox_row.run(context, Lease(row, attempt))

    worker = Worker(
        functions=[
            func(
                cast("WorkerCoroutine", run),
                name=TASK,
                timeout=outbox_row.TIMEOUT_SECONDS,
                keep_result=0,
                max_tries=5,
            )
        ],
        queue_name=QUEUE,
        redis_pool=await _pool(context),
        handle_signals=False,
        poll_delay=QUEUE_POLL_SECONDS,
        job_serializer=_serialize,
        job_deserializer=_deserialize,
        log_results=False,
    )
    polling = asyncio.ensure_future(worker.async_run())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if polling.done():
            await polling
    finally:
        stopping.cancel()
        await worker.close()
        polling.cancel()
        await asyncio.gather(polling, stopping, return_exceptions=True)


async def _enqueue(context: Context, pool: ArqRedis, leases: list[Lease]) -> None:
    left = list(leases)
    try:
        for each in leases:
            await pool.enqueue_job(TASK, each.row, each.attempt, _job_id=f"{each.row}:{each.attempt}")
            left.remove(each)
    finally:
        if left:
            await outbox_row.give_back(context.database, left)


async def _pool(context: Context) -> ArqRedis:
    settings = RedisSettings.from_dsn(context.settings.redis_url.get_secret_value())
    settings.conn_retries = 0
    settings.conn_timeout = 2
    return await create_pool(
        settings,
        default_queue_name=QUEUE,
        job_serializer=_serialize,
        job_deserializer=_deserialize,
    )


def _serialize(value: Any) -> bytes:
    """Write a job as JSON: what comes out of Redis must never be able to run code."""
    return msgspec.json.encode(value, enc_hook=str)


def _deserialize(data: bytes) -> Any:
    return msgspec.json.decode(data)
