"""How long an organization that was cut off waits, from its payment to its first answer at the edge.

    python tests/bench/reinstatement.py [--organizations 10 1000] [--rounds 100] [--json FILE]

A real worker process cuts the organizations off for an invoice that nobody paid, at the embedded edge; then
each invoice is paid by a bank transfer, as an operator records it. The clock starts before the payment's
transaction and stops when the data plane first answers otherwise than 403; it is asked every two
milliseconds over one connection. `committed` counts from the end of that transaction. Everything shares the
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
from tests.bench.sync_latency import OWNER, SHARES
from tests.bench.sync_world import Bench, bench, environment, show
from tests.support.processes import launch_and_wait_for_line

import farebox.tables
from farebox.clock import SystemClock
from farebox.db import Database
from farebox.dunning import rules
from farebox.keys import service as keys
from farebox.money import Money
from farebox.payments import service as payments
from farebox.payments.accounts import Till
from farebox.payments.providers import Providers

__all__ = ["farebox"]
PLANT = (
    """
    INSERT INTO usage_statements (id, body, digest)
    VALUES (:statement, '{}', decode(repeat('00', 32), 'hex'))
    """,
    """
    INSERT INTO billing_periods (id, organization_id, subscription_id, starts_at, ends_at, is_first)
    SELECT uuidv7(), organization_id, id, started_at, started_at + interval '1 month', true
    FROM subscriptions WHERE organization_id = ANY(:organizations)
    """,
    """
    INSERT INTO invoices (id, organization_id, subscription_id, period_id, issuer, currency, period_start,
                          period_end, subtotal_minor, tax_minor, total_minor, snapshot, statement_id,
                          terms_days)
    SELECT uuidv7(), organization_id, subscription_id, id, 'Farebox', 'USD', starts_at, ends_at, 1000, 0,
           1000, '{}', :statement, 0
    FROM billing_periods WHERE organization_id = ANY(:organizations)
    """,
    """
    INSERT INTO invoice_lines (id, organization_id, invoice_id, position, charge_code, description, quantity,
                               amount_minor, detail)
    SELECT uuidv7(), organization_id, id, 1, 'base', 'Base', 1, 1000, '{}' FROM invoices
    """,
    """
    UPDATE invoices SET state = 'finalized', number = 'FB-' || id, due_at = now() - interval '20 days',
                        finalized_at = now() - interval '20 days'
    """,
)
SUSPENDED = text("SELECT count(*) FROM subscriptions WHERE state = 'suspended'")


async def _plant(database: Database, rounds: int) -> list[UUID]:
    """Give some organizations an invoice that was due twenty days ago, under rules that wait for nothing."""
    now = datetime.now(UTC)
    at_once = {"retries": [], "reminders": [], "grace": 0, "suspend_after": 0}
    async with database.transaction() as session:
        await rules.set_house(session, at_once, actor="bench", now=now)
        chosen = text("SELECT id FROM organizations ORDER BY md5(public_id) LIMIT :n")
        found = list(await session.scalars(chosen, {"n": rounds}))
        values = {"organizations": found, "statement": UUID(int=1)}
        for statement in PLANT:
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            await session.execute(text(statement), named)
    return found


async def _until(session: aiohttp.ClientSession, url: str, key: str, *, refused: bool) -> float:
    """Ask until the data plane refuses the organization, or does not any more; return the instant."""
    while True:
        async with session.get(url, headers={"X-API-Key": key}) as response:
            await response.read()
            if response.status != 401 and (response.status == 403) is refused:
                return time.perf_counter()
        await asyncio.sleep(0.002)


async def _rounds(world: Bench, database: Database, found: list[UUID]) -> tuple[list[float], list[float]]:
    app = Database(world.urls.app, pool_size=2)
    till = Till(app, Providers(None, None, "stripe", {}), SystemClock(), "http://bench")
    url = f"{world.gateway.data}/api/x"
    whole, committed = [], []
    texts = {}
    for organization in found:
        async with app.transaction(organization=organization) as transaction:
            issued = await keys.issue(
                transaction, organization, creator=OWNER, name="bench", environment="live",
                expires_at=None, metadata={}, prefix="fbx", now=datetime.now(UTC),
            )  # fmt: skip
        texts[organization] = issued.key.text
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        for number, organization in enumerate(found):
            await _until(session, url, texts[organization], refused=True)
            began = time.perf_counter()
            await payments.record_manual(
                till, organization, Money("USD", 1000), reference=f"bench-{number}", invoice_id=None,
                note=None, actor="bench",
            )  # fmt: skip
            ended = time.perf_counter()
            served = await _until(session, url, texts[organization], refused=False)
            whole.append((served - began) * 1000)
            committed.append((served - ended) * 1000)
            await asyncio.sleep(0.02)
    await app.close()
    return whole, committed


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure(count: int, rounds: int) -> dict[str, Any]:
    """Measure at one number of organizations."""
    rounds = min(rounds, count)
    with tempfile.TemporaryDirectory() as text_path:
        folder = Path(text_path)
        folder.chmod(0o755)
        async with bench(folder, count) as world:
            database = Database(world.urls.worker, pool_size=2)
            found = await _plant(database, rounds)
            worker, _ = await launch_and_wait_for_line(
                [sys.executable, "-m", "farebox_cli", "worker"], env=environment(world.variables)
            )
            try:
                while True:
                    async with database.transaction() as session:
                        if await session.scalar(SUSPENDED) == rounds:
                            break
                    await asyncio.sleep(0.2)
                whole, committed = await _rounds(world, database, found)
            finally:
                worker.terminate()
                await worker.wait()
                await database.close()
    return {
        "organizations": count,
        "rounds": rounds,
        **{f"paid_{name}_ms": round(_at(whole, share), 1) for name, share in SHARES.items()},
        **{f"committed_{name}_ms": round(_at(committed, share), 1) for name, share in SHARES.items()},
    }


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
    parser.add_argument("--organizations", type=int, nargs="+", default=[10, 1_000])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    uvloop.run(run(arguments.organizations, arguments.rounds, arguments.json))
