"""A billing run that is killed with -9 is finished by the next one, as if nothing had happened."""

import asyncio
import random
import sys

import pytest
from tests.integration.invoices.world import World

from farebox.db import Database
from farebox.migrations import DatabaseUrls

_RUN = """
import asyncio, sys
from datetime import datetime
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.settings import Settings
from farebox_worker import billing

async def main():
    database = Database(sys.argv[1])
    await billing.run(database, Settings(), ManualClock(datetime.fromisoformat(sys.argv[2])), batch=3)

asyncio.run(main())
"""


async def written(world: World) -> int:
    """Return how many invoices are committed."""
    [row] = await world.rows("SELECT count(*) AS invoices FROM invoices")
    return int(row["invoices"])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_run_killed_at_any_point_is_finished_by_the_next(
    world: World, database: DatabaseUrls, seed: int
) -> None:
    """No period is lost or billed twice, no number is skipped, and every unit is billed."""
    chance = random.Random(seed)
    for _ in range(45):
        await world.use(await world.customer(), "2026-11-03T12:00", chance.randrange(20_000))
    await world.node(read_to="2026-12-01T00:05")
    for _ in range(3):
        enough = await written(world) + chance.randrange(1, 15)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RUN, database.worker, world.clock.instant.isoformat()
        )
        while process.returncode is None and await written(world) < enough:
            await asyncio.sleep(chance.random() / 50)
        if process.returncode is None:
            process.kill()
        await process.wait()
    report = await world.run()
    assert not report.failures
    invoices = await world.invoices()
    assert [invoice["number"] for invoice in invoices] == [f"FB-{number:06d}" for number in range(1, 46)]
    assert len({invoice["subscription_id"] for invoice in invoices}) == 45
    [counted] = await world.rows(
        "SELECT (SELECT sum(units) FROM usage_rollups) AS metered, "
        "(SELECT sum(billed_units) FROM billing_periods) AS billed, "
        "(SELECT sum(CAST(snapshot -> 'billable' ->> 'units' AS bigint)) FROM invoices) AS invoiced"
    )
    assert counted["metered"] == counted["billed"] == counted["invoiced"]
    [left] = await world.rows("SELECT count(*) AS parts FROM invoices WHERE state <> 'finalized'")
    assert left["parts"] == 0


async def test_the_worker_role_is_all_that_billing_needs(database: DatabaseUrls) -> None:
    """The role can pass no row security by; the run works with its own policies."""
    worker = Database(database.worker)
    await worker.refuse_unsafe_role()
    await worker.close()
