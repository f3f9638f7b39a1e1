"""Credit notes through the real database: what each takes back, and where the amount goes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError
from tests.integration.invoices.world import Customer, World, at

from farebox import ids
from farebox.clock import ManualClock
from farebox.credit_notes import service
from farebox.credit_notes.model import CreditNoteLine
from farebox.credit_notes.service import NoteView, Wanted
from farebox.credits import service as credits_
from farebox.db import Database
from farebox.invoices import acts, settlement
from farebox.invoices import service as invoices
from farebox.migrations import DatabaseUrls
from farebox.money import Money
from farebox.problems import Refusal
from farebox.taxes import service as taxes
from farebox.taxes.deciding import Rate

NOW = at("2026-12-02T09:00")


@pytest_asyncio.fixture
async def world(database: DatabaseUrls) -> AsyncIterator[World]:
    """A house on 1 December 2026 whose customers are German: 19 % on top."""
    worker = Database(database.worker)
    try:
        made = World(worker, ManualClock(at("2026-12-01T00:10")))
        async with worker.transaction() as session:
            await taxes.set_rate(session, Rate("DE", "", "VAT", Decimal(19), False, at("2020-01-01")))
        await made.node(read_to="2026-12-01T00:05")
        yield made
    finally:
        await worker.close()


async def billed(world: World, *, credit: int = 0) -> tuple[Customer, UUID]:
    """Bill 15,000 requests: 10.00 and 50.00, and 11.40 of tax."""
    customer = await world.customer()
    await world.rows(
        "INSERT INTO billing_profiles (organization_id, legal_name, country) VALUES (:id, 'Acme GmbH', 'DE')",
        id=customer.id,
    )
    if credit:
        async with world.database.transaction() as session:
            await credits_.grant(
                session, customer.id, kind="promotional", amount=Money("USD", credit), expires_at=None,
                source="test", now=at("2026-11-02"),
            )  # fmt: skip
    await world.use(customer, "2026-11-03T12:00", 15_000)
    report = await world.run()
    assert report.failures == []
    return customer, (await world.invoices(customer))[-1]["id"]


async def credit(
    world: World, invoice: UUID, lines: dict[int, int | None] | None = None, **more: Any
) -> NoteView:
    async with world.database.transaction() as session:
        wanted = Wanted("Agreed by phone", lines, **more)
        return await service.issue(session, invoice, wanted, actor="operator test", now=NOW)


async def pay(world: World, invoice: UUID, minor: int, *, now: datetime = NOW) -> None:
    async with world.database.transaction() as session:
        await settlement.settle(session, invoice, Money("USD", minor), at=now)


async def state(world: World, invoice: UUID) -> tuple[str, int, int]:
    """Return an invoice's state, what is open, and what notes took off."""
    [row] = await world.rows("SELECT * FROM invoices WHERE id = :id", id=invoice)
    return row["state"], row["open_minor"], row["credited_minor"]


async def balance(world: World, customer: Customer) -> int:
    async with world.database.transaction() as session:
        return (await credits_.left(session, customer.id)).get("USD", 0)


def effect(note: NoteView) -> tuple[int, int, int, int]:
    """Return what was taken off, returned to credits, given as balance, planned as refunds."""
    row = note.note
    return row.taken_off_minor, row.returned_minor, row.balance_minor, row.refund_minor


async def test_a_whole_note_on_an_unpaid_invoice_settles_it(world: World) -> None:
    """Every line and every tax is the invoice's with the other sign, the number is the first of its own
    series, and nothing is asked for any more.
    """
    _, invoice = await billed(world)
    note = await credit(world, invoice)
    assert note.note.number == "FB-CN-000001"
    assert [(each.line.charge_code, each.amount.minor) for each in note.lines] == [
        ("base", -10_00), ("requests", -50_00),
    ]  # fmt: skip
    assert [(each.tax.name, each.base.minor, each.amount.minor) for each in note.taxes] == [
        ("VAT", -60_00, -11_40)
    ]
    assert (note.note.total_minor, effect(note)) == (-71_40, (71_40, 0, 0, 0))
    assert await state(world, invoice) == ("paid", 0, 71_40)
    [event] = await world.rows("SELECT * FROM invoice_events")
    assert (event["verb"], event["actor"], event["reason"]) == ("credit", "operator test", "Agreed by phone")


async def test_parts_come_off_what_is_open_before_what_was_paid(world: World) -> None:
    """71.40 with 40.00 paid: a note of 23.80 leaves 7.60 open; one of the rest takes that off, and gives
    40.00 back as balance.
    """
    customer, invoice = await billed(world)
    await pay(world, invoice, 40_00)
    first = await credit(world, invoice, {2: 20_00})
    assert (first.note.subtotal_minor, first.note.tax_minor) == (-20_00, -3_80)
    assert (effect(first), await state(world, invoice)) == ((23_80, 0, 0, 0), ("finalized", 7_60, 23_80))
    rest = await credit(world, invoice)
    assert [(each.line.position, each.amount.minor) for each in rest.lines] == [(1, -10_00), (2, -30_00)]
    assert (effect(rest), await state(world, invoice)) == ((7_60, 0, 40_00, 0), ("paid", 0, 31_40))
    assert await balance(world, customer) == 40_00


async def test_credits_that_paid_get_their_part_back(world: World) -> None:
    """20.00 of 71.40 were paid by credit and the rest with money: a note of everything returns both to where
    they came from.
    """
    customer, invoice = await billed(world, credit=20_00)
    await pay(world, invoice, 51_40)
    note = await credit(world, invoice)
    assert effect(note) == (0, 20_00, 51_40, 0)
    grants = await world.rows("SELECT kind, remaining_minor FROM credit_grants ORDER BY kind")
    assert grants == [
        {"kind": "balance", "remaining_minor": 51_40}, {"kind": "promotional", "remaining_minor": 20_00},
    ]  # fmt: skip
    assert await balance(world, customer) == 71_40


async def test_no_more_is_credited_than_was_invoiced(world: World) -> None:
    """Not of a line, not of the whole, not on a void invoice, and not by whoever writes the rows himself."""
    _, invoice = await billed(world)
    with pytest.raises(Refusal, match="at most what is left") as refused:
        await credit(world, invoice, {1: 10_01})
    assert refused.value.details == {"line": 1, "left": "USD 10.00"}
    note = await credit(world, invoice, {1: None})
    with pytest.raises(Refusal, match="at most what is left"):
        await credit(world, invoice, {1: 1})
    [line] = await world.rows("SELECT * FROM credit_note_lines")
    with pytest.raises(DBAPIError, match="do not sum up"):
        async with world.database.transaction() as session:
            await session.execute(
                insert(CreditNoteLine), dict(line) | {"id": ids.uuid7(), "position": 9, "amount_minor": -1}
            )
    for change in ("UPDATE credit_notes SET total_minor = -1", "DELETE FROM credit_notes"):
        with pytest.raises(DBAPIError, match=r"permission denied"):
            await world.rows(change)
    await credit(world, invoice)
    with pytest.raises(Refusal, match="has been credited"):
        await credit(world, invoice)
    assert note.invoice.id == invoice


async def test_many_at_once_credit_the_invoice_once(world: World) -> None:
    """Twenty operators credit the whole invoice at the same moment: one note, one number, one effect."""
    customer, invoice = await billed(world)
    await pay(world, invoice, 71_40)
    made = await asyncio.gather(*(credit(world, invoice) for _ in range(20)), return_exceptions=True)
    notes = [each for each in made if isinstance(each, NoteView)]
    assert [each.note.number for each in notes] == ["FB-CN-000001"]
    assert all(isinstance(each, NoteView | Refusal) for each in made)
    assert await balance(world, customer) == 71_40
    assert await world.rows("SELECT next_number FROM credit_note_numbers") == [{"next_number": 2}]


async def test_an_unpaid_invoice_is_voided_once(world: World) -> None:
    """It keeps number and sums, gives back the credit it used, and takes neither payment nor credit note."""
    customer, invoice = await billed(world, credit=20_00)
    assert await balance(world, customer) == 0
    async with world.database.transaction() as session:
        row = await acts.void(session, invoice, actor="operator test", reason="Wrong plan", now=NOW)
    assert (row.state, row.number, row.total_minor) == ("void", "FB-000001", 71_40)
    assert await balance(world, customer) == 20_00
    for again in (acts.void, acts.write_off, acts.reopen):
        with pytest.raises(Refusal):
            async with world.database.transaction() as session:
                await again(session, invoice, actor="operator test", reason="Again", now=NOW)
    with pytest.raises(Refusal, match="void cannot be credited"):
        await credit(world, invoice)
    assert [each["verb"] for each in await world.rows("SELECT verb FROM invoice_events")] == ["void"]


async def test_a_paid_invoice_is_not_voided(world: World) -> None:
    """Money met it, or a credit note: what is left is credited instead."""
    _, invoice = await billed(world)
    await pay(world, invoice, 1)
    with pytest.raises(Refusal, match="issue a credit note"):
        async with world.database.transaction() as session:
            await acts.void(session, invoice, actor="operator test", reason="No", now=NOW)
    assert await state(world, invoice) == ("finalized", 71_39, 0)


async def test_an_invoice_is_given_up_and_asked_for_again(world: World) -> None:
    """Before its due date it is finalized again, after it overdue; each act is written down."""
    _, invoice = await billed(world)
    for now, again in ((NOW, "finalized"), (NOW + timedelta(days=30), "overdue")):
        async with world.database.transaction() as session:
            gone = await acts.write_off(session, invoice, actor="operator a", reason="Bankrupt", now=now)
            assert gone.state == "uncollectible"
            back = await acts.reopen(session, invoice, actor="operator b", reason="Not so", now=now)
            assert back.state == again
    events = await world.rows("SELECT verb, actor FROM invoice_events ORDER BY id")
    assert [(each["verb"], each["actor"]) for each in events] == [
        ("write_off", "operator a"), ("reopen", "operator b"),
    ] * 2  # fmt: skip


async def test_the_proof_stays_what_it_was(world: World) -> None:
    """A credit note is a document of its own: the invoice's export stays the same, but for its state."""
    _, invoice = await billed(world)

    async def exported() -> dict[str, Any]:
        async with world.database.transaction() as session:
            return await invoices.export(session, invoice)

    before = await exported()
    await credit(world, invoice, {2: 20_00})
    assert await exported() == before
    await credit(world, invoice)
    after = await exported()
    assert after["invoice"].pop("state") == "paid"
    assert before["invoice"].pop("state") == "finalized"
    assert after == before
