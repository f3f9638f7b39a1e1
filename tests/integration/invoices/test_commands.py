"""`farebox bill`, `invoice`, `rate` and `verify` as an operator uses them."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.integration.invoices.world import World, at

from farebox.migrations import DatabaseUrls
from farebox.settings import Settings
from farebox_cli.commands import invoices as commands
from farebox_cli.commands.rate import rate
from farebox_cli.errors import CommandError


def invoke(command: str, *arguments: str, settings: Settings | None = None) -> Result:
    return CliRunner().invoke(
        rate if command == "rate" else getattr(commands, command),
        list(arguments),
        obj=settings or Settings(),
        standalone_mode=False,
    )


@pytest.fixture
def settings(database: DatabaseUrls) -> Settings:
    return Settings(database_worker_url=database.worker)


CHARGES = [
    {"code": "base", "model": "flat", "description": "Starter", "amount": "10.00"},
    {"code": "requests", "model": "per_unit", "description": "R", "included": "10000", "unit_price": "0.01"},
]


def test_rate_prices_a_quantity(tmp_path: Path) -> None:
    """The rater as a tool: a list of charges or one, as a table or as JSON."""
    path = tmp_path / "charges.json"
    path.write_text(json.dumps(CHARGES))
    assert "Total USD 60.00" in invoke("rate", "--charge", str(path), "--units", "15000").output
    path.write_text(json.dumps(CHARGES[1]))
    answer = json.loads(invoke("rate", "--charge", str(path), "--units", "10000.5", "--json").output)
    assert (answer["total_minor"], answer["lines"][0]["exact"]) == (0, "0.005")


@pytest.mark.parametrize(
    ("content", "units", "currency", "problem"),
    [
        (json.dumps(CHARGES), "many", "USD", "no decimal number"),
        (json.dumps(CHARGES), "-1", "USD", "0 or more"),
        (json.dumps(CHARGES), "1", "XXX", "unknown currency"),
        ('[{"model": "guesswork"}]', "1", "USD", "charges[0].model: expected one of"),
        ("[", "1", "USD", "is no JSON"),
    ],
)
def test_rate_says_what_is_wrong(
    tmp_path: Path, content: str, units: str, currency: str, problem: str
) -> None:
    """A clear line that names the field, never a traceback."""
    path = tmp_path / "charges.json"
    path.write_text(content)
    result = invoke("rate", "--charge", str(path), "--units", units, "--currency", currency)
    assert isinstance(result.exception, CommandError)
    assert problem in str(result.exception)


async def test_an_operator_bills_a_month_and_shows_the_invoice(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    """Run, list, show, export; the second run has nothing to do."""
    customer = await world.customer(since="2020-01-01")
    await world.rows("UPDATE billing_periods SET is_last = true")
    await world.rows("UPDATE subscriptions SET state = 'ended', ended_at = '2020-02-01Z'")
    await world.node(read_to="2020-02-02")
    await world.use(customer, "2020-01-03", 15_000)
    assert world.clock.instant > at("2020-02-02")

    ran = await asyncio.to_thread(invoke, "bill", "run", "--json", settings=settings)
    assert (ran.return_value, json.loads(ran.output)["finalized"]) == (0, 1)
    again = await asyncio.to_thread(invoke, "bill", "run", "--until", "2026-11-01", settings=settings)
    assert "invoices finalized" in again.output

    listed = await asyncio.to_thread(
        invoke, "invoice", "list", f"org_{customer.public_id}", "--json", settings=settings
    )
    [summary] = json.loads(listed.output)["invoices"]
    assert (summary["number"], summary["total_minor"]) == ("FB-000001", 60_00)
    shown = await asyncio.to_thread(invoke, "invoice", "show", "FB-000001", settings=settings)
    for text in ("USD 60.00", "5000", "billable", "15,000", "gw-1", "0 lines missing"):
        assert text in shown.output
    target = tmp_path / "proof.json"
    exported = await asyncio.to_thread(
        invoke, "invoice", "show", summary["id"], "--proof", "-o", str(target), settings=settings
    )
    assert exported.exception is None
    assert json.loads(target.read_text())["format"] == "farebox-invoice"

    missing = await asyncio.to_thread(invoke, "invoice", "show", "FB-000002", settings=settings)
    assert "There is no invoice 'FB-000002'" in str(missing.exception)


def test_without_a_database_the_command_says_what_to_do() -> None:
    """The setting's name and the remedy."""
    result = invoke("bill", "run", settings=Settings(database_worker_url=""))
    assert "FAREBOX_DATABASE_WORKER_URL is not set" in str(result.exception)
