"""`farebox key`: what an operator does at a terminal holds in the API, and a key's text is only on stdout."""

import asyncio
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Protocol

import pytest
from tests.support.api_client import Api

from farebox.settings import Settings
from farebox_cli.__main__ import run


class Command(Protocol):
    """Runs `farebox` with arguments; gives its exit code, its output and its errors."""

    async def __call__(self, *argv: str) -> tuple[int, str, str]: ...


@pytest.fixture
def farebox(
    settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The `farebox` command on this database."""
    monkeypatch.setenv("FAREBOX_HOME", str(home))
    for name in ("database_url", "database_worker_url", "redis_url", "token_secret"):
        monkeypatch.setenv(f"FAREBOX_{name.upper()}", getattr(settings, name).get_secret_value())

    async def command(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(run, list(argv))
        written = capsys.readouterr()
        return code, written.out, written.err

    return command


async def test_a_key_lives_at_the_terminal(api: Api, farebox: Command) -> None:
    """Issued, rotated, revoked: the text goes to standard output alone, the state is the API's."""
    ada = await api.sign_up()
    org = ada.organization_id
    code, text, told = await farebox(
        "key", "issue", org, "--name", "ci", "--test", "--scope", "GET messages", "--cidr", "10.0.0.0/8"
    )
    assert code == 0, told
    assert text.startswith("fbx_test_")
    assert text.strip() not in told
    [listed] = json.loads((await farebox("key", "list", org, "--json"))[1])
    assert (listed["name"], listed["scopes"], listed["cidrs"]) == ("ci", ["GET messages"], ["10.0.0.0/8"])
    code, successor, _ = await farebox("key", "rotate", org, listed["id"], "--grace-hours", "0")
    assert code == 0
    assert successor != text
    states = {key["id"]: key["state"] for key in (await api.get("/keys", by=ada)).data["items"]}
    assert states.pop(listed["id"]) == "revoking"
    [new] = states
    assert (await farebox("key", "revoke", org, new, "--as", ada.email))[0] == 0
    assert (await api.get(f"/keys/{new}", by=ada)).data["state"] == "revoking"
    for wrong in (
        ("key", "issue", org, "--name", "x", "--test", "--scope", "get messages"),
        ("key", "issue", org, "--name", "x", "--test", "--cidr", "10.0.0.0/33"),
        ("key", "issue", "org_0000000000", "--name", "x", "--test"),
        ("key", "revoke", org, new, "--as", "nobody@example.com"),
    ):
        assert (await farebox(*wrong))[0] in {1, 2}
    assert len((await api.get("/keys", by=ada)).data["items"]) == 2


async def test_files_of_keys_are_imported_whole(api: Api, farebox: Command, tmp_path: Path) -> None:
    """Texts are hashed on this machine and show up nowhere; a bad row is named and nothing is imported."""
    ada = await api.sign_up()
    texts = [f"sk_live_{number:064x}" for number in range(2)]
    file = tmp_path / "keys.csv"
    digest = hashlib.sha256(b"another text").hexdigest()
    heading = "name,key,sha256,cidrs\n"
    for bad, said in (
        ("one,short,,\n", "Line 2: key"),
        (f"one,{texts[0]},{digest},\n", "Line 2: give either"),
        (f"one,{texts[0]},,\ntwo,,xyz,\n", "Line 3: sha256"),
        (f"one,{texts[0]},,not-an-address\n", "Line 2: cidrs"),
        (f"one,{texts[0]},,,,\n", "Line 2: it has more"),
        ("", "has no keys"),
    ):
        file.write_text(heading + bad)
        code, out, err = await farebox("key", "import", ada.organization_id, str(file))
        assert code == 2
        assert said in err
        assert texts[0] not in out + err
    assert (await api.get("/keys", by=ada)).data["items"] == []
    file.write_text(
        f"{heading}one,{texts[0]},,10.0.0.0/8; 2001:db8::/32\ntwo,{texts[1]},,\nthree,,{digest},\n"
    )
    code, out, err = await farebox("key", "import", ada.organization_id, str(file), "--json")
    assert code == 0, err
    items = {key["name"]: key for key in (await api.get("/keys", by=ada)).data["items"]}
    assert {items[name]["id"] for name in ("one", "two", "three")} == set(json.loads(out))
    assert (items["one"]["hint"], items["three"]["hint"]) == (texts[0][-4:], "")
    assert items["one"]["cidrs"] == ["10.0.0.0/8", "2001:db8::/32"]
    lines = tmp_path / "keys.jsonl"
    lines.write_text(json.dumps({"name": "again", "key": texts[1]}) + "\n")
    code, _, err = await farebox("key", "import", ada.organization_id, str(lines))
    assert code == 1
    assert "known already" in err


async def test_a_leak_is_reported_on_standard_input(
    api: Api, farebox: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is never an argument that other users of the machine could read."""
    ada = await api.sign_up()
    issued = (await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)).data
    monkeypatch.setattr(sys, "stdin", io.StringIO(issued["key"] + "\n"))
    assert (await farebox("key", "report-leak", "--found-at", "https://example.com"))[0] == 0
    assert (await api.get(f"/keys/{issued['id']}", by=ada)).data["revoked_reason"] == "leaked"
