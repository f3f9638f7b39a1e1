"""From an invoice that falls due to the end of service and back, step by step."""

from datetime import timedelta

from tests.integration.dunning.debts import DAY, Debts

from farebox import ids
from farebox.payments import service as payments
from farebox_worker.dunning import charging


async def test_a_debt_that_nobody_pays_ends_in_suspension_and_payment_brings_service_back(
    debts: Debts,
) -> None:
    """Charges on days 0, 3, 5, 7; letters on 1, 7, 12; the end on 14; back in the payment's transaction."""
    house = debts.house
    await house.card("chargeCustomerFail")
    invoice = await debts.issue(1000, terms=14)
    await debts.days(13)
    assert (await house.owed(invoice))[0] == "finalized"
    await debts.days(1)
    assert (await house.owed(invoice))[0] == "overdue"
    assert await debts.state() == "past_due"
    assert await debts.steps(invoice) == [("charge", 1, "done")]
    await debts.days(13)
    assert await debts.steps(invoice) == [
        ("charge", 1, "done"), ("remind", 1, "done"), ("charge", 2, "done"), ("charge", 3, "done"),
        ("charge", 4, "done"), ("remind", 2, "done"), ("remind", 3, "done"),
    ]  # fmt: skip
    assert await debts.state() == "past_due"
    assert await house.announced("invoice.overdue") == 3
    assert await house.announced("payment.failed") == 4
    await debts.days(1)
    assert await debts.state() == "suspended"
    case = await debts.case(invoice)
    assert (case["state"], case["suspended_at"]) == ("exhausted", house.clock.now())
    await house.card("visa")
    before = await debts.revision()
    row = await payments.collect(house.till, house.organization, invoice, actor="test")
    assert row.state == "succeeded"
    assert await debts.state() == "active"
    assert await debts.revision() == before + 1
    case = await debts.case(invoice)
    assert (case["state"], case["resolution"], case["suspended_at"]) == ("resolved", "paid", None)
    assert [name for name, _ in await debts.transitions()] == ["mark past due", "suspend", "reinstate"]


async def test_a_retry_that_succeeds_ends_it(debts: Debts) -> None:
    """The card is good again on day 3: paid, active, and no letter is written after."""
    house = debts.house
    await house.card("chargeCustomerFail")
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    await house.card("visa")
    await debts.days(3)
    assert await house.owed(invoice) == ("paid", 0)
    assert await debts.state() == "active"
    assert await house.charged() == [1000]
    await debts.days(20)
    assert await house.announced("invoice.overdue") == 1
    assert (await debts.case(invoice))["state"] == "resolved"


async def test_letters_say_when_service_ends_and_when_the_card_is_tried_again(debts: Debts) -> None:
    """`suspends_at` is day 14; `next_attempt_at` is the next day of the schedule, and none after the last."""
    house = debts.house
    await house.card("chargeCustomerFail")
    await debts.issue(1000, terms=0)
    due = house.clock.now()
    await debts.run()
    await debts.days(13)
    rows = await house.rows("SELECT payload FROM outbox WHERE job = 'invoice.overdue' ORDER BY id")
    assert {row["payload"]["suspends_at"] for row in rows} == {(due + 14 * DAY).isoformat()}
    rows = await house.rows("SELECT payload FROM outbox WHERE job = 'payment.failed' ORDER BY id")
    assert [row["payload"]["next_attempt_at"] for row in rows] == [
        *((due + days * DAY).isoformat() for days in (3, 5, 7)), None,
    ]  # fmt: skip


async def test_a_worker_that_was_away_sends_one_letter_and_leaves_the_grace(debts: Debts) -> None:
    """Forty days late: one charge, one letter, three days more before the end."""
    house = debts.house
    await house.card("chargeCustomerFail")
    invoice = await debts.issue(1000, terms=0)
    house.clock.advance(40 * DAY)
    await debts.run()
    assert await house.announced("payment.failed") == 1
    assert await house.announced("invoice.overdue") == 1
    assert await debts.state() == "past_due"
    await debts.days(2)
    assert await debts.state() == "past_due"
    await debts.days(1)
    assert await debts.state() == "suspended"
    assert ("charge", 3, "skipped") in await debts.steps(invoice)


async def test_a_second_pass_does_nothing(debts: Debts) -> None:
    """Passes are level-triggered: run again at the same instant they change no row."""
    house = debts.house
    await house.card("chargeCustomerFail")
    await debts.issue(1000, terms=0)
    house.clock.advance(8 * DAY)
    await debts.run()
    tables = ("dunning_cases", "dunning_steps", "payments", "outbox", "subscription_transitions")
    before = [await house.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables]
    await debts.run()
    assert [await house.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables] == before


async def test_without_a_card_only_letters_go_out(debts: Debts) -> None:
    """Nothing is charged; the step says why; service still ends after the grace."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    row = await debts.house.one("SELECT outcome FROM dunning_steps WHERE kind = 'charge'")
    assert row["outcome"] == "there is no card to charge"
    await debts.days(14)
    assert await debts.state() == "suspended"
    await debts.transfer(1000, invoice=invoice)
    assert await debts.state() == "active"


async def test_a_card_that_was_just_tried_is_not_tried_again(debts: Debts) -> None:
    """A charge at issue that failed and a due date an hour later make one attempt."""
    house = debts.house
    await house.card("chargeCustomerFail")
    invoice = await debts.issue(1000, terms=0)
    await charging.collect_issued(house.context, house.organization, {"invoice": ids.encode("inv", invoice)})
    house.clock.advance(timedelta(hours=1))
    await debts.run()
    assert await house.announced("payment.failed") == 1
    assert await debts.steps(invoice) == [("charge", 1, "skipped")]


async def test_an_issued_invoice_is_charged_once_however_often_the_job_runs(debts: Debts) -> None:
    """The outbox delivers at least once; the card is charged exactly once."""
    house = debts.house
    await house.card("visa")
    invoice = await debts.issue(1000)
    payload = {"invoice": ids.encode("inv", invoice)}
    for _ in range(3):
        await charging.collect_issued(house.context, house.organization, payload)
    assert await house.charged() == [1000]
    assert await house.owed(invoice) == ("paid", 0)
