"""Real servers for tests: one PostgreSQL and one Redis for each process, and a clean piece for each test.

A test's database is a clone of a template that was migrated once, so that it costs tens of milliseconds and
starts from exactly what production starts from. Durability is off: a test machine's power cut loses nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy.engine import make_url

from farebox import migrations
from farebox.migrations import DatabaseUrls
from farebox_cli.servers import PostgresServer, RedisServer, embedded_postgres, embedded_redis

TEST_POSTGRES_SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "300",
    "autovacuum": "off",
}
_TEMPLATE: Final = "farebox_template"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A PostgreSQL with nothing in it. Tests that stop or kill it start one of their own instead."""
    folder = tmp_path_factory.mktemp("postgres")
    async with embedded_postgres(folder, settings=TEST_POSTGRES_SETTINGS) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """A Redis without persistence. Tests that stop or kill it start one of their own instead."""
    async with embedded_redis(tmp_path_factory.mktemp("redis"), appendonly=False) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(postgres_server: PostgresServer) -> DatabaseUrls:
    """The template: roles made, every migration run. Nobody may be connected to it while it is cloned."""
    passwords = {role: f"test-{role}" for role in migrations.ROLES}
    urls = await asyncio.to_thread(
        migrations.bootstrap, postgres_server.superuser_url, database=_TEMPLATE, passwords=passwords
    )
    await asyncio.to_thread(migrations.upgrade, urls.owner)
    return urls


@pytest_asyncio.fixture
async def database(
    postgres_server: PostgresServer, migrated_template: DatabaseUrls
) -> AsyncIterator[DatabaseUrls]:
    """A migrated database of the test's own; dropped at its end, whoever is still connected."""
    name = f"test_{uuid4().hex}"
    await _as_superuser(
        postgres_server, f'CREATE DATABASE "{name}" OWNER {migrations.OWNER} TEMPLATE "{_TEMPLATE}"'
    )
    yield DatabaseUrls(
        owner=_in_database(migrated_template.owner, name),
        app=_in_database(migrated_template.app, name),
        worker=_in_database(migrated_template.worker, name),
    )
    await _as_superuser(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def superuser_url(postgres_server: PostgresServer, database: DatabaseUrls) -> str:
    """The test's own database as a superuser: to look past row security, never to run our code with."""
    name = make_url(database.app).database
    assert name is not None
    return _in_database(postgres_server.superuser_url, name)


@pytest_asyncio.fixture
async def redis_url(redis_server: RedisServer) -> str:
    """An empty Redis. Tests of one process run one after the other, so it is emptied, not divided."""
    async with Redis.from_url(redis_server.url) as client:
        await client.flushall()
    return redis_server.url


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder to stand in for FAREBOX_HOME."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def _in_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


async def _as_superuser(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.superuser_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
