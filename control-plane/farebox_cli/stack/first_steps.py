"""What an installation needs before it is of use: roles, a schema, and for trying it a route to sell."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import aiohttp

from farebox import migrations
from farebox.db import Database
from farebox.products import service as products
from farebox.products.offers import RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox.usage.nodes import nodes

ROLE_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        migrations.APP: "FAREBOX_DATABASE_URL",
        migrations.WORKER: "FAREBOX_DATABASE_WORKER_URL",
        migrations.OWNER: "FAREBOX_DATABASE_OWNER_URL",
    }
)
SAMPLE_ROUTE: Final = "messages"
_SAMPLE_PATHS: Final = ["/v1/messages/*"]
_PATIENCE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.05


def urls_by_variable(urls: migrations.DatabaseUrls) -> dict[str, str]:
    """Each role's URL under the setting that programs read it from."""
    by_role = {migrations.APP: urls.app, migrations.WORKER: urls.worker, migrations.OWNER: urls.owner}
    return {ROLE_VARIABLES[role]: url for role, url in by_role.items()}


async def database_urls(superuser_url: str, *, database: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Make the roles and the database if they are missing; return each role's URL under its setting."""
    return urls_by_variable(
        await asyncio.to_thread(migrations.bootstrap, superuser_url, database=database, passwords=passwords)
    )


async def migrate(owner_url: str) -> None:
    """Bring the schema up to date."""
    await asyncio.to_thread(migrations.upgrade, owner_url)


async def sell_the_sample_api(worker_url: str, *, upstream: str) -> None:
    """Register the sample API at `upstream` (host:port) as a route, unless it is there just so already."""
    sample = RouteSpec(code=SAMPLE_ROUTE, upstream=SAMPLE_ROUTE, paths=_SAMPLE_PATHS)
    database = Database(worker_url, pool_size=1)
    try:
        async with database.transaction() as session:
            await products.put(session, UpstreamSpec.simple(SAMPLE_ROUTE, {upstream: 1}))
            await products.put(session, sample)
    finally:
        await database.close()


async def until_sold(gateway_url: str) -> bool:
    """Whether the gateway knows the sample route, after waiting for the worker to bring it there."""

    async def known() -> bool:
        with suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"{gateway_url}/v1/messages/x") as answer,
            ):
                return answer.status != 404
        return False

    return await _comes_true(known)


async def until_metered(worker_url: str, *, node: str, since: datetime) -> bool:
    """Whether the collector has read the node's log to its end since then, after waiting for it."""
    database = Database(worker_url, pool_size=1)

    async def read() -> bool:
        async with database.transaction() as session:
            reports = {report.code: report for report in await nodes(session)}
        report = reports.get(node)
        return report is not None and report.read_to_end_at is not None and report.read_to_end_at >= since

    try:
        return await _comes_true(read)
    finally:
        await database.close()


def now() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


async def _comes_true(condition: Callable[[], Awaitable[bool]]) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_SECONDS
    while not await condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True
