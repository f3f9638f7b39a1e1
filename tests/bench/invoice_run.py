"""A month for 10,000 organizations: seconds, invoices a second, queries an invoice, peak memory.

    python tests/bench/invoice_run.py [--organizations 10000] [--keys 4] [--buckets 40]

Starts a PostgreSQL of its own. Beside the run stands a bare INSERT of the same invoice and line rows, in the
same number of transactions, with nothing read and nothing computed: the limit of any billing run here.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from farebox import migrations
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.settings import Settings
from farebox_cli.servers import embedded_postgres
from farebox_worker import billing

BATCH = 500

NOW = datetime(2026, 12, 1, 0, 10, tzinfo=UTC)
SEED = """
INSERT INTO organizations (id, public_id, name)
SELECT gen_random_uuid(), 'o' || lpad(n::text, 9, '0'), 'Organization ' || n
FROM generate_series(1, :count) n;
INSERT INTO subscriptions (id, organization_id, public_id, plan_version_id, time_zone, started_at)
SELECT gen_random_uuid(), o.id, 's' || substr(o.public_id, 2), v.id, 'UTC', '2026-11-01Z'
FROM organizations o JOIN plan_versions v
  ON v.code = (ARRAY['free-1', 'starter-1', 'pro-1'])[1 + substr(o.public_id, 2)::int % 3];
INSERT INTO billing_periods (id, organization_id, subscription_id, starts_at, ends_at, is_first)
SELECT gen_random_uuid(), organization_id, id, '2026-11-01Z', '2026-12-01Z', true FROM subscriptions;
INSERT INTO usage_dimensions (organization_id, subscription_id, org, sub, key, plan_group, route, environment,
                              outcome, status)
SELECT s.organization_id, s.id, o.public_id, s.public_id, 'k' || k, 'g', 'messages',
       CASE WHEN k = 4 THEN 'test' ELSE 'live' END, outcome, CASE outcome WHEN 'served' THEN 200 ELSE 429 END
FROM subscriptions s JOIN organizations o ON o.id = s.organization_id, generate_series(1, :keys) k,
     unnest(ARRAY['served', 'rate_limited']) outcome;
INSERT INTO usage_rollups
SELECT d.id, 1793491200 + b * 900 * 70, d.organization_id, 97, 97 + d.id % 7, 0, 0, 0
FROM usage_dimensions d, generate_series(1, :buckets) b;
INSERT INTO nodes (code, read_to_end_at) VALUES ('gw-1', '2026-12-01T00:05Z');
ANALYZE
"""


async def main(organizations: int, keys: int, buckets: int) -> dict[str, Any]:
    """Seed, run, run again, and insert the same rows bare."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_postgres(Path(folder)) as server:
            urls = await asyncio.to_thread(
                migrations.bootstrap,
                server.superuser_url,
                database="bench",
                passwords=dict.fromkeys(migrations.ROLES, "bench"),
            )
            await asyncio.to_thread(migrations.upgrade, urls.owner)
            owner, worker = Database(urls.owner), Database(urls.worker)
            for statement in SEED.split(";"):
                async with owner.transaction() as session:
                    await session.execute(
                        text(statement), _values(statement, count=organizations, keys=keys, buckets=buckets)
                    )
            try:
                return await _measure(owner, worker, organizations)
            finally:
                await owner.close()
                await worker.close()


async def _measure(owner: Database, worker: Database, organizations: int) -> dict[str, Any]:
    queries = 0

    def count(*_: object) -> None:
        nonlocal queries
        queries += 1

    event.listen(worker.engine.sync_engine, "before_cursor_execute", count)
    settings, clock = Settings(), ManualClock(NOW)
    memory_before = _peak_megabytes()
    began = time.perf_counter()
    report = await billing.run(worker, settings, clock, batch=BATCH)
    seconds, first_queries = time.perf_counter() - began, queries
    before = await _state(owner)
    began = time.perf_counter()
    again = await billing.run(worker, settings, clock, batch=BATCH)
    again_seconds = time.perf_counter() - began
    bare = await _bare(owner)
    return {
        "organizations": organizations,
        "finalized": report.finalized,
        "periods_begun": report.rolled,
        "seconds": round(seconds, 2),
        "invoices_per_second": round(report.finalized / seconds),
        "queries": first_queries,
        "queries_per_invoice": round(first_queries / report.finalized, 3),
        "peak_memory_mb": round(_peak_megabytes()),
        "peak_memory_before_mb": round(memory_before),
        "second_run_seconds": round(again_seconds, 2),
        "second_run_changed_nothing": await _state(owner) == before and again.finalized == 0,
        "bare_insert_seconds": round(bare, 2),
        "ratio_to_bare_insert": round(seconds / bare, 2),
    }


async def _bare(owner: Database) -> float:
    """Insert copies of all invoices and lines in batches of the same size, with the same indexes."""
    async with owner.transaction() as session:
        invoices = [dict(row) for row in (await session.execute(text("SELECT * FROM invoices"))).mappings()]
        lines = [dict(row) for row in (await session.execute(text("SELECT * FROM invoice_lines"))).mappings()]
        for table in ("invoices", "invoice_lines"):
            await session.execute(text(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)"))
    per_batch = BATCH
    began = time.perf_counter()
    size = max(1, len(lines) * per_batch // len(invoices))
    for index in range(0, len(invoices), per_batch):
        part = lines[index // per_batch * size : (index // per_batch + 1) * size]
        async with owner.transaction() as session:
            await _insert(session, "bare_invoices", invoices[index : index + per_batch])
            await _insert(session, "bare_invoice_lines", part)
    return time.perf_counter() - began


async def _insert(session: Any, table: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = list(rows[0])
    ready = [
        {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}
        for row in rows
    ]
    values = ", ".join(
        f"CAST(:{name} AS jsonb)" if isinstance(rows[0][name], dict) else f":{name}" for name in columns
    )
    await session.execute(text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"), ready)


async def _state(owner: Database) -> list[Any]:
    async with owner.transaction() as session:
        return [
            (await session.execute(text(query))).all()
            for query in (
                "SELECT count(*), max(number), sum(total_minor) FROM invoices",
                "SELECT state, count(*), sum(billed_units) FROM billing_periods GROUP BY 1 ORDER BY 1",
                "SELECT count(*) FROM usage_statements",
                "SELECT count(*) FROM outbox",
                "SELECT next_number FROM invoice_numbers",
            )
        ]


def _values(statement: str, **values: int) -> dict[str, int]:
    return {name: value for name, value in values.items() if f":{name}" in statement}


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--organizations", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=4)
    parser.add_argument("--buckets", type=int, default=40)
    arguments = parser.parse_args()
    result = asyncio.run(main(arguments.organizations, arguments.keys, arguments.buckets))
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")
