"""The billing run on a real database: every unit once, every period once, whatever happens."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.integration.invoices.world import World, at, brief

from farebox.db import Database
from farebox.invoices import numbers, service
from farebox.invoices.states import TransitionError
from farebox.migrations import DatabaseUrls
from farebox.plans.service import Offer
from farebox.problems import Refusal
from farebox.settings import Settings
from farebox.subscriptions import service as subscriptions


async def test_a_month_on_starter_with_15000_requests_costs_60_dollars(world: World) -> None:
    """Base $10 and 5,000 beyond the included at a cent; refused, failed and test-key requests by reason."""
    customer = await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    await world.use(customer, "2026-11-03T12:00", 9_000)
    await world.use(customer, "2026-11-30T23:59", 6_000)
    await world.use(customer, "2026-11-30T23:59", 70, outcome="rate_limited", status=429)
    await world.use(customer, "2026-11-10T08:00", 5, status=503)
    await world.use(customer, "2026-11-10T08:00", 900, environment="test")

    report = await world.run()

    assert (report.finalized, report.rolled, dict(report.totals)) == (1, 1, {"USD": 60_00})
    [invoice] = await world.invoices()
    assert (invoice["number"], invoice["state"], invoice["total_minor"]) == ("FB-000001", "finalized", 60_00)
    assert brief(invoice) == [("charge", "base", 1, 10_00), ("charge", "requests", 5_000, 50_00)]
    assert invoice["snapshot"]["billable"] == {"requests": 15_000, "units": 15_000}
    assert {reason: count["units"] for reason, count in invoice["snapshot"]["excluded"].items()} == {
        "rate_limited": 70, "server_error": 5, "test_key": 900,
    }  # fmt: skip
    assert invoice["due_at"] - invoice["finalized_at"] == service.PAYMENT_TERM


async def test_a_second_run_changes_nothing(world: World) -> None:
    """Not a row, not a number, not a statement."""
    for plan in ("free-1", "starter-1", "pro-1"):
        await world.use(await world.customer(plan), "2026-11-03T12:00", 12_345)
    await world.node(read_to="2026-12-01T00:05")
    assert (await world.run()).finalized == 3
    before = await world.everything()
    again = await world.run()
    assert (again.finalized, again.rolled, again.parked, again.waiting) == (0, 0, 0, [])
    assert await world.everything() == before


async def test_a_free_month_gets_an_invoice_of_zero(world: World) -> None:
    """Every metered unit stands on an invoice, also where nothing is owed; such an invoice is never due."""
    customer = await world.customer("free-1")
    await world.use(customer, "2026-11-03T12:00", 321)
    await world.node(read_to="2026-12-01T00:05")
    await world.run()
    [invoice] = await world.invoices()
    assert (invoice["total_minor"], invoice["state"], invoice["due_at"]) == (0, "finalized", None)
    assert invoice["snapshot"]["billable"]["units"] == 321


async def test_a_silent_node_holds_the_period_open(world: World) -> None:
    """Nothing is closed before every active node has stood at its log's end later than end plus grace."""
    await world.customer()
    await world.node("gw-1", read_to="2026-12-01T00:05")
    for read_to in (None, "2026-11-30T23:59:59", "2026-12-01T00:00:30"):
        await world.node("gw-2", read_to=read_to)
        report = await world.run()
        assert report.finalized == 0
        [waiting] = report.waiting
        assert (waiting.reason, waiting.nodes, waiting.periods) == ("node_behind", ("gw-2",), 1)
    await world.node("gw-2", read_to="2026-12-01T00:00:30.001")
    assert (await world.run()).finalized == 1


async def test_nothing_is_closed_where_no_node_was_ever_registered(world: World) -> None:
    """Silence is no evidence of no usage; the report says what is waited for."""
    await world.customer()
    report = await world.run()
    assert report.finalized == 0
    assert [waiting.reason for waiting in report.waiting] == ["no_node"]


async def test_a_retired_node_is_named_on_the_invoices_it_may_have_served(world: World) -> None:
    """Giving up on a dead node lets periods close, and the invoice says so; the next month's does not."""
    await world.customer()
    await world.node("gw-1", read_to="2026-12-01T00:05")
    await world.node("gw-2", read_to="2026-11-20T10:00")
    await world.rows(
        "UPDATE nodes SET state = 'retired', retired_at = '2026-11-25T00:00Z', retired_note = 'disk died' "
        "WHERE code = 'gw-2'"
    )
    await world.run()
    [invoice] = await world.invoices()
    assert invoice["snapshot"]["retired_nodes"] == [
        {
            "node": "gw-2", "note": "disk died", "retired_at": "2026-11-25T00:00:00Z",
            "read_to_end_at": "2026-11-20T10:00:00Z",
        }
    ]  # fmt: skip
    world.clock.instant = at("2027-01-01T00:10")
    await world.node("gw-1", read_to="2027-01-01T00:05")
    await world.run()
    assert (await world.invoices())[1]["snapshot"]["retired_nodes"] == []


async def test_until_closes_only_what_has_ended_by_then(world: World) -> None:
    """`until` is in the organization's own time."""
    await world.customer(since="2026-09-15")
    await world.node(read_to="2026-12-01T00:05")
    assert (await world.run(until=at("2026-11-01"))).finalized == 2
    assert (await world.run(until=at("2026-11-30T23:59"))).finalized == 0
    assert (await world.run()).finalized == 1


async def test_late_lines_become_a_correction_on_the_next_invoice(world: World) -> None:
    """What November comes to now, less what was billed of it, at November's price; December is apart."""
    customer = await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    await world.use(customer, "2026-11-03T12:00", 9_990)
    await world.run()
    await world.use(customer, "2026-11-30T23:45", 110)
    await world.use(customer, "2026-12-09T12:00", 10_001)
    world.clock.instant = at("2027-01-01T00:10")
    await world.node(read_to="2027-01-01T00:05")
    report = await world.run()
    assert report.corrections == 1
    second = (await world.invoices())[1]
    assert brief(second) == [
        ("charge", "base", 1, 10_00),
        ("charge", "requests", 1, 1),
        ("correction", "requests", 100, 1_00),
    ]
    correction = second["lines"][2]
    assert correction["description"].startswith("Correction of 2026-11-01 to 2026-12-01: ")
    assert (correction["detail"]["billed_units"], correction["detail"]["units"]) == ("9990", "10100")
    [november] = await world.rows("SELECT billed_units FROM billing_periods WHERE is_first")
    assert november["billed_units"] == 10_100
    before = await world.everything()
    await world.run()
    assert await world.everything() == before


async def test_a_correction_can_lower_a_bill(world: World) -> None:
    """Units that were taken back are credited, not forgotten."""
    customer = await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    await world.use(customer, "2026-11-03T12:00", 20_000)
    await world.run()
    await world.use(customer, "2026-11-03T12:00", -12_000)
    world.clock.instant = at("2027-01-01T00:10")
    await world.node(read_to="2027-01-01T00:05")
    await world.run()
    second = (await world.invoices())[1]
    assert brief(second)[-1] == ("correction", "requests", -10_000, -100_00)
    assert second["total_minor"] == -90_00


async def test_late_units_of_a_plan_without_unit_price_are_named_too(world: World) -> None:
    """The correction is a line of zero, so that the units stand on an invoice."""
    customer = await world.customer("pro-1")
    await world.node(read_to="2026-12-01T00:05")
    await world.run()
    await world.use(customer, "2026-11-03T12:00", 7)
    world.clock.instant = at("2027-01-01T00:10")
    await world.node(read_to="2027-01-01T00:05")
    await world.run()
    assert brief((await world.invoices())[1])[-1] == ("correction", "usage", 7, 0)


async def test_an_upgrade_makes_two_invoices_and_each_unit_stands_on_one(
    world: World, database: DatabaseUrls
) -> None:
    """The line names the subscription, so lines around the change belong to exactly one, at its price;
    lines that come late to the ended one are corrected on the organization's next invoice.
    """
    customer = await world.customer("starter-1")
    await world.use(customer, "2026-11-10T12:00", 10_500)
    [row] = await world.rows("SELECT id, charges, limits FROM plan_versions WHERE code = 'pro-1'")
    pro = Offer(row["id"], "pro", "Pro", 1, "pro-1", "USD", row["charges"], row["limits"], None)
    app = Database(database.app)
    async with app.transaction(organization=customer.id) as session:
        successor = await subscriptions.change_plan(
            session, customer.id, pro, wall=at("2026-11-15T10:07:11.123456")
        )
    await app.close()
    new = (successor.id, successor.public_id)
    # An edge that learnt of the change late, and one whose clock runs ahead.
    await world.use(customer, "2026-11-15T10:30", 40)
    await world.use(customer, "2026-11-15T09:45", 3, subscription=new)
    await world.node(read_to="2026-11-15T10:07")
    world.clock.instant = at("2026-11-15T10:08")
    assert (await world.run()).waiting[0].reason == "node_behind"
    await world.node(read_to="2026-11-15T10:08")
    assert (await world.run()).finalized == 1
    await world.use(customer, "2026-11-15T10:45", 60)
    # The new subscription is anchored on the 15th.
    await world.node(read_to="2026-12-15T00:05")
    world.clock.instant = at("2026-12-15T00:10")
    assert (await world.run()).finalized == 1
    first, second = await world.invoices()
    assert brief(first) == [("charge", "base", 1, 10_00), ("charge", "requests", 540, 5_40)]
    assert first["snapshot"]["period"]["is_last"] is True
    # The first period begins at 10:07:11 of its day: 2,555,569 of 2,592,000 seconds of 50.00.
    assert brief(second) == [("charge", "base", 1, 49_30), ("correction", "requests", 60, 60)]
    assert second["snapshot"]["billable"]["units"] == 3
    [total] = await world.rows("SELECT sum(units) AS metered FROM usage_rollups")
    [billed] = await world.rows("SELECT sum(billed_units) AS billed FROM billing_periods")
    assert total["metered"] == billed["billed"] == 10_603


async def test_a_leap_of_the_test_clock_bills_every_month_in_between(world: World) -> None:
    """Time travels, closing does not: it waits until the log was read past the leap in wall time."""
    customer = await world.customer(since="2026-11-20")
    await world.rows("UPDATE organizations SET test_mode = true")
    await world.rows(
        "INSERT INTO test_clock_offsets VALUES (:id, '2026-11-30T12:00Z', :offset)",
        id=customer.id, offset=63 * 86_400_000,
    )  # fmt: skip
    await world.use(customer, "2026-11-30T10:00", 15_000)
    world.clock.instant = at("2026-11-30T12:01")
    await world.node(read_to="2026-11-30T12:00:10")
    report = await world.run()
    assert (report.rolled, report.finalized) == (3, 0)
    await world.node(read_to="2026-11-30T12:00:31")
    assert (await world.run()).finalized == 3
    invoices = await world.invoices()
    assert [invoice["total_minor"] for invoice in invoices] == [60_00, 10_00, 10_00]
    assert invoices[0]["snapshot"]["test_clock"] == [
        {"began_at": "2026-11-30T12:00:00Z", "offset_ms": 63 * 86_400_000}
    ]
    revision = await world.rows("SELECT edge_revision FROM organizations")
    assert revision == [{"edge_revision": 2}]
    jobs = [row["job"] for row in await world.rows("SELECT job FROM outbox ORDER BY id")]
    assert jobs == ["gateway.sync", *["invoice.issued"] * 3]


async def test_one_bad_organization_stops_nobody(world: World) -> None:
    """What cannot be rated, and what the database refuses, is reported by name; all others are billed."""
    good = [await world.customer() for _ in range(3)]
    await world.plan("broken-1", [{"code": "c", "model": "guesswork", "description": "d"}])
    await world.plan(
        "huge-1", [{"code": "c", "model": "per_unit", "description": "d", "unit_price": "999999999999"}]
    )
    broken = await world.customer("broken-1")
    huge = await world.customer("huge-1")
    await world.use(huge, "2026-11-03T12:00", 10**12)
    await world.node(read_to="2026-12-01T00:05")
    report = await world.run()
    assert report.finalized == len(good)
    assert {failure.organization for failure in report.failures} == {
        f"org_{broken.public_id}", f"org_{huge.public_id}",
    }  # fmt: skip
    reasons = " ".join(failure.reason for failure in report.failures)
    assert "charges[0].model" in reasons
    assert "more than an invoice can hold" in reasons
    states = await world.rows("SELECT state, count(*) AS periods FROM billing_periods GROUP BY 1 ORDER BY 1")
    assert {"state": "invoiced", "periods": len(good)} in states


async def test_what_the_database_refuses_is_tried_apart(world: World, superuser_url: str) -> None:
    """A batch in which one invoice cannot be written is written organization by organization."""
    good = [await world.customer() for _ in range(3)]
    bad = await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    owner = Database(superuser_url)
    async with owner.transaction() as session:
        await session.execute(
            text(f"ALTER TABLE invoices ADD CONSTRAINT planted CHECK (organization_id <> '{bad.id}')")
        )
    await owner.close()
    report = await world.run()
    assert report.finalized == len(good)
    [failure] = report.failures
    assert failure.organization == f"org_{bad.public_id}"
    assert "planted" in failure.reason
    assert [invoice["number"] for invoice in await world.invoices()] == [
        "FB-000001",
        "FB-000002",
        "FB-000003",
    ]


async def test_an_absurd_invoice_is_parked_until_a_person_finalizes_it(world: World) -> None:
    """Beyond the safety bound no number is given out; the person's decision gives one, once."""
    world.settings = Settings(invoice_ceiling_minor=50_00)
    customer = await world.customer()
    await world.use(customer, "2026-11-03T12:00", 15_000)
    await world.node(read_to="2026-12-01T00:05")
    report = await world.run()
    assert (report.parked, report.finalized, report.first_number) == (1, 0, None)
    [invoice] = await world.invoices()
    assert (invoice["state"], invoice["number"]) == ("parked", None)
    async with world.database.transaction() as session:
        number = await service.finalize(session, invoice["id"], now=world.clock.now())
    assert number == "FB-000001"
    with pytest.raises(TransitionError, match="is finalized; it can be: mark paid, mark overdue, void"):
        async with world.database.transaction() as session:
            await service.finalize(session, invoice["id"], now=world.clock.now())
    assert (await world.run()).finalized == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET total_minor = 1, subtotal_minor = 1",
        "UPDATE invoices SET snapshot = '{}'",
        "UPDATE invoices SET state = 'draft', number = NULL",
        "DELETE FROM invoices",
        "UPDATE invoice_lines SET amount_minor = 0",
        "DELETE FROM invoice_lines",
        (
            "INSERT INTO invoice_lines (id, organization_id, invoice_id, position, charge_code, description, "
            "quantity, amount_minor, detail) "
            "SELECT gen_random_uuid(), organization_id, id, 9, 'x', 'x', 1, 0, '{}' FROM invoices"
        ),
    ],
)
async def test_a_finalized_invoice_is_immutable(world: World, statement: str) -> None:
    """The database itself refuses, whoever asks."""
    await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    await world.run()
    with pytest.raises(DBAPIError, match="is finalized"):
        await world.rows(statement)


async def test_numbers_have_no_gap_under_runs_at_once(world: World, database: DatabaseUrls) -> None:
    """Four runs at once over the same periods in small batches: each period once, numbers unbroken."""
    for _ in range(30):
        await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    others = [World(Database(database.worker), world.clock) for _ in range(3)]
    reports = await asyncio.gather(*(each.run(batch=5) for each in (world, *others)))
    for other in others:
        await other.database.close()
    assert sum(report.finalized for report in reports) == 30
    assert not any(report.failures for report in reports)
    taken = [invoice["number"] for invoice in await world.invoices()]
    assert taken == [f"FB-{number:06d}" for number in range(1, 31)]


async def test_a_rollback_gives_its_number_back(world: World) -> None:
    """A transaction that is rolled back after taking numbers leaves no gap behind."""
    await world.customer()
    await world.node(read_to="2026-12-01T00:05")

    async with world.database.transaction(dry_run=True) as session:
        assert await numbers.take(session, "Farebox", 2) == ["FB-000001", "FB-000002"]
    await world.run()
    assert [invoice["number"] for invoice in await world.invoices()] == ["FB-000001"]


async def test_a_tenant_pages_through_its_own_invoices_only(world: World, database: DatabaseUrls) -> None:
    """Newest first, by cursor, and another tenant's invoice does not exist."""
    mine, other = await world.customer(since="2026-07-10"), await world.customer()
    await world.node(read_to="2026-12-01T00:05")
    await world.run()
    [foreign] = await world.invoices(other)
    app = Database(database.app)
    async with app.transaction(organization=mine.id) as session:
        first = await service.page(session, mine.id, limit=3)
        rest = await service.page(session, mine.id, limit=3, after=first.after)
        shown = await service.show(session, first.invoices[0].id)
        for attempt in (
            service.show(session, foreign["id"]),
            service.export(session, foreign["id"]),
            service.page(session, mine.id, after=foreign["id"]),
        ):
            with pytest.raises(Refusal):
                await attempt
        assert await service.page(session, other.id) == service.Page((), None)
    await app.close()
    starts = [invoice.period_start.isoformat()[:10] for invoice in (*first.invoices, *rest.invoices)]
    assert starts == ["2026-11-01", "2026-10-01", "2026-09-01", "2026-08-01", "2026-07-10"]
    assert rest.after is None
    assert [str(line.amount) for line in shown.lines] == ["USD 10.00", "USD 0.00"]
