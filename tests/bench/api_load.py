"""How many requests the control-plane API answers with one core, and how long callers wait.

    python tests/bench/api_load.py [--connections 32] [--seconds 8] [--organizations 2000] [--json FILE]

Starts a PostgreSQL and a Redis of its own and `farebox web` pinned to the first core; the load, PostgreSQL
and Redis have the others. Every connection is a user of his own, with 20 keys and a month of usage. Beside
requests a second stands requests per CPU second of the web process, which a busy machine changes less, and
GET /healthz, which asks nobody, says what HTTP and the log alone cost.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import uvloop

from farebox import migrations
from farebox.users.tokens import Principal, Tokens
from farebox_cli.servers import embedded_postgres, embedded_redis

SEED: Final = """
INSERT INTO organizations (id, public_id, name, edge_revision)
SELECT uuidv7(), 'o' || lpad(n::text, 9, '0'), 'Organization ' || n, 5
FROM generate_series(1, {organizations}) n;
INSERT INTO users (id, email, password_hash, email_verified_at)
SELECT uuidv7(), o.public_id || '@example.com', '-', now() FROM organizations o;
INSERT INTO memberships (organization_id, user_id, role)
SELECT o.id, u.id, 'owner' FROM organizations o JOIN users u ON u.email = o.public_id || '@example.com';
INSERT INTO subscriptions (id, organization_id, public_id, plan_version_id, time_zone, started_at)
SELECT uuidv7(), o.id, 's' || substr(o.public_id, 2), v.id, 'UTC', date_trunc('month', now())
FROM organizations o JOIN plan_versions v ON v.code = 'starter-1';
INSERT INTO billing_periods (id, organization_id, subscription_id, starts_at, ends_at, is_first)
SELECT uuidv7(), organization_id, id, started_at, started_at + interval '1 month', true FROM subscriptions;
INSERT INTO api_keys (id, organization_id, public_id, name, environment, digest, hint, edge_revision,
                      created_by)
SELECT uuidv7(), m.organization_id, 'k' || lpad((row_number() OVER ())::text, 9, '0'), 'key ' || k, 'live',
       encode(sha256((m.user_id || ' ' || k)::bytea), 'hex'), 'abcd', 2, m.user_id
FROM memberships m, generate_series(1, 20) k;
INSERT INTO gateway_organizations (gateway_id, organization_id, applied_revision)
SELECT g.id, o.id, 5 FROM gateways g, organizations o;
INSERT INTO usage_dimensions (organization_id, subscription_id, org, sub, key, plan_group, route, environment,
                              outcome, status)
SELECT s.organization_id, s.id, o.public_id, s.public_id, k.public_id, 'starter-1', 'messages', 'live',
       outcome,       CASE outcome WHEN 'served' THEN 200 ELSE 429 END
FROM (SELECT * FROM organizations ORDER BY public_id LIMIT {active}) o
JOIN subscriptions s ON s.organization_id = o.id
JOIN LATERAL (SELECT public_id FROM api_keys WHERE organization_id = o.id LIMIT 3) k ON true,
     unnest(ARRAY['served', 'rate_limited']) outcome;
INSERT INTO usage_rollups
SELECT d.id, extract(epoch FROM date_trunc('month', now()))::bigint + b * 3600 * 6, d.organization_id,
       97, 97, 0, 0, 0
FROM usage_dimensions d, generate_series(0, 119) b;
ANALYZE
"""
SECRET: Final = "a secret of the benchmark, long enough to sign with"
HEAD: Final = "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{more}\r\n{body}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one endpoint gave."""

    endpoint: str
    requests: int
    requests_per_second: float
    requests_per_cpu_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failures: int


async def main(arguments: argparse.Namespace) -> list[Figures]:
    """Seed, serve, and load one endpoint after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            embedded_postgres(folder / "pg", settings={"shared_buffers": "128MB"}) as postgres,
            embedded_redis(folder / "redis", appendonly=False) as redis,
        ):
            passwords = {role: secrets.token_hex(8) for role in migrations.ROLES}
            urls = migrations.bootstrap(postgres.superuser_url, database="bench", passwords=passwords)
            migrations.upgrade(urls.owner)
            principals = await _seed(urls.owner, arguments.organizations, arguments.connections)
            tokens = Tokens(SECRET, lifetime=timedelta(hours=4))
            signed = [tokens.issue(principal, now=datetime.now(UTC)).text for principal in principals]
            process, port = await _serve(urls.app, redis.url, core=0, log=folder / "web.log")
            try:
                return await _measure(port, process.pid, signed, arguments.seconds)
            finally:
                process.terminate()
                await process.wait()


async def _measure(port: int, pid: int, tokens: Sequence[str], seconds: float) -> list[Figures]:
    key = json.dumps({"name": "bench", "environment": "test"})
    posted = f"Content-Type: application/json\r\nContent-Length: {len(key)}\r\n"
    endpoints = {
        "GET /healthz": ("GET", "/healthz", "", ""),
        "GET /keys": ("GET", "/api/v1/keys", "", ""),
        "GET /billing/usage": ("GET", "/api/v1/billing/usage", "", ""),
        "POST /keys": ("POST", "/api/v1/keys", posted, key),
    }
    figures = []
    for name, (method, path, more, body) in endpoints.items():
        requests = [
            HEAD.format(method=method, path=path, token=token, more=more, body=body).encode()
            for token in tokens
        ]
        await _load(port, requests, 1.5)
        cpu, began = _cpu_seconds(pid), time.perf_counter()
        waits, failures = await _load(port, requests, seconds)
        passed, spent = time.perf_counter() - began, _cpu_seconds(pid) - cpu
        waits.sort()
        p50, p95, p99 = (round(waits[int(len(waits) * part)] * 1000, 2) for part in (0.5, 0.95, 0.99))
        figures.append(
            Figures(
                endpoint=name,
                requests=len(waits),
                requests_per_second=round(len(waits) / passed, 1),
                requests_per_cpu_second=round(len(waits) / spent, 1),
                p50_ms=p50,
                p95_ms=p95,
                p99_ms=p99,
                failures=failures,
            )
        )
    return figures


async def _load(port: int, requests: Sequence[bytes], seconds: float) -> tuple[list[float], int]:
    waits: list[float] = []
    end = time.perf_counter() + seconds
    failures = await asyncio.gather(*(_caller(port, request, end, waits) for request in requests))
    return waits, sum(failures)


async def _caller(port: int, request: bytes, end: float, waits: list[float]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    failures = 0
    while (began := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        waits.append(time.perf_counter() - began)
        failures += not head.startswith(b"HTTP/1.1 20")
    writer.close()
    return failures


async def _seed(owner_url: str, organizations: int, active: int) -> list[Principal]:
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute(SEED.format(organizations=organizations, active=active))
        rows = await connection.fetch(
            "SELECT m.user_id, m.organization_id FROM memberships m JOIN organizations o "
            "ON o.id = m.organization_id ORDER BY o.public_id LIMIT $1",
            active,
        )
    finally:
        await connection.close()
    return [Principal(UUID(str(row[0])), UUID(str(row[1]))) for row in rows]


async def _serve(
    database_url: str, redis_url: str, *, core: int, log: Path
) -> tuple[asyncio.subprocess.Process, int]:
    environment = {
        **os.environ,
        "FAREBOX_HOME": str(log.parent),
        "FAREBOX_DATABASE_URL": database_url,
        "FAREBOX_REDIS_URL": redis_url,
        "FAREBOX_TOKEN_SECRET": SECRET,
        "FAREBOX_API_RATE_LIMIT": "1000000000",
    }
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("farebox")),
            "web",
            "--port=0",
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=written,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    if process.stdout is None:
        raise RuntimeError("no standard output")
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError(log.read_text())
    return process, int(json.loads(line)["url"].rpartition(":")[2])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _table(figures: Sequence[Figures]) -> str:
    names = ("req/s", "req/CPU-s", "p50 ms", "p95 ms", "p99 ms", "failed")
    lines = [f"{'endpoint':<20}" + "".join(f"{name:>11}" for name in names)]
    lines += [
        f"{one.endpoint:<20}{one.requests_per_second:>11,.0f}{one.requests_per_cpu_second:>11,.0f}"
        f"{one.p50_ms:>11.1f}{one.p95_ms:>11.1f}{one.p99_ms:>11.1f}{one.failures:>11}"
        for one in figures
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--organizations", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def run() -> dict[str, Any]:
    """Measure with the command line's arguments, print the table, and return the figures."""
    arguments = _arguments()
    figures = uvloop.run(main(arguments))
    print(_table(figures))
    result = {"connections": arguments.connections, "endpoints": [asdict(one) for one in figures]}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    run()
