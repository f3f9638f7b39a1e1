"""What the sync benchmarks share: servers of their own, organizations by the thousand, a gateway."""

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from tests.gateway.harness import Gateway, Upstream, running_edge, running_upstream

from farebox import migrations
from farebox.db import Database
from farebox.products import service as products
from farebox.products.offers import RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox.settings import Settings
from farebox_cli.servers import embedded_postgres, embedded_redis

SEED = """
INSERT INTO organizations (id, public_id, name)
SELECT uuidv7(), 'o' || lpad(n::text, 9, '0'), 'Organization ' || n FROM generate_series(1, {count}) n;
INSERT INTO users (id, email, password_hash, email_verified_at)
VALUES ('01900000-0000-7000-8000-000000000999', 'bench@example.com', '-', now());
INSERT INTO subscriptions (id, organization_id, public_id, plan_version_id, time_zone, started_at)
SELECT uuidv7(), o.id, 's' || substr(o.public_id, 2), v.id, 'UTC', date_trunc('month', now())
FROM organizations o JOIN plan_versions v ON v.code = 'pro-1';
INSERT INTO api_keys
    (id, organization_id, public_id, name, environment, digest, hint, edge_revision, created_by)
SELECT uuidv7(), o.id, 'k' || substr(o.public_id, 2), 'key', 'live',
       encode(sha256(o.public_id::bytea), 'hex'), 'abcd', 1, '01900000-0000-7000-8000-000000000999'
FROM organizations o;
ANALYZE
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """A control plane with `count` organizations, each with one key, and an empty gateway."""

    urls: migrations.DatabaseUrls
    redis_url: str
    gateway: Gateway
    upstream: Upstream

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of our commands."""
        return {
            "FAREBOX_DATABASE_WORKER_URL": self.urls.worker,
            "FAREBOX_REDIS_URL": self.redis_url,
            "FAREBOX_GATEWAY_ADMIN_URL": self.gateway.admin,
            "FAREBOX_GATEWAY_ADMIN_KEY": self.gateway.admin_key,
            "FAREBOX_GATEWAY_DATA_URL": self.gateway.data,
            "FAREBOX_FULL_PASS_SECONDS": "86400",
        }

    @property
    def settings(self) -> Settings:
        """The same as values."""
        given: dict[str, Any] = {
            name.removeprefix("FAREBOX_").lower(): value for name, value in self.variables.items()
        }
        return Settings(_env_file=None, **given)


@contextlib.asynccontextmanager
async def bench(folder: Path, count: int) -> AsyncIterator[Bench]:
    """Start everything that a sync benchmark needs, in `folder`."""
    async with (
        embedded_postgres(folder / "postgres") as server,
        embedded_redis(folder / "redis", appendonly=False) as redis,
        running_edge(folder / "edge") as gateway,
        running_upstream() as upstream,
    ):
        passwords = dict.fromkeys(migrations.ROLES, "bench")
        urls = migrations.bootstrap(server.superuser_url, database="bench", passwords=passwords)
        migrations.upgrade(urls.owner)
        connection = await asyncpg.connect(server.superuser_url.rpartition("/")[0] + "/bench")
        await connection.execute(SEED.format(count=count))
        await connection.close()
        database = Database(urls.worker, pool_size=1)
        async with database.transaction() as session:
            await products.put(session, UpstreamSpec.simple("api", upstream.node))
            await products.put(session, RouteSpec(code="api", upstream="api", paths=["/api/*"]))
        await database.close()
        yield Bench(urls, redis.url, gateway, upstream)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Our environment without settings of another installation, and with these."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    return {**ours, "FAREBOX_HOME": "/nonexistent", **variables}


def show(rows: list[dict[str, Any]], path: Path | None) -> None:
    """Print a table and the same as JSON; write the JSON to a file if one is named."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    widths = {name: max(len(name), *(len(_cell(row.get(name))) for row in rows)) for name in columns}
    print("  ".join(name.rjust(widths[name]) for name in columns))
    for row in rows:
        print("  ".join(_cell(row.get(name)).rjust(widths[name]) for name in columns))
    document = json.dumps(rows, indent=1)
    print(document)
    if path is not None:
        path.write_text(document + "\n")
    sys.stdout.flush()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return (
        f"{value:,.1f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
