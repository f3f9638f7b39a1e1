"""`farebox payment`, `farebox webhook` and `farebox reconcile`, run as operators run them."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.integration.payments.house import House
from tests.integration.payments.test_webhooks import begun, confirm

from farebox import ids
from farebox.payments import service
from farebox_cli.__main__ import run
from farebox_worker.payments import inbox

SECRETS = ("database_url", "database_worker_url", "redis_url", "token_secret", "stripe_secret_key")


class Command(Protocol):
    """Runs `farebox` with arguments; gives its exit code and its output, read from JSON where it is that."""

    async def __call__(self, *argv: str) -> tuple[int, Any]: ...


@pytest.fixture
def farebox(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The `farebox` command on this database and this sandbox."""
    monkeypatch.setenv("FAREBOX_HOME", str(tmp_path))
    for name in SECRETS:
        monkeypatch.setenv(f"FAREBOX_{name.upper()}", getattr(house.settings, name).get_secret_value())
    monkeypatch.setenv("FAREBOX_STRIPE_API_URL", house.settings.stripe_api_url)

    async def command(*argv: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = await asyncio.to_thread(run, list(argv))
        written = capsys.readouterr()
        lines = [line for line in written.out.splitlines() if "[info" not in line and "[error" not in line]
        out = "\n".join(lines)
        return code, json.loads(out) if "--json" in argv and code == 0 else out + written.err

    return command


async def test_a_payment_is_listed_shown_and_refunded(house: House, farebox: Command) -> None:
    """The list, one of it, a part given back and then the rest; more than is left is refused in one line."""
    await house.card()
    invoice = await house.invoice(3000)
    made = await service.collect(house.till, house.organization, invoice, actor="system test")
    name = ids.encode("pay", made.id)
    code, listed = await farebox("payment", "list", "--organization", house.person.organization_id, "--json")
    assert (code, [each["id"] for each in listed]) == (0, [name])
    assert (await farebox("payment", "list", "--parked", "--json"))[1] == []
    code, shown = await farebox("payment", "show", name, "--json")
    assert code == 0
    assert str(made.charge_id) in json.dumps(shown)
    assert (await farebox("payment", "refund", name, "--amount", "10.00", "--reason", "test"))[0] == 0
    assert await house.owed(invoice) == ("finalized", 1000)
    assert (await farebox("payment", "refund", name, "--amount", "20.01", "--reason", "test"))[0] == 1
    after = ("payment", "refund", name, "--reason", "test", "--after-credit-note")
    assert (await farebox(*after))[0] == 0
    assert await house.owed(invoice) == ("finalized", 1000)
    assert (await house.one("SELECT refunded_minor FROM payments"))["refunded_minor"] == 3000
    assert (await farebox("payment", "show", "pay_nothing"))[0] == 2


async def test_a_transfer_is_recorded_once(house: House, farebox: Command) -> None:
    """By its bank reference; an amount that is none is refused with its remedy."""
    invoice = await house.invoice(3000)
    record = ("payment", "record", house.person.organization_id, "30.00", "--reference", "DE 77")
    assert (await farebox(*record))[0] == 0
    assert await house.owed(invoice) == ("paid", 0)
    code, said = await farebox(*record)
    assert code == 1
    assert "DE 77" in said or "reference" in said
    code, said = await farebox(*record[:3], "1e3", "--reference", "DE 78")
    assert code == 1
    assert "digits 0-9" in said
    assert len(await house.rows("SELECT 1 FROM payments")) == 1


async def test_an_invoice_is_collected(house: House, farebox: Command) -> None:
    """With the saved card; without one the command says so and fails."""
    invoice = ids.encode("inv", await house.invoice(3000))
    assert (await farebox("payment", "collect", invoice))[0] == 1
    await house.card()
    assert (await farebox("payment", "collect", invoice))[0] == 0
    assert (await farebox("payment", "collect", invoice))[0] == 1
    assert await house.charged() == [3000]


async def test_a_parked_event_is_listed_and_replayed(house: House, farebox: Command) -> None:
    """An event that waits for a person is found by its state and handled again; an unknown one is none."""
    invoice = await house.invoice(1900)
    intent = await begun(house, invoice)
    await house.rows("UPDATE payments SET amount_minor = 1901 RETURNING id")
    await confirm(house, intent)
    await house.sandbox_asked("POST", "deliveries/release", {})
    await inbox.empty(house.till)
    parked = (await farebox("webhook", "list", "--state", "parked", "--json"))[1]
    [event] = [each for each in parked if each["kind"] == "payment_intent.succeeded"]
    assert "1901" in event["error"] or "19.01" in event["error"]
    await house.rows("UPDATE payments SET amount_minor = 1900 RETURNING id")
    name = str(event.get("event_id") or event.get("event") or event.get("id"))
    assert (await farebox("webhook", "replay", name))[0] == 0
    house.clock.advance(timedelta(minutes=5))  # the command lives by the machine's clock
    await inbox.empty(house.till)
    assert await house.owed(invoice) == ("paid", 0)
    assert (await farebox("webhook", "replay", "evt_nobody"))[0] == 1


async def test_a_day_is_reconciled(house: House, farebox: Command) -> None:
    """What webhooks did not tell is repaired and printed; a day that is none is refused."""
    invoice = await house.invoice(1900)
    await confirm(house, await begun(house, invoice))
    day = house.clock.now().date().isoformat()
    code, reports = await farebox("reconcile", "--day", day, "--json")
    assert (code, [each["repaired"] for each in reports]) == (0, [1])
    assert await house.owed(invoice) == ("paid", 0)
    code, reports = await farebox("reconcile", "--day", day, "--json")
    assert [each["differences"] for each in reports] == [[]]
    assert (await farebox("reconcile", "--day", "yesterday"))[0] == 2
