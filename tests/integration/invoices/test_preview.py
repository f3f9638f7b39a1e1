"""The current bill and the invoice: one price, whatever the organization has."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.invoices.test_amounts import german
from tests.integration.invoices.world import Customer, World, at

from farebox import ids
from farebox.coupons import service as coupons
from farebox.credits import service as credits_
from farebox.invoices import preview
from farebox.invoices.preview import Preview
from farebox.money import Money

CHARGES: list[dict[str, Any]] = [
    {"code": "base", "model": "flat", "description": "Base", "amount": "31.00", "prorate": "second"},
    {"code": "calls", "model": "package", "description": "Calls", "size": "100", "price": "0.77",
     "included": "150", "meter": "requests"},
    {"code": "use", "model": "graduated", "description": "Use", "minimum": "2.00",
     "tiers": [{"up_to": "200", "unit_price": "0.013"}, {"up_to": None, "unit_price": "0.007"}]},
    {"code": "top", "model": "maximum", "description": "At most", "amount": "70"},
]  # fmt: skip
PIECE = [
    {"code": "seat", "model": "flat", "description": "Seat", "amount": "3.10", "prorate": "second"},
    {"code": "more", "model": "per_unit", "description": "More", "unit_price": "0.001"},
]


async def add_on(world: World, customer: Customer, quantity: int, since: str, until: str | None) -> None:
    """Give the customer pieces of an add-on for a part of the time."""
    add_on_id, version_id = ids.uuid7(), ids.uuid7()
    code = f"seats-{add_on_id.hex[-8:]}"
    await world.rows(
        "INSERT INTO add_ons (id, code, name) VALUES (:id, :code, 'Seats')", id=add_on_id, code=code
    )
    await world.rows(
        "INSERT INTO add_on_versions (id, add_on_id, version, code, state, currency, charges, published_at) "
        "VALUES (:id, :add_on, 1, :code, 'published', 'USD', CAST(:charges AS jsonb), now())",
        id=version_id, add_on=add_on_id, code=f"{code}-1", charges=json.dumps(PIECE),
    )  # fmt: skip
    await world.rows(
        "INSERT INTO subscription_add_ons (id, organization_id, subscription_id, add_on_version_id, "
        "quantity, from_at, to_at) "
        "VALUES (:id, :organization, :subscription, :version, :quantity, :since, :until)",
        id=ids.uuid7(), organization=customer.id, subscription=customer.subscription_id, version=version_id,
        quantity=quantity, since=at(since), until=None if until is None else at(until),
    )  # fmt: skip


async def shown(world: World, customer: Customer) -> Preview:
    """The current bill of the customer's newest period."""
    [period] = await world.rows(
        "SELECT id FROM billing_periods WHERE organization_id = :id ORDER BY starts_at DESC LIMIT 1",
        id=customer.id,
    )
    async with world.database.transaction() as session:
        return await preview.so_far(session, customer.id, period["id"], issuer=world.settings.issuer)


def sums(found: Preview) -> tuple[Any, ...]:
    """What a preview says, as `invoiced` reads it from an invoice."""
    draft = found.draft
    lines = [(line.kind, line.code, line.quantity, line.amount.minor) for line in draft.lines]
    amounts = (draft.subtotal, draft.tax, draft.total, found.credits, found.due)
    return lines, *(amount.minor for amount in amounts)


def invoiced(row: dict[str, Any]) -> tuple[Any, ...]:
    """What an invoice says."""
    lines = [(line["kind"], line["code"], line["quantity"], line["minor"]) for line in row["lines"]]
    names = ("subtotal_minor", "tax_minor", "total_minor", "credits_minor", "open_minor")
    return lines, *(row[name] for name in names)


@pytest.mark.parametrize("seed", range(6))
async def test_the_current_bill_at_the_periods_end_is_the_invoice(world: World, seed: int) -> None:
    """To the cent and line by line, with late lines of the period before, pieces that came and went, a
    coupon, tax and credits; also for a period that began off its anchor.
    """
    chance = random.Random(seed)
    await world.plan("wild-1", CHARGES)
    customer = await world.customer("wild-1", since=chance.choice(["2026-10-01", "2026-10-11T07:13:21"]))
    if chance.random() < 0.7:
        await german(world, customer, tax_exempt=chance.random() < 0.2)
    await world.use(customer, "2026-10-20T12:00", chance.randrange(900))
    await world.node(read_to="2026-11-01T00:05")
    world.clock.instant = at("2026-11-01T00:10")
    assert (await world.run()).failures == []
    await world.use(customer, "2026-10-21T12:00", chance.randrange(300))
    await world.use(customer, "2026-11-03T12:00", chance.randrange(4000))
    await world.use(customer, "2026-11-04T12:00", chance.randrange(90), outcome="rate_limited", status=429)
    await add_on(world, customer, chance.randrange(1, 4), "2026-11-05T03:00:07", "2026-11-12T00:00:01")
    await add_on(world, customer, chance.randrange(1, 4), "2026-11-09", None)
    async with world.database.transaction() as session:
        value: dict[str, Any] = chance.choice([{"percent": Decimal("12.5")}, {"amount": Money("USD", 4_00)}])
        await coupons.offer(session, coupons.Offer(code="LESS", name="Less", periods=1, **value))
        await coupons.redeem(session, customer.id, "LESS", at=at("2026-11-02"))
        await credits_.grant(
            session, customer.id, kind="prepaid", amount=Money("USD", chance.randrange(1, 90_00)),
            expires_at=at("2026-12-01"), source="test", now=at("2026-11-02"),
        )  # fmt: skip
    before = sums(await shown(world, customer))
    assert sums(await shown(world, customer)) == before, "looking changes nothing"
    await world.node(read_to="2026-12-01T00:05")
    world.clock.instant = at("2026-12-01T00:10")
    assert (await world.run()).failures == []
    assert invoiced((await world.invoices(customer))[-1]) == before
