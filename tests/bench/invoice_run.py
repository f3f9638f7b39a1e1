"""A month for many organizations with three charges each: seconds, invoices a second, queries, peak memory.

    python tests/bench/invoice_run.py [--organizations 100000] [--keys 2] [--buckets 4]

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
CHARGES = [
    {"code": "base", "model": "flat", "description": "Base", "amount": "10.00", "prorate": "second"},
    {
        "code": "requests", "model": "per_unit", "description": "Requests", "included": "10000",
        "unit_price": "0.01",
    },
    {
        "code": "packs", "model": "package", "description": "Packs", "size": "1000", "price": "0.80",
        "meter": "requests",
    },
]  # fmt: skip
SEED = f"""
INSERT INTO plans (id, code, name) VALUES ('01900000-0000-7000-8000-000000000f01', 'bench', 'Bench');
INSERT INTO plan_versions (id, plan_id, version, code, state, currency, charges, limits, published_at)
VALUES ('01900000-0000-7000-8000-000000000f02', '01900000-0000-7000-8000-000000000f01', 1, 'bench-1',
        'published', 'USD', '{json.dumps(CHARGES)}', '[]', now());
INSERT INTO organizations (id, public_id, name)
SELECT gen_random_uuid(), 'o' || lpad(n::text, 9, '0'), 'Organization ' || n
FROM generate_series(1, :count) n;
INSERT INTO subscriptions (id, organization_id, public_id, plan_version_id, time_zone, started_at)
SELECT gen_random_uuid(), o.id, 's' || substr(o.public_id, 2), v.id, 'UTC', '2026-11-01Z'
FROM organizations o JOIN plan_versions v
  ON v.code = 'bench-1';
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
                    values = _values(statement, count=organizations, keys=keys, buckets=buckets)
                    connection = await session.connection()
                    if values:
                        await connection.execute(text(statement), values)
                    else:
                        await connection.exec_driver_sql(statement)
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
    memory_after = _peak_megabytes()
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
        "lines": await _count(owner, "invoice_lines"),
        "peak_memory_mb": round(memory_after),
        "peak_memory_before_mb": round(memory_before),
        "second_run_seconds": round(again_seconds, 2),
        "second_run_changed_nothing": await _state(owner) == before and again.finalized == 0,
        "bare_insert_seconds": round(bare, 2),
        "ratio_to_bare_insert": round(seconds / bare, 2),
    }


async def _count(owner: Database, table: str) -> int:
    async with owner.transaction() as session:
        return int(await session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


async def _bare(owner: Database) -> float:
    """Insert copies of all rows that the run wrote in batches of the same size, with the same indexes."""
    tables = ("invoices", "invoice_lines", "period_tallies", "outbox")
    rows: dict[str, list[dict[str, Any]]] = {}
    async with owner.transaction() as session:
        for table in tables:
            found = (await session.execute(text(f"SELECT * FROM {table}"))).mappings()
            rows[table] = [
                {name: value for name, value in row.items() if name != "open_minor"} for row in found
            ]
            options = "INCLUDING ALL EXCLUDING IDENTITY"
            await session.execute(text(f"CREATE TABLE bare_{table} (LIKE {table} {options})"))
    batches = -(-len(rows["invoices"]) // BATCH)
    began = time.perf_counter()
    for index in range(batches):
        async with owner.transaction() as session:
            for table in tables:
                size = -(-len(rows[table]) // batches)
                await _insert(session, f"bare_{table}", rows[table][index * size : (index + 1) * size])
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
    parser.add_argument("--organizations", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=2)
    parser.add_argument("--buckets", type=int, default=4)
    arguments = parser.parse_args()
    result = asyncio.run(main(arguments.organizations, arguments.keys, arguments.buckets))
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")
