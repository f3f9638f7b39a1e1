"""Operators, by the command line and over HTTP: who becomes one, what he sees, and what nobody else does."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import PASSWORD, Api, Person

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.settings import Settings
from farebox_cli.__main__ import run


class Command(Protocol):
    """Runs `farebox` with arguments; gives its exit code, its output and its errors."""

    async def __call__(self, *argv: str) -> tuple[int, str, str]: ...


PLAN = {
    "code": "demo",
    "name": "Demo",
    "public": False,
    "charges": [{"code": "base", "model": "flat", "description": "Demo", "amount": "1.00"}],
    "limits": [{"name": "minute", "requests": 10, "window": 60}],
    "quota": {"units": 20, "kind": "hard"},
}


@pytest.fixture
def farebox(
    settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The `farebox` command on this database; gives its exit code, its output and its errors."""
    monkeypatch.setenv("FAREBOX_HOME", str(home))
    for name in ("database_url", "database_worker_url", "redis_url", "token_secret"):
        monkeypatch.setenv(f"FAREBOX_{name.upper()}", getattr(settings, name).get_secret_value())

    async def command(*argv: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, list(argv))
        written = capsys.readouterr()
        return code, written.out, written.err

    return command


async def operator(api: Api, farebox: Command) -> Person:
    """Somebody whom the command made an operator, logged in."""
    made = await farebox("operator", "create", "Root@Example.com", "--password", PASSWORD, "--name", "Root")
    assert made[0] == 0, made
    login = await api.post("/auth/login", {"email": "root@example.com", "password": PASSWORD})
    assert login.data["organization"] is None
    return Person("root@example.com", "", "", login.data["access_token"])


async def test_an_operator_sees_every_organization(api: Api, farebox: Command) -> None:
    """Listed newest first, in pages, found by name and by id; an operator is in none himself."""
    people = [await api.sign_up(f"p{number}@example.com", f"Company {number}") for number in range(3)]
    root = await operator(api, farebox)
    first = (await api.get("/admin/organizations?limit=2", by=root)).data
    second = (await api.get("/admin/organizations", by=root, limit="2", cursor=first["next_cursor"])).data
    assert [entry["name"] for entry in first["items"] + second["items"]] == [
        "Company 2",
        "Company 1",
        "Company 0",
    ]
    assert first["items"][0]["plan"] == "free-1"
    for search in ("COMPANY 1", people[1].organization_id):
        found = (await api.get("/admin/organizations", by=root, search=search)).data["items"]
        assert [entry["name"] for entry in found] == ["Company 1"]
    assert (await api.get("/keys", by=root)).code == "no_organization"
    assert (await api.get("/admin/organizations?cursor=x", by=root)).code == "cursor_invalid"


async def test_what_lags_or_failed_is_visible(api: Api, worker: Database, farebox: Command) -> None:
    """An organization is shown until its gateway has its revision, with the error if there was one."""
    ada = await api.sign_up()
    root = await operator(api, farebox)
    [waiting] = (await api.get("/admin/sync", by=root)).data["items"]
    assert (waiting["state"], waiting["applied_revision"], waiting["organization"]) == (
        "lagging",
        0,
        ada.organization_id,
    )
    await planting.enforced(worker, await planting.organization_uuid(worker, ada), waiting["revision"])
    assert (await api.get("/admin/sync", by=root)).data["items"] == []
    async with worker.transaction() as session:
        await session.execute(text("UPDATE gateway_organizations SET attempts = 3, last_error = '503'"))
    [failed] = (await api.get("/admin/sync", by=root)).data["items"]
    assert (failed["state"], failed["attempts"], failed["last_error"]) == ("failed", 3, "503")


async def test_nobody_else_is_an_operator(api: Api, worker: Database, farebox: Command) -> None:
    """Owners are refused; an operator who is one no more is refused at his next request."""
    ada = await api.sign_up()
    root = await operator(api, farebox)
    for path in ("/admin/organizations", "/admin/sync"):
        assert (await api.get(path, by=ada)).code == "operators_only"
    async with worker.transaction() as session:
        await session.execute(text("UPDATE users SET is_operator = false"))
    assert (await api.get("/admin/sync", by=root)).code == "operators_only"


async def test_operator_create_refuses_what_a_sign_up_would(farebox: Command) -> None:
    """Weak passwords, text that is no e-mail and taken e-mails end with one line and a code."""
    weak = await farebox("operator", "create", "root@example.com", "--password", "password1")
    assert weak[0] == 2
    assert "leaked" in weak[2]
    assert (await farebox("operator", "create", "root", "--password", PASSWORD))[0] == 2
    assert (await farebox("operator", "create", "root@example.com", "--password", PASSWORD))[0] == 0
    again = await farebox("operator", "create", "root@example.com", "--password", PASSWORD)
    assert (again[0], "registered already" in again[2]) == (1, True)


async def test_members_by_command(api: Api, farebox: Command) -> None:
    """A registered person becomes a member, and his role can be changed; an unknown one is said to be so."""
    ada, eve = await api.sign_up(), await api.sign_up("eve@example.com", "Elsewhere")
    for role in ("member", "admin"):
        added = await farebox("member", "add", ada.organization_id, "eve@example.com", "--role", role)
        assert added[0] == 0
        roles = {
            entry["id"]: entry["role"] for entry in (await api.get("/organizations", by=eve)).data["items"]
        }
        assert roles[ada.organization_id] == role
    nobody = await farebox("member", "add", ada.organization_id, "nobody@example.com")
    assert (nobody[0], "nobody is registered" in nobody[2]) == (1, True)
    nowhere = await farebox("member", "add", "org_0000000000", "eve@example.com")
    assert (nowhere[0], "no organization" in nowhere[2]) == (1, True)


async def test_a_clock_is_advanced_by_command(api: Api, farebox: Command) -> None:
    """Only in test mode, only forward; the present of the organization is printed."""
    ada = await api.sign_up()
    refused = await farebox("clock", "advance", ada.organization_id, "--days", "3")
    assert (refused[0], "not in test mode" in refused[2]) == (1, True)
    assert (await farebox("clock", "enable", ada.organization_id))[0] == 0
    code, _, err = await farebox("clock", "advance", ada.organization_id, "--to", "2099-01-01", "--json")
    assert (code, "more than 50 years" in err) == (1, True)
    code, out, _ = await farebox("clock", "advance", ada.organization_id, "--to", "2060-01-01", "--json")
    assert (code, json.loads(out)["now"][:10]) == (0, "2060-01-01")
    assert (await farebox("clock", "advance", ada.organization_id))[0] == 2


async def test_plans_by_command(api: Api, farebox: Command, tmp_path: Path, clock: ManualClock) -> None:
    """A file publishes a version; a hidden plan is not on offer; a wrong file names the field."""
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(PLAN))
    for version in (1, 2):
        code, out, _ = await farebox("plan", "publish", str(file), "--json")
        assert (code, json.loads(out)[0]["version"]) == (0, version)
    code, out, _ = await farebox("plan", "list", "--json")
    assert [entry["code"] for entry in json.loads(out)] == ["free", "starter", "pro", "demo"]
    assert [entry["code"] for entry in (await api.get("/plans")).data["items"]] == ["free", "starter", "pro"]
    file.write_text(json.dumps({**PLAN, "charges": [{"code": "base", "model": "flat", "amount": 1}]}))
    wrong = await farebox("plan", "publish", str(file))
    assert (wrong[0], "charges" in wrong[2]) == (2, True)
    code, out, _ = await farebox("organization", "list", "--json")
    assert (code, json.loads(out)) == (0, [])


async def test_the_web_command_serves_and_stops(settings: Settings, home: Path) -> None:
    """The first line of output names the address; TERM ends it in order, with exit code 0."""
    environment = {"FAREBOX_HOME": str(home), "PATH": "/usr/bin:/bin", "FAREBOX_LOG_FORMAT": "json"}
    for name in ("database_url", "redis_url", "token_secret"):
        environment[f"FAREBOX_{name.upper()}"] = getattr(settings, name).get_secret_value()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "farebox_cli", "web", "--port", "0",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    async with aiohttp.ClientSession() as session, session.get(f"{ready['url']}/readyz") as response:
        assert response.status == 200
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors
    assert all(json.loads(line) for line in errors.splitlines())
