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
from farebox.sandbox.app import Options, running
from farebox.settings import Settings
from farebox_cli.doctor import Finding, Verdict, examine, machine
from farebox_cli.errors import Exit
from farebox_cli.servers import PostgresServer
from farebox_cli.servers.process import free_port
from farebox_contract import node_status

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
            "gateway_status_url": f"{gateway['admin']}{node_status.EDGE_PATH}",
            "token_secret": "t" * 40,
            "link_secret": "l" * 40,
            "public_url": f"http://127.0.0.1:{free_port()}",
            "usage_log": tmp_path / "usage.log",
        }
    )


async def _examined(settings: Settings, home: Path, **changes: object) -> dict[str, Finding]:
    changed = settings.model_copy(update=Settings.model_validate(changes).model_dump(include=set(changes)))
    return {finding.what: finding async for finding in examine(changed, home)}


def _gateway(code: str, admin: str, data: str, status: str | None) -> dict[str, object]:
    """One gateway with one node, as the file names it."""
    node = {"code": f"{code}-1", "data_url": data, "status_url": status}
    return {"code": code, "admin_url": admin, "key_env": "DOCTOR_TEST_KEY", "nodes": [node]}


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
    for what in (
        "redis", "database as farebox_app", "migrations", "clock", "gateway's Admin API", "gateway",
        "what node gw-1 enforces", "token secret", "link secret", "payments",
    ):  # fmt: skip
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


async def test_a_node_that_cannot_be_asked_is_told_from_one_that_does_not_answer(
    settings: Settings, home: Path, gateway: dict[str, str]
) -> None:
    """No status URL is no fault, and is said; one at which nobody answers, or refuses us, is one."""
    what = "what node gw-1 enforces"
    silent = (await _examined(settings, home, gateway_status_url=""))[what]
    assert silent.verdict is Verdict.UNKNOWN
    assert "FAREBOX_GATEWAY_STATUS_URL" in silent.found
    away = (await _examined(settings, home, gateway_status_url="http://127.0.0.1:1/x"))[what]
    assert away.verdict is Verdict.WRONG
    assert "cannot be reached" in away.found
    elsewhere = (await _examined(settings, home, gateway_status_url=gateway["data"]))[what]
    assert elsewhere.verdict is Verdict.WRONG
    refused = (await _examined(settings, home, gateway_admin_key="wrong"))[what]
    assert "admin key" in refused.found


async def test_every_gateway_of_the_file_is_looked_at(
    settings: Settings, home: Path, gateway: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's gateways take the place of the settings'; one that is away does not hide the other."""
    monkeypatch.setenv("DOCTOR_TEST_KEY", _ADMIN_KEY)
    eu = _gateway("eu", gateway["admin"], gateway["data"], f"{gateway['admin']}{node_status.EDGE_PATH}")
    us = _gateway("us", "http://127.0.0.1:1", "http://127.0.0.1:1", None)
    path = home / "gateways.yaml"
    path.write_text(json.dumps({"gateways": [eu, us]}))
    findings = await _examined(settings, home, gateways_file=path)
    assert findings["gateways file"].found == f"{path}: 2 gateways, 2 nodes"
    verdicts = {what: found.verdict for what, found in findings.items() if "eu" in what or "us" in what}
    assert verdicts == {
        "Admin API of gateway eu": Verdict.GOOD,
        "node eu-1": Verdict.GOOD,
        "what node eu-1 enforces": Verdict.GOOD,
        "Admin API of gateway us": Verdict.WRONG,
        "node us-1": Verdict.WRONG,
        "what node us-1 enforces": Verdict.UNKNOWN,
    }
    assert "gateway's Admin API" not in findings


async def test_a_gateways_file_that_cannot_be_used_is_found(settings: Settings, home: Path) -> None:
    """The finding names the file and what is wrong in it."""
    path = home / "gateways.yaml"
    path.write_text("gateways: [{code: eu}]")
    finding = (await _examined(settings, home, gateways_file=path))["gateways file"]
    assert finding.verdict is Verdict.WRONG
    assert str(path) in finding.found + finding.remedy


@pytest.mark.parametrize(("secret", "word"), [("", "not set"), ("short", "only 5 characters")])
async def test_a_missing_link_secret_is_found(settings: Settings, home: Path, secret: str, word: str) -> None:
    """Without a secret of full length no mail can hold a link to an invoice."""
    finding = (await _examined(settings, home, link_secret=secret))["link secret"]
    assert finding.verdict is Verdict.WRONG
    assert word in finding.found
    assert "FAREBOX_LINK_SECRET" in finding.remedy


async def test_a_payment_provider_is_asked(settings: Settings, home: Path, tmp_path: Path) -> None:
    """One that takes our key, one that refuses it, one that is away, and what else is needed to be paid."""
    async with running(Options(folder=tmp_path / "payments", seed="doctor")) as sandbox:
        keys = sandbox.keys
        whole = {
            "stripe_secret_key": keys.stripe_secret_key,
            "stripe_publishable_key": keys.stripe_publishable_key,
            "stripe_webhook_secret": keys.stripe_webhook_secret,
            "stripe_api_url": sandbox.url,
            "paystack_secret_key": keys.paystack_secret_key,
            "paystack_api_url": sandbox.url,
        }
        good = await _examined(settings, home, **whole)
        bare = await _examined(
            settings, home, **{**whole, "stripe_publishable_key": "", "stripe_webhook_secret": ""}
        )
        mixed = await _examined(settings, home, **{**whole, "stripe_publishable_key": "pk_live_x"})
        refused = await _examined(
            settings, home, **{**whole, "stripe_secret_key": "sk_test_x", "paystack_secret_key": "sk_test_y"}
        )
        only = {name: value for name, value in whole.items() if name.startswith("paystack")}
        alone = await _examined(settings, home, **only)
    away = await _examined(settings, home, **whole)
    for what in ("payments by Stripe", "payments by Paystack", "Stripe's settings"):
        assert good[what].verdict is Verdict.GOOD, good[what]
    assert "FAREBOX_STRIPE_PUBLISHABLE_KEY" in bare["Stripe in the browser"].found
    assert "every webhook is refused" in bare["Stripe's webhooks"].found
    assert "not of the same mode" in mixed["Stripe in the browser"].found
    for what in ("payments by Stripe", "payments by Paystack"):
        assert "refuses our key (401)" in refused[what].found
        assert "cannot be reached" in away[what].found
        assert away[what].verdict is Verdict.WRONG
    assert "no secret key" in alone["payments"].found
    assert "FAREBOX_PAYMENT_PROVIDER=paystack" in alone["payments"].remedy
    assert not any(
        keys.stripe_secret_key in finding.found + finding.remedy
        for findings in (good, bare, mixed, away)
        for finding in findings.values()
    )


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
