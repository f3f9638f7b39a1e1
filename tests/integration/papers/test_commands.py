"""`farebox invoice` and `farebox issuer` as an operator uses them."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from click import Group
from click.testing import CliRunner, Result
from tests.integration.invoices.world import World, at

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox.problems import Refusal
from farebox.settings import Settings
from farebox_cli.commands.invoices import invoice
from farebox_cli.commands.papers import issuer
from farebox_cli.errors import CommandError


@pytest_asyncio.fixture
async def world(database: DatabaseUrls) -> AsyncIterator[World]:
    """A house with one invoice, FB-000001 of 60.00, issued in December 2026."""
    worker = Database(database.worker)
    try:
        made = World(worker, ManualClock(at("2026-12-01T00:10")))
        await made.node(read_to="2026-12-01T00:05")
        customer = await made.customer()
        await made.use(customer, "2026-11-03T12:00", 15_000)
        await made.run()
        yield made
    finally:
        await worker.close()


async def run(database: DatabaseUrls, group: Group, *arguments: str) -> Result:
    settings = Settings(database_worker_url=database.worker)
    return await asyncio.to_thread(
        CliRunner().invoke, group, list(arguments), obj=settings, standalone_mode=False
    )


async def test_an_invoice_is_credited_and_printed(
    world: World, database: DatabaseUrls, tmp_path: Path
) -> None:
    """A part by line, then the rest; both papers by their numbers; the exported months sum to zero."""
    part = await run(database, invoice, "credit", "FB-000001", "--reason", "Outage", "--line", "2=20.00")
    assert part.exception is None, part.exception
    assert "Credit note FB-CN-000001" in part.output
    rest = await run(database, invoice, "credit", "FB-000001", "--reason", "Closed", "--json")
    assert json.loads(rest.output)["credit_note"]["total_minor"] == -40_00
    for number in ("FB-000001", "FB-CN-000002"):
        path = tmp_path / f"{number}.pdf"
        assert (await run(database, invoice, "pdf", number, "-o", str(path))).exception is None
        assert path.read_bytes().startswith(b"%PDF-")
    await world.rows("SELECT 1")
    [issued] = await world.rows("SELECT to_char(issued_at, 'YYYY-MM') AS month FROM credit_notes LIMIT 1")
    amounts = []
    for month in {"2026-12", issued["month"]}:
        target = tmp_path / f"{month}.csv"
        made = await run(database, invoice, "export", "--month", month, "-o", str(target))
        assert made.exception is None, made.exception
        amounts += [float(row["amount"]) for row in csv.DictReader(target.open(newline=""))]
    assert sorted(amounts) == [-30.0, -20.0, -10.0, 10.0, 50.0]
    folder = tmp_path / "papers"
    await run(database, invoice, "export", "--month", "2026-12", "--format", "pdf", "-o", str(folder))
    assert (folder / "FB-000001.pdf").exists()
    lines = tmp_path / "december.jsonl"
    await run(database, invoice, "export", "--month", "2026-12", "--format", "json", "-o", str(lines))
    assert json.loads(lines.read_text().splitlines()[0])["invoice"]["number"] == "FB-000001"


async def test_an_invoice_is_given_up_reopened_and_voided(world: World, database: DatabaseUrls) -> None:
    """Each act says what the invoice is then, and one that is not allowed says what is."""
    for verb, state in (("write-off", "uncollectible"), ("reopen", "finalized"), ("void", "void")):
        done = await run(database, invoice, verb, "FB-000001", "--reason", "Test")
        assert f"Invoice FB-000001 is {state}." in done.output
    refused = await run(database, invoice, "credit", "FB-000001", "--reason", "Late")
    assert isinstance(refused.exception, Refusal)
    [actor] = await world.rows("SELECT DISTINCT actor FROM invoice_events")
    assert actor["actor"].startswith("command ")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("credit", "FB-000001", "--reason", "x", "--line", "two"), "expected a position"),
        (("credit", "FB-000001", "--reason", "x", "--line", "1=a"), "cannot be accepted"),
        (("credit", "FB-9", "--reason", "x"), "no invoice"),
        (("pdf", "FB-9"), "no invoice"),
        (("export", "--month", "2026-13", "-o", "x"), "expected a month"),
    ],
)
async def test_what_is_wrong_is_said(
    world: World, database: DatabaseUrls, arguments: tuple[str, ...], problem: str
) -> None:
    """A clear line, and nothing was done."""
    result = await run(database, invoice, *arguments)
    assert isinstance(result.exception, CommandError | Refusal)
    assert problem in str(getattr(result.exception, "message", result.exception))
    assert await world.rows("SELECT 1 FROM credit_notes") == []


async def test_the_issuer_is_described(world: World, database: DatabaseUrls) -> None:
    """What is left out stays; a VAT number of the wrong form is refused."""
    await run(database, issuer, "set", "Farebox", "--name", "Farebox SAS", "--country", "FR")
    await run(database, issuer, "set", "Farebox", "--city", "Paris", "--prefix", "FR-")
    [row] = json.loads((await run(database, issuer, "list", "--json")).output)
    assert (row["legal_name"], row["city"], row["country"], row["number_prefix"]) == (
        "Farebox SAS", "Paris", "FR", "FR-",
    )  # fmt: skip
    wrong = await run(database, issuer, "set", "Farebox", "--tax-id", "FR1")
    assert isinstance(wrong.exception, Refusal)
