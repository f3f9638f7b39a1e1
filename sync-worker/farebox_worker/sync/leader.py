"""The worker that holds a gateway's lock keeps that gateway right; every other one stands by.

Four loops: changes as the outbox tells of them, a sweep for revisions that nobody told of, passes over
everything (now and then, on request, and when the gateway has lost its state), and a watch on the lock. A
gateway that is away is waited for; a lock that is lost ends everything at once.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import aiohttp
import structlog

from farebox.clock import Clock
from farebox.db import Database
from farebox_gateway.client import GatewayError, open_admin
from farebox_worker.advisory import HeldLock, LockLostError, try_lock
from farebox_worker.listening import Bell
from farebox_worker.supervision import backoff, every, keep, wait_for
from farebox_worker.sync import drift, full_pass, node_records, progress, proof, standing
from farebox_worker.sync.drift_report import Report
from farebox_worker.sync.fence import Fence
from farebox_worker.sync.reconcile import Reconciler
from farebox_worker.sync.survey import FIRST
from farebox_worker.targets import Target

POLL_SECONDS: Final = 1.0
STANDBY_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 1.0
PULSE_SECONDS: Final = 60.0
REACH_SECONDS: Final = 2.0
BATCH: Final = 200
log = structlog.get_logger(__name__)


@asynccontextmanager
async def opened(
    target: Target, database: Database, clock: Clock, lock: HeldLock, *, writer: str, stop: asyncio.Event
) -> AsyncIterator[tuple[Reconciler, bool]]:
    """Take over the gateway whose lock is held; yield a reconciler, and whether its last writer died.

    What a dead predecessor sent may still arrive for as long as a request may take, so that long is waited.
    Leaving in order says that nothing of ours is under way.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            open_admin(target.admin_url, key=target.admin_key, timeout=target.timeout)
        )
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=target.timeout), cookie_jar=aiohttp.DummyCookieJar()
            )
        )
        async with database.transaction() as session:
            await progress.register(session, target.code)
            state = await progress.gateway(session, target.code)
            if state is None:
                raise LookupError(f"the gateway {target.code!r} was removed this moment")
            before = await progress.take_over(session, state.id, writer)
        if before is not None:
            log.info("predecessor_waited_out", gateway=target.code, writer=before, seconds=target.timeout)
            await wait_for(stop, target.timeout)
        fence = Fence(lock)
        yield Reconciler(target, state.id, database, client, http, clock, fence), before is not None
        await fence.check()
        async with database.transaction() as session:
            await progress.release(session, state.id, writer)


@dataclass(slots=True)
class Leader:
    """Keeps one gateway right whenever this worker holds its lock."""

    target: Target
    database: Database
    url: str = field(repr=False)
    clock: Clock
    bell: Bell
    writer: str

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by for the lock and lead while it is held, until `stop`."""
        said = False
        while not stop.is_set():
            async with try_lock(self.url, lock_name(self.target.code)) as lock:
                if lock is not None:
                    log.info("gateway_lock_taken", gateway=self.target.code)
                    await self._lead(lock, stop)
                    said = False
                    continue
            if not said:
                log.info("gateway_standby", gateway=self.target.code)
                said = True
            await wait_for(stop, STANDBY_SECONDS)

    async def _lead(self, lock: HeldLock, stop: asyncio.Event) -> None:
        over = asyncio.Event()
        async with opened(self.target, self.database, self.clock, lock, writer=self.writer, stop=stop) as (
            reconciler,
            died,
        ):
            term = _Term(reconciler, self.bell, over, suspicious=died)
            reconciler.released = term.wake.set
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(_follow(stop, over))
                parts: dict[str, Callable[[], Awaitable[None]]] = {
                    "lock": term.watch,
                    "changes": term.changes,
                    "sweep": term.sweep,
                    "passes": term.passes,
                    "proofs": term.proofs,
                    "reach": term.reach,
                    "drift": term.drift,
                }
                running = [
                    tasks.create_task(keep(f"gateway {self.target.code}: {name}", term.guarded(part), over))
                    for name, part in parts.items()
                ]
                await over.wait()
                term.wake.set()
                await asyncio.wait(running)
                following.cancel()
                term.leave(self.bell)


def lock_name(gateway: str) -> str:
    """Return the name of a gateway's lock."""
    return f"farebox gateway {gateway}"


async def _follow(stop: asyncio.Event, over: asyncio.Event) -> None:
    await stop.wait()
    over.set()


class _Term:
    """One worker's time as the holder of the lock."""

    def __init__(self, reconciler: Reconciler, bell: Bell, over: asyncio.Event, *, suspicious: bool) -> None:
        self._reconciler = reconciler
        self._over = over
        self._suspicious = suspicious
        self._catalogue_failures = 0
        self._catalogue_not_before = 0.0
        self._pulse_at = 0.0
        self.wake = bell.event()

    def guarded(self, part: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """End the term when the part finds the lock lost."""

        async def run() -> None:
            try:
                await part()
            except* LockLostError as lost:
                log.warning("gateway_lock_lost", error=str(lost.exceptions[0]))
                self._over.set()

        return run

    def leave(self, bell: Bell) -> None:
        """Hear the bell no longer."""
        bell.forget(self.wake)

    async def watch(self) -> None:
        """Ask now and then whether the lock is held."""
        await every(POLL_SECONDS, self._over, self._reconciler.fence.check)

    async def changes(self) -> None:
        """Write what changed, as soon as the bell rings."""
        while not self._over.is_set():
            self.wake.clear()
            if not await self._round():
                await wait_for(self.wake, POLL_SECONDS)

    async def _round(self) -> bool:
        """Do one round; tell whether there may be more at once."""
        reconciler = self._reconciler
        async with reconciler.database.transaction() as session:
            state = await progress.gateway(session, reconciler.target.code)
            ids = await progress.changed(session, reconciler.gateway_id, limit=BATCH)
        now = asyncio.get_running_loop().time()
        if state is not None and not state.catalogue_settled and now >= self._catalogue_not_before:
            await self._catalogue(now)
        return bool(ids) and bool(await reconciler.organizations(ids))

    async def _catalogue(self, now: float) -> None:
        result = await self._reconciler.catalogue()
        if result.error is None:
            self._catalogue_failures, self._catalogue_not_before = 0, 0.0
            log.info("catalogue_applied", gateway=self._reconciler.target.code, revision=result.revision)
            return
        self._catalogue_failures += 1
        pause = backoff(self._catalogue_failures, first=1.0, longest=60.0, chance=random.random())  # noqa: S311 - jitter
        self._catalogue_not_before = now + pause
        log.error(
            "catalogue_not_enforced",
            gateway=self._reconciler.target.code,
            error=result.error,
            again_in=round(pause, 1),
        )

    async def sweep(self) -> None:
        """Write what lags behind although nothing told of it, and complete what is done."""

        async def once() -> None:
            after = FIRST
            reconciler = self._reconciler
            while not self._over.is_set():
                async with reconciler.database.transaction() as session:
                    ids = await progress.lagging(session, reconciler.gateway_id, after=after, limit=BATCH)
                if not ids:
                    break
                await reconciler.organizations(ids)
                after = ids[-1]
            async with reconciler.database.transaction() as session:
                await progress.complete_leftovers(session)

        await every(SWEEP_SECONDS, self._over, once)

    async def passes(self) -> None:
        """Run the passes that are due, asked for, or needed because the gateway has lost its state."""
        await every(0, self._over, self._pass_or_wait)

    async def _pass_or_wait(self) -> None:
        reconciler = self._reconciler
        async with reconciler.database.transaction() as session:
            request = await progress.requested(session, reconciler.target.code)
            state = await progress.gateway(session, reconciler.target.code)
        if request is not None:
            await self._on_request(request)
        elif state is not None and (self._due(state) or await self._lost(state)):
            report = await full_pass.run(reconciler, stop=self._over)
            self._suspicious = not report.complete
            if report.complete:
                await standing.pulse(reconciler)
        else:
            await wait_for(self._over, LOOK_SECONDS)

    def _due(self, state: progress.GatewayState) -> bool:
        if self._suspicious or state.last_full_pass_at is None:
            return True
        interval = timedelta(seconds=self._reconciler.target.full_pass)
        return self._reconciler.clock.now() - state.last_full_pass_at >= interval

    async def _lost(self, state: progress.GatewayState) -> bool:
        """Tell whether the gateway is not the one that we left: wiped, restored, replaced."""
        said = await standing.lost(self._reconciler, state.marker)
        if said is not None:
            log.warning("gateway_lost_its_state", gateway=self._reconciler.target.code, what=said)
            async with self._reconciler.database.transaction() as session:
                await progress.unsettle_catalogue(session, self._reconciler.gateway_id)
        elif asyncio.get_running_loop().time() >= self._pulse_at:
            await standing.pulse(self._reconciler)
            self._pulse_at = asyncio.get_running_loop().time() + PULSE_SECONDS
        return said is not None

    async def reach(self) -> None:
        """Note whether the Admin API answers, and since when it does not."""
        reconciler = self._reconciler

        async def once() -> None:
            error = None
            try:
                await reconciler.client.get(standing.MARKER)
            except GatewayError as failed:
                error = failed.text
            async with reconciler.database.transaction() as session:
                if error is None:
                    await node_records.answered(session, reconciler.gateway_id)
                else:
                    await node_records.silent(session, reconciler.gateway_id, error)

        await every(REACH_SECONDS, self._over, once)

    async def drift(self) -> None:
        """Compare each node with what was sold, keep the report, and have repaired what can be."""
        loop = asyncio.get_running_loop()
        while not self._over.is_set():
            began = loop.time()
            report = await drift.compare(self._reconciler)
            async with self._reconciler.database.transaction() as session:
                await node_records.record(
                    session, self._reconciler.gateway_id, self._reconciler.target, report
                )
            if report.drifts:
                log.error("nodes_drift", gateway=report.gateway, nodes={
                    node.code: dict(node.counts) for node in report.nodes.values() if node.drifts
                })  # fmt: skip
                await self._repair(report)
            # A comparison never takes more than a tenth of the time.
            await wait_for(self._over, max(self._reconciler.target.drift, 9 * (loop.time() - began)))

    async def _repair(self, report: Report) -> None:
        self._suspicious = self._suspicious or report.store_differs
        if names := drift.names_to_rewrite(report):
            await self._reconciler.rewrite(names)

    async def proofs(self) -> None:
        """Ask the nodes for what they had not taken up when it was written."""
        await every(POLL_SECONDS, self._over, lambda: proof.prove_waiting(self._reconciler, self._over))

    async def _on_request(self, request: progress.Request) -> None:
        """Run a pass that somebody waits for, and give him its report or the reason why there is none."""
        reconciler = self._reconciler
        reconciler.overwrite_newer = request.overwrite_newer
        try:
            report = await full_pass.run(reconciler, scope=request.scope, stop=self._over)
        except (GatewayError, ValueError) as error:
            async with reconciler.database.transaction() as session:
                await progress.answer(
                    session, request, {"scope": request.scope, "complete": False}, str(error)
                )
            raise
        finally:
            reconciler.overwrite_newer = False
        async with reconciler.database.transaction() as session:
            await progress.answer(session, request, report.document(), None)
