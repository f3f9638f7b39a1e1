"""How long a new key waits for its first 200 at the edge, and a revoked one works on.

    python tests/bench/sync_latency.py [--organizations 10 1000 20000] [--rounds 200] [--json FILE]

For each number of organizations, all of them at the gateway: a real worker process, the embedded edge, the
control plane's own verbs. The clock starts when the verb's transaction has committed and stops when the data
plane first answers otherwise; it is asked every two milliseconds over one connection. Everything shares the
machine's cores.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import uvloop
from sqlalchemy import text
from tests.bench.sync_world import Bench, bench, environment, show
from tests.support.processes import launch_and_wait_for_line

from farebox.db import Database
from farebox.keys import service as keys

OWNER = UUID("01900000-0000-7000-8000-000000000999")


async def _until(session: aiohttp.ClientSession, url: str, key: str, began: float, *, refused: bool) -> float:
    """Ask until the data plane refuses the key, or does not any more; return milliseconds since `began`.

    A request that the key's limit refuses has been let in by the key.
    """
    while True:
        async with session.get(url, headers={"X-API-Key": key}) as response:
            await response.read()
            if (response.status == 401) is refused:
                return (time.perf_counter() - began) * 1000
        await asyncio.sleep(0.002)


async def _ready(world: Bench, count: int) -> None:
    """Wait until the gateway has every organization and the first pass is over."""
    database = Database(world.urls.worker, pool_size=1)
    statement = text(
        "SELECT (SELECT count(*) FROM gateway_organizations WHERE applied_revision > 0) AS applied, "
        "(SELECT last_full_pass_at IS NOT NULL FROM gateways) AS passed"
    )
    while True:
        async with database.transaction() as session:
            row = (await session.execute(statement)).one()
        if row.applied >= count and row.passed:
            break
        await asyncio.sleep(0.5)
    await database.close()


async def _rounds(world: Bench, rounds: int) -> tuple[list[float], list[float]]:
    database = Database(world.urls.app, pool_size=1)
    worker_side = Database(world.urls.worker, pool_size=1)
    async with worker_side.transaction() as session:
        ids = list(
            await session.scalars(
                text("SELECT id FROM organizations ORDER BY md5(public_id) LIMIT :n"), {"n": rounds}
            )
        )
    await worker_side.close()
    url = f"{world.gateway.data}/api/x"
    issued_after, revoked_after = [], []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        for number in range(rounds):
            organization = ids[number % len(ids)]
            async with database.transaction(organization=organization) as transaction:
                issued = await keys.issue(
                    transaction, organization, creator=OWNER, name="bench", environment="live",
                    expires_at=None, metadata={}, prefix="fbx", now=datetime.now(UTC),
                )  # fmt: skip
            began = time.perf_counter()
            issued_after.append(await _until(session, url, issued.key.text, began, refused=False))
            await asyncio.sleep(0.02)
            async with database.transaction(organization=organization) as transaction:
                await keys.revoke(
                    transaction, organization, issued.key.name.key, revoker=OWNER, may_revoke_all=True,
                    now=datetime.now(UTC),
                )  # fmt: skip
            began = time.perf_counter()
            revoked_after.append(await _until(session, url, issued.key.text, began, refused=True))
            await asyncio.sleep(0.02)
    await database.close()
    return issued_after, revoked_after


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure(count: int, rounds: int) -> dict[str, Any]:
    """Measure at one number of organizations."""
    with tempfile.TemporaryDirectory() as text_path:
        folder = Path(text_path)
        folder.chmod(0o755)
        async with bench(folder, count) as world:
            worker, _ = await launch_and_wait_for_line(
                [sys.executable, "-m", "farebox_cli", "worker"], env=environment(world.variables)
            )
            try:
                await _ready(world, count)
                await _rounds(world, 5)
                issued, revoked = await _rounds(world, rounds)
            finally:
                worker.terminate()
                await worker.wait()
    return {
        "organizations": count,
        "rounds": rounds,
        **{f"issued_{name}_ms": round(_at(issued, share), 1) for name, share in SHARES.items()},
        **{f"revoked_{name}_ms": round(_at(revoked, share), 1) for name, share in SHARES.items()},
    }


SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


async def run(counts: list[int], rounds: int, path: Path | None) -> None:
    """Measure at each number and print all."""
    rows = []
    for count in counts:
        rows.append(await measure(count, rounds))
        print(rows[-1], file=sys.stderr)
    show(rows, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--organizations", type=int, nargs="+", default=[10, 1_000, 20_000])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    uvloop.run(run(arguments.organizations, arguments.rounds, arguments.json))
