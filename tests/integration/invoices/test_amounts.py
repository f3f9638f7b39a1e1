"""Taxes, coupons and credits through the real run, settled in the real database, and proven from the
export."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from tests.integration.invoices.world import Customer, World, at, brief

from farebox.coupons import service as coupons
from farebox.credits import service as credits_
from farebox.db import Database
from farebox.invoices import service, settlement
from farebox.invoices.states import TransitionError
from farebox.migrations import DatabaseUrls
from farebox.money import CurrencyError, Money
from farebox.problems import Refusal
from farebox.taxes import service as taxes
from farebox.taxes.deciding import Rate
from farebox_cli.verify import expectation
from farebox_cli.verify.document import read
from farebox_cli.verify.recount import Counted

NOW = datetime(2026, 12, 1, 0, 10, tzinfo=UTC)


async def german(world: World, customer: Customer, **members: Any) -> None:
    """Give the customer an address in Germany, and Germany its tax."""
    values = {"country": "DE", "net_days": 30, "collection": "send_invoice"} | members
    names = ", ".join(values)
    async with world.database.transaction() as session:
        await taxes.set_rate(
            session, Rate("DE", "", "VAT", Decimal(19), inclusive=False, valid_from=at("2020-01-01"))
        )
    await world.rows(
        f"INSERT INTO billing_profiles (organization_id, legal_name, {names}) "
        f"VALUES (:id, 'Acme GmbH', {', '.join(':' + name for name in values)})",
        id=customer.id, **values,
    )  # fmt: skip


async def invoiced(world: World, customer: Customer, units: int) -> dict[str, Any]:
    await world.node(read_to="2026-12-01T00:05")
    await world.use(customer, "2026-11-03T12:00", units)
    report = await world.run()
    assert report.failures == []
    return (await world.invoices(customer))[-1]


async def export(world: World, invoice: dict[str, Any], folder: Path) -> Path:
    async with world.database.transaction() as session:
        document = await service.export(session, invoice["id"])
    path = folder / "invoice.json"
    path.write_text(json.dumps(document))
    return path


async def test_coupon_tax_and_credit_come_in_their_order(world: World, tmp_path: Path) -> None:
    """60.00 less 10 % is 54.00; 19 % are 10.26; 64.26 less 20.00 of credit leaves 44.26, due in 30 days."""
    customer = await world.customer()
    await german(world, customer)
    async with world.database.transaction() as session:
        await coupons.offer(
            session, coupons.Offer(code="TENTH", name="A tenth", percent=Decimal(10), periods=1)
        )
        await coupons.redeem(session, customer.id, "TENTH", at=at("2026-11-02"))
        await credits_.grant(
            session, customer.id, kind="promotional", amount=Money("USD", 20_00), expires_at=None,
            source="test", now=at("2026-11-02"),
        )  # fmt: skip
    invoice = await invoiced(world, customer, 15_000)
    assert brief(invoice) == [
        ("charge", "base", 1, 10_00), ("charge", "requests", 5_000, 50_00), ("discount", "TENTH", 1, -6_00),
    ]  # fmt: skip
    sums = ("subtotal_minor", "tax_minor", "total_minor", "credits_minor", "open_minor")
    assert [invoice[name] for name in sums] == [54_00, 10_26, 64_26, 20_00, 44_26]
    assert invoice["due_at"] - invoice["finalized_at"] == timedelta(days=30)
    assert (invoice["state"], invoice["collection"]) == ("finalized", "send_invoice")
    [left] = await world.rows("SELECT periods_left FROM coupon_redemptions")
    [grant] = await world.rows("SELECT remaining_minor FROM credit_grants")
    assert (left["periods_left"], grant["remaining_minor"]) == (0, 0)
    # There are no raw lines behind this world, so what is counted differs; the money is rated from it anew.
    document = json.loads((await export(world, invoice, tmp_path)).read_text())
    proof = read(document)
    derived = expectation.lines(proof.terms, Counted(proof.terms), "USD", is_whole=False)
    assert [(each.kind, each.code, each.minor) for each in derived] == [
        ("charge", "base", 10_00), ("charge", "requests", 50_00), ("discount", "TENTH", -6_00),
    ]  # fmt: skip
    assert expectation.taxes(proof, 54_00) == [10_26]


async def test_a_credit_that_covers_all_makes_it_paid(world: World) -> None:
    """Nothing is asked for; the work that follows is written all the same."""
    customer = await world.customer()
    async with world.database.transaction() as session:
        await credits_.grant(
            session, customer.id, kind="prepaid", amount=Money("USD", 100_00), expires_at=at("2026-12-01"),
            source="test", now=at("2026-11-02"),
        )  # fmt: skip
        await credits_.grant(
            session, customer.id, kind="promotional", amount=Money("USD", 5_00), expires_at=at("2026-11-30"),
            source="test", now=at("2026-11-02"),
        )  # fmt: skip
    invoice = await invoiced(world, customer, 0)
    assert (invoice["state"], invoice["open_minor"], invoice["due_at"]) == ("paid", 0, None)
    # The one that ended before the period pays nothing and is written off at its expiry; so is what is left.
    entries = await world.rows("SELECT kind, amount_minor FROM credit_entries ORDER BY kind, amount_minor")
    assert [(entry["kind"], entry["amount_minor"]) for entry in entries] == [
        ("burn", -10_00), ("expire", -90_00), ("expire", -5_00), ("grant", 5_00), ("grant", 100_00),
    ]  # fmt: skip
    before = await world.everything()
    await world.run()
    assert await world.everything() == before


async def test_a_negative_total_becomes_balance_and_pays_the_next(world: World) -> None:
    """Never a due amount; the balance burns on the next invoice."""
    customer = await world.customer()
    await invoiced(world, customer, 20_000)
    await world.use(customer, "2026-11-03T12:00", -12_000)
    world.clock.instant = at("2027-01-01T00:10")
    await world.node(read_to="2027-01-01T00:05")
    await world.run()
    second = (await world.invoices(customer))[1]
    assert (second["total_minor"], second["open_minor"], second["due_at"]) == (-90_00, 0, None)
    [grant] = await world.rows("SELECT kind, remaining_minor, source FROM credit_grants")
    assert (grant["kind"], grant["remaining_minor"]) == ("balance", 90_00)
    world.clock.instant = at("2027-02-01T00:10")
    await world.node(read_to="2027-02-01T00:05")
    await world.run()
    third = (await world.invoices(customer))[2]
    assert (third["state"], third["credits_minor"]) == ("paid", 10_00)


async def test_settling_never_goes_beyond_what_is_open(world: World) -> None:
    """Partial, over-payment, refund, paid again: two at once take turns, and the rest is returned."""
    customer = await world.customer()
    invoice = await invoiced(world, customer, 15_000)

    async def pay(minor: int) -> settlement.Settled:
        async with world.database.transaction() as session:
            return await settlement.settle(session, invoice["id"], Money("USD", minor), at=NOW)

    assert await pay(20_00) == settlement.Settled(Money("USD", 20_00), Money("USD", 0), "finalized")
    both = await asyncio.gather(pay(40_00), pay(40_00))
    assert sorted(each.applied.minor for each in both) == [0, 40_00]
    assert {each.state for each in both} == {"paid"}
    async with world.database.transaction() as session:
        late = NOW + timedelta(days=20)
        back = await settlement.unsettle(session, invoice["id"], Money("USD", 70_00), at=late)
        assert back == settlement.Settled(Money("USD", 60_00), Money("USD", 10_00), "overdue")
        credited = await settlement.take_off(session, invoice["id"], Money("USD", 15_00), at=late)
        assert (credited.applied.minor, credited.state) == (15_00, "overdue")
        await settlement.write_off(session, invoice["id"])
        with pytest.raises(TransitionError):
            await settlement.fall_due(session, invoice["id"])
    assert await pay(100_00) == settlement.Settled(Money("USD", 45_00), Money("USD", 55_00), "paid")
    for amount, error in ((Money("EUR", 1), CurrencyError), (Money("USD", 0), ValueError)):
        with pytest.raises(error):
            async with world.database.transaction() as session:
                await settlement.settle(session, invoice["id"], amount, at=NOW)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE invoices SET paid_minor = total_minor + 1", "ck_invoices_settled"),
        ("UPDATE invoices SET terms_days = 1", "is finalized"),
        ("UPDATE invoice_taxes SET amount_minor = 1", "is finalized"),
        ("DELETE FROM credit_entries", "permission denied|never change"),
        ("UPDATE credit_grants SET remaining_minor = amount_minor + 1", "ck_credit_grants_remaining"),
    ],
)
async def test_the_database_refuses_wrong_sums(world: World, statement: str, message: str) -> None:
    """Whoever asks."""
    customer = await world.customer()
    await german(world, customer)
    async with world.database.transaction() as session:
        await credits_.grant(
            session, customer.id, kind="prepaid", amount=Money("USD", 1_00), expires_at=None, source="test",
            now=NOW,
        )  # fmt: skip
    await invoiced(world, customer, 15_000)
    with pytest.raises(DBAPIError, match=message):
        await world.rows(statement)


async def test_no_more_redemptions_than_a_coupon_allows(world: World, database: DatabaseUrls) -> None:
    """Eight tenants at once for three places; each at most once; unknown codes tell nothing."""
    customers = [await world.customer() for _ in range(8)]
    async with world.database.transaction() as session:
        await coupons.offer(
            session, coupons.Offer(code="RARE", name="Rare", amount=Money("USD", 5_00), max_redemptions=3)
        )
    app = Database(database.app)

    async def redeem(customer: Customer, code: str = "RARE") -> str:
        try:
            async with app.transaction(organization=customer.id) as session:
                await coupons.redeem(session, customer.id, code, at=NOW)
        except Refusal as refusal:
            return refusal.problem.code
        return "ok"

    outcomes = await asyncio.gather(*map(redeem, customers))
    assert sorted(outcomes) == ["coupon_used"] * 5 + ["ok"] * 3
    assert await redeem(customers[outcomes.index("ok")]) == "coupon_used"
    assert await redeem(customers[0], "WRONG") == "coupon_unknown"
    await app.close()


async def test_an_earlier_period_is_counted_again_only_when_it_was_touched(world: World) -> None:
    """Once with the next invoice, then never, until lines come or an operator corrects it."""
    customer = await world.customer(since="2026-07-01")
    await world.node(read_to="2026-12-01T00:05")
    await world.run()
    touched = "SELECT count(*) AS n FROM period_tallies WHERE touches > counted"
    assert (await world.rows(touched))[0]["n"] == 5
    world.clock.instant = at("2027-01-01T00:10")
    await world.node(read_to="2027-01-01T00:05")
    await world.run()
    # December waits for its second count; the five before it had theirs.
    assert (await world.rows(touched))[0]["n"] == 1
    await world.use(customer, "2026-08-03T12:00", 10_500)
    world.clock.instant = at("2027-02-01T00:10")
    await world.node(read_to="2027-02-01T00:05")
    assert (await world.run()).corrections == 1
    assert brief((await world.invoices(customer))[-1])[-1] == ("correction", "requests", 500, 5_00)
