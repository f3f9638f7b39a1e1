"""`farebox migrate` as a person uses it, on a real PostgreSQL."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from tests.support.servers import TEST_POSTGRES_SETTINGS

from farebox import migrations
from farebox_cli.errors import Exit
from farebox_cli.servers import PostgresServer, embedded_postgres


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    """A server for this module: making roles sets their passwords for the whole server."""
    folder = tmp_path_factory.mktemp("postgres-of-ones-own")
    async with embedded_postgres(folder, settings=TEST_POSTGRES_SETTINGS) as server:
        yield server


@pytest.fixture
def empty_database(own_server: PostgresServer) -> str:
    """A database with its roles and no schema; the owner's URL."""
    passwords = {role: f"test-{role}" for role in migrations.ROLES}
    return migrations.bootstrap(own_server.superuser_url, database="empty", passwords=passwords).owner


def _migrate(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")},
        "FAREBOX_HOME": str(folder),
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "farebox_cli", "migrate", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_database_of_ones_own_is_prepared_in_one_step(
    own_server: PostgresServer, tmp_path: Path
) -> None:
    """From a superuser's URL to a migrated database and three URLs whose roles cannot pass row security."""
    done = _migrate(tmp_path, "--superuser-url", own_server.superuser_url, "--database", "own", "--json")
    assert done.returncode == Exit.OK, done.stderr
    printed = json.loads(done.stdout)
    assert printed["up_to_date"] is True
    urls = printed["variables"]
    assert urls.keys() == {
        "FAREBOX_DATABASE_URL",
        "FAREBOX_DATABASE_WORKER_URL",
        "FAREBOX_DATABASE_OWNER_URL",
    }
    connection = await asyncpg.connect(urls["FAREBOX_DATABASE_URL"])
    try:
        assert await connection.fetchval("SELECT count(*) FROM organizations") == 0
        assert not await connection.fetchval(
            "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
    finally:
        await connection.close()
    again = _migrate(tmp_path, "--check", **urls)
    assert again.returncode == Exit.OK, again.stderr


def test_an_old_schema_is_told_and_brought_up_to_date(
    own_server: PostgresServer, tmp_path: Path, empty_database: str
) -> None:
    """`--check` changes nothing and exits 1 while migrations are missing; without it they are run, once."""
    variables = {"FAREBOX_DATABASE_OWNER_URL": empty_database}
    assert _migrate(tmp_path, "--check", **variables).returncode == Exit.PROBLEM
    first = _migrate(tmp_path, "--json", **variables)
    assert json.loads(first.stdout)["was_up_to_date"] is False
    second = _migrate(tmp_path, "--json", **variables)
    assert json.loads(second.stdout)["was_up_to_date"] is True


def test_the_printed_lines_can_be_exported(own_server: PostgresServer, tmp_path: Path) -> None:
    """Without --json each URL is a line that a shell takes as an assignment."""
    done = _migrate(tmp_path, "--superuser-url", own_server.superuser_url, "--database", "lines")
    assert done.returncode == Exit.OK, done.stderr
    names = [shlex.split(line)[0].partition("=")[0] for line in done.stdout.splitlines()]
    assert "FAREBOX_DATABASE_URL" in names


def test_without_a_database_the_remedy_is_named(tmp_path: Path) -> None:
    """Nothing is set: exit 2, and the text names the variable."""
    done = _migrate(tmp_path)
    assert done.returncode == Exit.USAGE
    assert "FAREBOX_DATABASE_OWNER_URL" in done.stderr


def test_an_unreachable_database_is_one_line(tmp_path: Path) -> None:
    """Nobody listens there: exit 3, one line, no traceback and no password."""
    done = _migrate(tmp_path, FAREBOX_DATABASE_OWNER_URL="postgresql://farebox_owner:hunter2@127.0.0.1:1/x")
    assert done.returncode == Exit.UNREACHABLE, done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_a_name_that_is_no_name_is_refused(tmp_path: Path) -> None:
    """A database's name that would need quoting is refused before anything is asked of the server."""
    done = _migrate(tmp_path, "--superuser-url", "postgresql://x@127.0.0.1:1/x", "--database", 'a"; DROP')
    assert done.returncode == Exit.USAGE
