"""What an installation needs before its programs can work: roles, a schema, and a route to sell."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from farebox import migrations

ROLE_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        migrations.APP: "FAREBOX_DATABASE_URL",
        migrations.WORKER: "FAREBOX_DATABASE_WORKER_URL",
        migrations.OWNER: "FAREBOX_DATABASE_OWNER_URL",
    }
)


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


async def sell_the_sample_api(settings: Mapping[str, str], *, upstream: str) -> None:
    """Register the sample API as the route that the demo sells."""
    raise RuntimeError(f"not wired yet: {upstream} {len(settings)}")
