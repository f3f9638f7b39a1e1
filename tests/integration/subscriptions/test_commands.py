"""`farebox plan` and `farebox subscription`, run as an operator runs them."""

import asyncio
import json
from pathlib import Path
from typing import Protocol

import pytest
from tests.integration.subscriptions.history import subscriptions, transitions
from tests.support.api_client import Api

from farebox.db import Database
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
        capsys.readouterr()  # what the API has logged so far
        code = await asyncio.to_thread(run, list(argv))
        written = capsys.readouterr()
        return code, written.out, written.err

    return command


async def test_everybody_on_a_version_is_moved(
    api: Api, worker: Database, farebox: Command, tmp_path: Path
) -> None:
    """A dry run changes nothing; a move is done once; a draft is no target until it is published."""
    for number in range(3):
        await api.sign_up(f"p{number}@example.com", f"Company {number}")
    file = tmp_path / "free.json"
    charge = {"code": "base", "model": "flat", "description": "Free", "amount": "0"}
    file.write_text(json.dumps({"code": "free", "name": "Free", "charges": [charge]}))
    drafted = await farebox("plan", "draft", str(file), "--json")
    assert (drafted[0], json.loads(drafted[1])[0]["state"]) == (0, "draft")
    move = ("plan", "move", "--from", "free-1", "--to", "free-2", "--at", "now", "--json")
    assert (await farebox(*move))[0] == 1
    assert (await farebox("plan", "publish", "free-2"))[0] == 0
    dry = await farebox(*move, "--dry-run")
    assert json.loads(dry[1]) == {"found": 3, "moved": 3, "scheduled": 0, "left": 0, "dry_run": True}
    assert len(await subscriptions(worker)) == 3
    assert json.loads((await farebox(*move))[1])["moved"] == 3
    assert json.loads((await farebox(*move))[1])["found"] == 0
    assert (await farebox("plan", "withdraw", "free-1"))[0] == 0
    assert (await farebox("plan", "delete", "free"))[0] == 1
    listed = json.loads((await farebox("plan", "list", "--all", "--json"))[1])
    assert [(each["state"], each["organizations"]) for each in listed if each["code"] == "free"] == [
        ("withdrawn", 0),
        ("published", 3),
    ]


async def test_an_operator_acts_on_a_subscription(api: Api, worker: Database, farebox: Command) -> None:
    """Each command shows what it led to; a refusal is one line and a code."""
    ada = await api.sign_up()
    changed = await farebox("subscription", "change", ada.organization_id, "pro", "--when", "now", "--json")
    assert json.loads(changed[1])["plan"]["code"] == "pro"
    for name, state in (("suspend", "suspended"), ("reinstate", "active"), ("pause", "paused"),
                        ("resume", "active"), ("cancel", "cancelled")):  # fmt: skip
        done = await farebox("subscription", name, ada.organization_id, "--reason", "INC-17", "--json")
        assert (done[0], json.loads(done[1])["state"]) == (0, state)
    refused = await farebox("subscription", "resume", ada.organization_id, "--reason", "x")
    assert (refused[0], "the subscription is cancelled" in refused[2]) == (1, True)
    shown = await farebox("subscription", "show", ada.organization_id)
    assert (shown[0], "pro-1" in shown[1], "cancelled" in shown[1]) == (0, True, True)
    assert (await farebox("subscription", "show", "org_0000000000"))[0] == 1
    assert (await transitions(worker))[-1] == ("cancel", "active", "cancelled")


async def test_coupons_and_credits_by_command(farebox: Command, api: Api) -> None:
    """Offer, redeem, withdraw; grant, list, expire: what the owner then sees, and refusals as one line."""
    ada = await api.sign_up()
    offer = ("coupon", "offer", "HALF", "--name", "Half", "--percent", "50", "--periods", "2")
    assert (await farebox(*offer))[0] == 0
    code, _, said = await farebox(*offer)
    assert (code != 0, "is taken" in said) == (True, True)
    assert (await farebox("coupon", "offer", "X", "--name", "X"))[0] == 2
    assert (await farebox("coupon", "redeem", ada.organization_id, "HALF"))[0] == 0
    assert (await farebox("coupon", "withdraw", "HALF"))[0] == 0
    [listed] = json.loads((await farebox("coupon", "list", "--json"))[1])
    assert (listed["code"], listed["state"], listed["redeemed"]) == ("HALF", "archived", 1)
    assert (await api.get("/billing/coupons", by=ada)).data["items"][0]["code"] == "HALF"
    grant = ("credit", "grant", ada.organization_id, "5000", "USD", "--kind", "prepaid", "--reason", "order")
    assert (await farebox(*grant))[0] == 0
    assert (await farebox(*grant, "--expires", "2020-01-01T00:00:00Z"))[0] != 0
    shown = json.loads((await farebox("credit", "list", ada.organization_id, "--json"))[1])
    assert [(each["kind"], each["remaining"]["minor"]) for each in shown["items"]] == [("prepaid", 5000)]
    credit = shown["items"][0]["id"]
    assert (await farebox("credit", "expire", ada.organization_id, credit))[0] == 0
    assert (await api.get("/billing/credits", by=ada)).data["left"] == []
