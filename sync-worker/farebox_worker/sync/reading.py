"""A look at a gateway without the right to write: what `sync diff` prints.

It needs no lock, so what is being written this very moment may show as a difference.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from farebox.clock import SystemClock
from farebox.db import Database
from farebox_gateway.client import open_admin
from farebox_gateway.planner import Plan, plan
from farebox_worker.sync import imported, progress, survey
from farebox_worker.sync.fence import Fence
from farebox_worker.sync.reconcile import Reconciler
from farebox_worker.targets import Target


class ReadOnlyError(RuntimeError):
    """A reader tried to write."""


class _NoLock:
    """The lock of somebody who holds none."""

    async def check(self) -> None:
        raise ReadOnlyError("this reader holds no lock and must not write")


@asynccontextmanager
async def reader(target: Target, database: Database) -> AsyncIterator[Reconciler]:
    """Open a reconciler whose every write is refused."""
    async with (
        open_admin(target.admin_url, key=target.admin_key, timeout=target.timeout) as client,
        aiohttp.ClientSession() as http,
    ):
        async with database.transaction() as session:
            state = await progress.gateway(session, target.code)
        if state is None:
            raise LookupError(f"the gateway {target.code!r} is not registered yet: start `farebox worker`")
        yield Reconciler(target, state.id, database, client, http, SystemClock(), Fence(_NoLock()))


async def differences(reconciler: Reconciler) -> AsyncIterator[tuple[str | None, Plan]]:
    """Yield what `sync all` would do: the catalogue first (None), then each organization that differs."""
    made, _, _, _ = await reconciler.survey_catalogue()
    if not made.settled:
        yield None, made
    async for findings in survey.consumers(reconciler, stop=asyncio.Event()):
        for finding in findings:
            facts, found = finding.organization, finding.plan
            if facts is None or found.settled:
                continue
            if finding.observed is None:
                observed = await reconciler.observe(finding.name, imported.refs(facts))
                found = plan(reconciler.desired(facts), observed)
            if not found.settled:
                yield finding.name, found
