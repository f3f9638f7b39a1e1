"""From raw lines through the real collector and the real billing run to an invoice that proves itself."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.integration.invoices.world import Customer, World, at

from farebox.coupons import service as coupons
from farebox.db import Database
from farebox.invoices import service
from farebox.migrations import DatabaseUrls
from farebox.settings import Settings
from farebox.taxes import service as taxes
from farebox.taxes.deciding import Rate
from farebox_cli.commands.invoices import verify
from farebox_worker.collect.once import collect_once


@dataclass(slots=True)
class Edge:
    """Writes usage lines by the letter of the contract, and remembers what a client would have counted."""

    folder: Path
    numbers: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)

    def line(self, customer: Customer, when: str, *, worker: int = 0, **members: Any) -> bytes:
        self.numbers["gw-1", worker] += 1
        line: dict[str, Any] = {
            "v": 1, "ts": round(at(when).timestamp() * 1000), "node": "gw-1", "boot": "b1", "worker": worker,
            "seq": self.numbers["gw-1", worker], "rid": "r1", "env": "live", "org": customer.public_id,
            "key": "keykeykey1", "sub": customer.subscription, "group": "starter-1", "route": "messages",
            "method": "POST", "path": "/v1/messages/send", "status": 200, "outcome": "served", "units": 1,
            "in": 10, "out": 20, "us": 300, "ip": "203.0.113.7", "ua": "curl/8",
        } | members  # fmt: skip
        if line["env"] == "live" and line["outcome"] == "served" and line["status"] < 500:
            self.sent[line["sub"]] += line["units"]
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def write(self, name: str, lines: list[bytes]) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(lines))
        return path


def month(edge: Edge, customers: list[Customer], chance: random.Random, lines: int) -> list[bytes]:
    """November of several customers, mixed as it comes."""
    written = []
    for _ in range(lines):
        when = at("2026-11-01") + timedelta(seconds=chance.randrange(30 * 86_400))
        outcome, status = chance.choice(
            [("served", 200)] * 6 + [("served", 503), ("rate_limited", 429), ("quota_exceeded", 429)]
        )
        written.append(
            edge.line(
                chance.choice(customers),
                when.isoformat(),
                worker=chance.randrange(2),
                outcome=outcome,
                status=status,
                units=chance.randrange(1, 9),
                env=chance.choice(["live"] * 4 + ["test"]),
            )
        )
    return written


async def export(world: World, folder: Path, customer: Customer, which: int) -> Path:
    """Export a customer's invoice with its proof."""
    invoice = (await world.invoices(customer))[which]
    async with world.database.transaction() as session:
        document = await service.export(session, invoice["id"])
    path = folder / f"{invoice['number']}.json"
    path.write_text(json.dumps(document))
    return path


def check(invoice: Path, *paths: Path) -> Result:
    """Run `farebox verify`, which knows nothing but these files."""
    return CliRunner().invoke(
        verify, [str(invoice), "--lines", *map(str, paths)], standalone_mode=False, obj=Settings()
    )


@pytest.mark.parametrize("seed", [11, 12])
async def test_an_invoice_is_derived_again_from_the_files_alone(
    world: World, tmp_path: Path, seed: int
) -> None:
    """What the client sent, what the rollups hold, what was invoiced and what the files say is one number;
    a changed line is found; late lines become a correction that is derived too.
    """
    chance = random.Random(seed)
    edge = Edge(tmp_path)
    customers = [
        await world.customer(),
        await world.customer(zone="Asia/Kolkata"),
        await world.customer(zone="America/St_Johns", since="2026-11-01T02:30"),
    ]
    for customer in customers:
        edge.sent[customer.subscription] = 0
    lines = month(edge, customers, chance, 3_000)
    held_back = [lines.pop(chance.randrange(len(lines))) for _ in range(40)]
    lines.insert(700, b"what is this\n")
    lines.insert(900, lines[100])
    first, second = edge.write("usage.log.1", lines[:1_500]), edge.write("usage.log", lines[1_500:])
    await world.node("gw-1", read_to="2026-12-01T12:00")
    world.clock.instant = at("2026-12-01T12:10")
    await collect_once(world.database, "gw-1", [first, second], clock=world.clock)
    report = await world.run()
    assert (report.finalized, report.failures) == (3, [])
    invoices = [await export(world, tmp_path, customer, 0) for customer in customers]
    for invoice in invoices:
        result = check(invoice, second, first)
        assert result.return_value == 0, result.output

    late = edge.write("late.log", held_back)
    await collect_once(world.database, "gw-1", [late], clock=world.clock)
    world.clock.instant = at("2027-01-01T12:10")
    await world.node("gw-1", read_to="2027-01-01T12:00")
    report = await world.run()
    assert report.corrections == 3
    for customer in customers:
        corrected = await export(world, tmp_path, customer, 1)
        assert check(corrected, first, second, late).return_value == 0
        assert check(corrected, first, second).return_value == 2
        periods = await world.rows(
            "SELECT sum(billed_units) AS billed FROM billing_periods WHERE subscription_id = :id",
            id=customer.subscription_id,
        )
        assert periods[0]["billed"] == edge.sent[customer.subscription]

    tampered = second.read_bytes()
    place = tampered.index(b'"units":', len(tampered) // 2) + len('"units":')
    digit = b"9" if tampered[place : place + 1] != b"9" else b"8"
    second.write_bytes(tampered[:place] + digit + tampered[place + 1 :])
    result = check(invoices[0], first, second)
    assert result.return_value == 1
    assert "usage.log" in result.output
    assert "not the bytes that were metered" in result.output


async def test_a_tenant_can_export_its_proof(world: World, database: DatabaseUrls, tmp_path: Path) -> None:
    """Everything that the proof needs is visible to the tenant's own role, for its own invoice."""
    customer = await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    await world.run()
    [invoice] = await world.invoices(customer)
    app = Database(database.app)
    async with app.transaction(organization=customer.id) as session:
        document = await service.export(session, invoice["id"])
    await app.close()
    path = tmp_path / "invoice.json"
    path.write_text(json.dumps(document))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert check(path, empty).return_value == 0


async def test_everything_an_invoice_can_hold_is_derived_again(world: World, tmp_path: Path) -> None:
    """Meters of the plan's own, bounds, a coupon, included tax, a short last period, an operator's
    correction, and lines that come late to all of it: equal from the files alone; any amount that is changed
    is found.
    """
    charges = [
        {"code": "base", "model": "flat", "description": "Base", "amount": "31", "prorate": "second"},
        {"code": "packs", "model": "package", "description": "Packs", "size": "7", "price": "0.33",
         "included": "100", "meter": "requests"},
        {"code": "keys", "model": "volume", "description": "Keys", "meter": "keys", "maximum": "3",
         "tiers": [{"up_to": "1", "unit_price": "2"}, {"up_to": None, "unit_price": "1.75"}]},
        {"code": "big", "model": "graduated", "description": "Bytes", "meter": "out",
         "tiers": [{"up_to": "1000", "unit_price": "0"}, {"up_to": None, "unit_price": "0.0001"}]},
        {"code": "least", "model": "minimum", "description": "At least", "amount": "60", "prorate": "second"},
    ]  # fmt: skip
    await world.plan("rich-1", charges, currency="EUR")
    meters = [
        {"code": "keys", "aggregation": "unique", "field": "key"},
        {"code": "out", "aggregation": "sum", "field": "bytes_out", "methods": ["POST"], "statuses": ["2xx"]},
    ]
    await world.rows(
        "INSERT INTO plan_versions (id, plan_id, version, code, state, currency, charges, limits, meters, "
        "published_at) SELECT gen_random_uuid(), plan_id, 2, 'rich-2', 'published', currency, charges, "
        "limits, CAST(:meters AS jsonb), now() FROM plan_versions WHERE code = 'rich-1'",
        meters=json.dumps(meters),
    )
    customer = await world.customer("rich-2", since="2026-11-04T10:20:30")
    async with world.database.transaction() as session:
        await taxes.set_rate(
            session, Rate("DE", "", "VAT", Decimal(19), inclusive=True, valid_from=at("2020-01-01"))
        )
        await coupons.offer(session, coupons.Offer(code="C", name="Third", percent=Decimal("33.3333")))
        await coupons.redeem(session, customer.id, "C", at=at("2026-11-05"))
    await world.rows(
        "INSERT INTO billing_profiles (organization_id, legal_name, country) VALUES (:id, 'A', 'DE')",
        id=customer.id,
    )
    chance = random.Random(3)
    edge = Edge(tmp_path)

    def some(month_: str, lines: int) -> list[bytes]:
        return [
            edge.line(
                customer, f"2026-{month_}-{chance.randrange(5, 28):02d}T12:00",
                key=f"keykeyke{chance.randrange(10, 14)}", out=chance.randrange(9_000),
                method=chance.choice(["POST", "GET"]), status=chance.choice([200, 201, 404]),
            )
            for _ in range(lines)
        ]  # fmt: skip

    november = some("11", 400)
    held_back = [november.pop(chance.randrange(len(november))) for _ in range(60)]
    first = edge.write("a.log", november)
    await world.node("gw-1", read_to="2026-12-01T12:00")
    world.clock.instant = at("2026-12-01T12:10")
    await collect_once(world.database, "gw-1", [first], clock=world.clock)
    assert (await world.run()).failures == []
    invoice = await export(world, tmp_path, customer, 0)
    result = check(invoice, first)
    assert result.return_value == 0, result.output

    second = edge.write("b.log", [*held_back, *some("12", 100)])
    await collect_once(world.database, "gw-1", [second], clock=world.clock)
    await world.rows(
        "INSERT INTO usage_corrections (id, organization_id, subscription_id, period_id, meter, quantity, "
        "at, reason, actor) SELECT gen_random_uuid(), organization_id, subscription_id, id, 'requests', 50, "
        "starts_at, 'backfill', 'operator' FROM billing_periods WHERE is_first AND organization_id = :id",
        id=customer.id,
    )
    world.clock.instant = at("2027-01-01T12:10")
    await world.node("gw-1", read_to="2027-01-01T12:00")
    report = await world.run()
    assert report.failures == []
    assert report.corrections > 0
    corrected = await export(world, tmp_path, customer, 1)
    result = check(corrected, first, second)
    assert result.return_value == 0, result.output

    document = json.loads(corrected.read_text())
    for place in ("lines", "taxes"):
        for number in range(len(document["invoice"][place])):
            forged = json.loads(corrected.read_text())
            forged["invoice"][place][number]["amount_minor"] += 1
            corrected.write_text(json.dumps(forged))
            assert check(corrected, first, second).return_value == 1
            corrected.write_text(json.dumps(document))
