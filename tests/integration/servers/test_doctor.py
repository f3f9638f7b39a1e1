"""`farebox doctor` on real servers: each thing that can be wrong is found, named, and has a remedy."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from tests.support.processes import launch_and_wait_for_line

from farebox import migrations
from farebox.migrations import DatabaseUrls
from farebox.settings import Settings
from farebox_cli.doctor import Finding, Verdict, examine, machine
from farebox_cli.errors import Exit
from farebox_cli.servers import PostgresServer
from farebox_cli.servers.process import free_port

_ADMIN_KEY = "doctor-test-admin-key"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """A real embedded gateway; its two addresses."""
    folder = tmp_path_factory.mktemp("edge")
    process, line = await launch_and_wait_for_line(
        [sys.executable, "-m", "farebox_cli", "edge"],
        env={
            **os.environ,
            "FAREBOX_EDGE_ADMIN_KEY": _ADMIN_KEY,
            "FAREBOX_EDGE_DATA_PORT": "0",
            "FAREBOX_EDGE_ADMIN_PORT": "0",
            "FAREBOX_EDGE_STATE_FOLDER": str(folder),
            "FAREBOX_EDGE_LOG_PATH": str(folder / "usage.log"),
        },
    )
    yield json.loads(line)
    process.terminate()
    await process.wait()


@pytest.fixture
def settings(database: DatabaseUrls, redis_url: str, gateway: dict[str, str], tmp_path: Path) -> Settings:
    """An installation in which everything is as it should be, but for the web process."""
    return Settings.model_validate(
        {
            "database_url": database.app,
            "database_worker_url": database.worker,
            "redis_url": redis_url,
            "gateway_admin_url": gateway["admin"],
            "gateway_admin_key": _ADMIN_KEY,
            "gateway_data_url": gateway["data"],
            "public_url": f"http://127.0.0.1:{free_port()}",
            "usage_log": tmp_path / "usage.log",
        }
    )


async def _examined(settings: Settings, home: Path, **changes: object) -> dict[str, Finding]:
    changed = settings.model_copy(update=Settings.model_validate(changes).model_dump(include=set(changes)))
    return {finding.what: finding async for finding in examine(changed, home)}


async def _execute(database: DatabaseUrls, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(database.owner)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def test_a_sound_installation_has_only_good_findings(settings: Settings, home: Path) -> None:
    """With every server there, nothing is wrong but what is not started: the web process."""
    findings = await _examined(settings, home)
    wrong = {what for what, finding in findings.items() if finding.verdict is Verdict.WRONG}
    assert {what for what in wrong if not what.startswith("port ")} == {"control plane"}
    for what in ("redis", "database as farebox_app", "migrations", "clock", "gateway's Admin API", "gateway"):
        assert findings[what].verdict is Verdict.GOOD, findings[what]


async def test_every_wrong_finding_has_a_remedy(home: Path) -> None:
    """Nothing is set and nothing runs: each wrong finding says what to do, and no good one does."""
    nothing = Settings.model_validate(
        {"gateway_admin_url": "http://127.0.0.1:1", "public_url": "http://127.0.0.1:1"}
    )
    findings = (await _examined(nothing, home)).values()
    assert {finding.verdict for finding in findings} == {Verdict.GOOD, Verdict.WRONG, Verdict.UNKNOWN}
    for finding in findings:
        assert bool(finding.remedy) is (finding.verdict is Verdict.WRONG), finding


async def test_a_role_that_passes_row_security_by_is_found(
    settings: Settings, home: Path, superuser_url: str
) -> None:
    """A superuser's URL in FAREBOX_DATABASE_URL works, and is wrong."""
    finding = (await _examined(settings, home, database_url=superuser_url))["database as farebox_app"]
    assert finding.verdict is Verdict.WRONG
    assert "superuser" in finding.found
    assert "FAREBOX_DATABASE_URL" in finding.remedy


async def test_an_absent_database_is_found_once(settings: Settings, home: Path) -> None:
    """Nobody listens there: that is wrong, and what builds on it is unknown, not wrong again."""
    url = "postgresql://farebox_worker:hunter2@127.0.0.1:1/farebox"
    findings = await _examined(settings, home, database_worker_url=url)
    assert findings["database as farebox_worker"].verdict is Verdict.WRONG
    assert all("hunter2" not in finding.found + finding.remedy for finding in findings.values())
    assert {findings[what].verdict for what in ("migrations", "clock", "sync", "metering")} == {
        Verdict.UNKNOWN
    }


async def test_missing_migrations_are_found(
    settings: Settings, home: Path, postgres_server: PostgresServer
) -> None:
    """A database without its schema points to `farebox migrate`."""
    name = f"bare_{uuid4().hex}"
    connection = await asyncpg.connect(postgres_server.superuser_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" OWNER {migrations.OWNER}')
    finally:
        await connection.close()
    bare = settings.database_worker_url.get_secret_value().rpartition("/")[0] + f"/{name}"
    finding = (await _examined(settings, home, database_worker_url=bare))["migrations"]
    assert finding.verdict is Verdict.WRONG
    assert finding.remedy == "Run `farebox migrate`."


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("redis://:wrong@{address}/0", "password"),
        ("redis://127.0.0.1:1/0", "cannot be used"),
        ("http://nonsense", "cannot be used"),
        ("", "not set"),
    ],
)
async def test_an_unusable_redis_is_found(
    settings: Settings, home: Path, redis_url: str, url: str, word: str
) -> None:
    """A wrong password, nobody there, a wrong address, none at all: each is told apart."""
    address = redis_url.rpartition("@")[2].partition("/")[0]
    finding = (await _examined(settings, home, redis_url=url.format(address=address)))["redis"]
    assert finding.verdict is Verdict.WRONG
    assert word in finding.found + finding.remedy


async def test_a_gateway_that_refuses_us_is_found(settings: Settings, home: Path) -> None:
    """A wrong Admin API key is told apart from a gateway that is away."""
    refused = (await _examined(settings, home, gateway_admin_key="wrong"))["gateway's Admin API"]
    assert "refuses our key (401)" in refused.found
    away = (await _examined(settings, home, gateway_admin_url="http://127.0.0.1:1"))["gateway's Admin API"]
    assert "cannot be reached" in away.found


async def test_a_silent_node_and_a_hindered_one_are_found(
    settings: Settings, home: Path, database: DatabaseUrls
) -> None:
    """A collector that has stopped, one that reports an error, and one that is fine are told apart."""
    now = datetime.now(UTC)
    insert = "INSERT INTO nodes (code, read_to_end_at, last_error) VALUES ($1, $2, $3)"
    await _execute(database, insert, "silent", now - timedelta(minutes=5), None)
    await _execute(database, insert, "hindered", now, "usage.log: permission denied")
    await _execute(database, insert, "fine", now, None)
    await _execute(database, insert, "new", None, None)
    findings = await _examined(settings, home)
    verdicts = {
        name: findings[f"metering of node {name}"].verdict for name in ("silent", "hindered", "fine", "new")
    }
    assert verdicts == {
        "silent": Verdict.WRONG,
        "hindered": Verdict.WRONG,
        "fine": Verdict.GOOD,
        "new": Verdict.WRONG,
    }
    assert "farebox collect" in findings["metering of node silent"].remedy
    assert "permission denied" in findings["metering of node hindered"].found


async def test_work_that_nobody_does_is_found(settings: Settings, home: Path, database: DatabaseUrls) -> None:
    """An outbox row that has waited for minutes says that no worker is at it."""
    insert = "INSERT INTO outbox (job, payload, available_at) VALUES ('mail.send', '{}', $1)"
    await _execute(database, insert, datetime.now(UTC) - timedelta(minutes=3))
    finding = (await _examined(settings, home))["worker"]
    assert finding.verdict is Verdict.WRONG
    assert "1 pieces of work wait, the oldest for 18" in finding.found


async def test_a_resource_that_the_gateway_refuses_is_found(
    settings: Settings, home: Path, database: DatabaseUrls
) -> None:
    """The gateway's own words about a refused route stand in the finding."""
    await _execute(database, "DELETE FROM gateways")
    insert = "INSERT INTO gateways (id, code, catalogue_error) VALUES ($1, 'main', 'unknown plugin [x]')"
    await _execute(database, insert, uuid4())
    finding = (await _examined(settings, home))["sync of gateway main"]
    assert finding.verdict is Verdict.WRONG
    assert "unknown plugin [x]" in finding.found


async def test_a_taken_port_is_found(settings: Settings, home: Path) -> None:
    """Before anything runs, a well-known port that another program holds is named."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        finding = (await _examined(settings, home, web_port=port))[f"port {port}"]
    assert finding.verdict is Verdict.WRONG
    assert "FAREBOX_WEB_PORT" in finding.found


async def test_secrets_that_others_can_read_are_found(settings: Settings, home: Path) -> None:
    """An installation's file with a careless mode is wrong; the remedy is the command that mends it."""
    (home / "env").write_text("FAREBOX_TOKEN_SECRET=x\n")
    (home / "env").chmod(0o644)
    finding = (await _examined(settings, home))["home"]
    assert finding.remedy == f"Run `chmod 600 {home / 'env'}`: it holds secrets."


async def test_a_full_disk_is_found(settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less room than the usage log needs is wrong; a folder that is not made yet counts as its parent."""
    monkeypatch.setattr(machine, "LEAST_FREE_BYTES", 2**62)
    finding = (await _examined(settings, home, usage_log=home / "not" / "yet" / "usage.log"))["disk"]
    assert finding.verdict is Verdict.WRONG
    assert str(home) in finding.found


async def test_the_command_exits_1_and_speaks_json(tmp_path: Path) -> None:
    """For a monitor: one JSON document with every finding, and exit code 1 when something is wrong."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    done = subprocess.run(
        [sys.executable, "-m", "farebox_cli", "doctor", "--json"],
        env={**environ, "FAREBOX_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.PROBLEM
    printed = json.loads(done.stdout)
    assert printed["ok"] is False
    assert {finding["verdict"] for finding in printed["findings"]} <= {"good", "wrong", "unknown"}


async def test_the_gateway_of_this_module_really_runs(gateway: dict[str, str]) -> None:
    """The other tests' good findings mean something: the gateway answers an unknown route itself."""
    async with aiohttp.ClientSession() as client, client.get(gateway["data"]) as answer:
        assert answer.status == 404
