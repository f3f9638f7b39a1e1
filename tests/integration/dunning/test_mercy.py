"""Who is not cut off, and what ends a debt that is not a payment of the whole."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.integration.dunning.debts import DAY, Debts

from farebox.dunning import rules, service
from farebox.invoices import settlement
from farebox.money import Money
from farebox.payments import service as payments
from farebox.problems import Refusal
from farebox.subscriptions import service as subscriptions
from farebox_worker.dunning import passing


async def test_a_customer_on_terms_is_reminded_and_not_cut_off(debts: Debts) -> None:
    """NET-30 by invoice: overdue after 30 days, three letters, no charge, and service goes on."""
    await debts.house.card("visa")
    invoice = await debts.issue(1000, terms=30, collection="send_invoice")
    await debts.days(30)
    assert (await debts.house.owed(invoice))[0] == "overdue"
    await debts.days(60)
    assert await debts.state() == "past_due"
    assert await debts.house.announced("invoice.overdue") == 3
    assert await debts.house.charged() == []
    assert (await debts.case(invoice))["state"] == "exhausted"


async def test_terms_in_the_profile_are_enough(debts: Debts) -> None:
    """`net_days` in the billing details protects even where the card is charged."""
    await debts.house.card("chargeCustomerFail")
    await debts.house.rows(
        "INSERT INTO billing_profiles (organization_id, legal_name, net_days) VALUES (:o, 'Ada', 30) "
        "RETURNING 1",
        o=debts.house.organization,
    )
    await debts.issue(1000, terms=0)
    await debts.days(30)
    assert await debts.state() == "past_due"


async def test_own_rules_say_when_even_terms_end(debts: Debts) -> None:
    """An organization's own `suspend_after` holds for its invoices on terms too."""
    await debts.issue(1000, terms=30, collection="send_invoice")
    async with debts.house.worker.transaction() as session:
        await rules.set_own(
            session,
            debts.house.organization,
            {"suspend_after": 20},
            actor="test",
            now=debts.house.clock.now(),
        )
    await debts.days(49)
    assert await debts.state() == "past_due"
    await debts.days(1)
    assert await debts.state() == "suspended"


async def test_a_disputed_invoice_rests_and_goes_on_with_new_grace(debts: Debts) -> None:
    """A dispute of what was cut off for gives service back; after it the grace runs anew."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(14)
    assert await debts.state() == "suspended"
    async with debts.house.worker.transaction() as session:
        await settlement.dispute(session, invoice, at=debts.house.clock.now())
    await debts.run()
    assert await debts.state() == "active"
    letters = await debts.house.announced("invoice.overdue")
    await debts.days(30)
    assert await debts.state() == "active"
    assert await debts.house.announced("invoice.overdue") == letters
    async with debts.house.worker.transaction() as session:
        await settlement.dispute(session, invoice, at=None)
    await debts.run()
    assert await debts.state() == "past_due"
    await debts.days(3)
    assert await debts.state() == "suspended"


async def test_an_invoice_disputed_before_it_is_due_opens_at_rest(debts: Debts) -> None:
    """It is overdue, and nothing else happens."""
    invoice = await debts.issue(1000, terms=5)
    async with debts.house.worker.transaction() as session:
        await settlement.dispute(session, invoice, at=debts.house.clock.now())
    await debts.days(40)
    assert await debts.state() == "active"
    assert await debts.house.announced("invoice.overdue") == 0


async def test_a_paused_case_rests_until_it_is_resumed(debts: Debts) -> None:
    """No letter, no charge, no end; resumed, the grace runs anew. Twice is refused with the state."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    case = (await debts.case(invoice))["id"]
    wall = debts.house.clock.now
    async with debts.house.worker.transaction() as session:
        await service.pause(session, case, because="talking", actor="operator test", wall=wall())
    with pytest.raises(Refusal, match="paused"):
        async with debts.house.worker.transaction() as session:
            await service.pause(session, case, because="again", actor="operator test", wall=wall())
    await debts.days(40)
    assert await debts.state() == "past_due"
    assert await debts.house.announced("invoice.overdue") == 0
    async with debts.house.worker.transaction() as session:
        await service.resume(session, case, wall=wall())
    await debts.days(2)
    assert await debts.state() == "past_due"
    await debts.days(1)
    assert await debts.state() == "suspended"
    async with debts.house.worker.transaction() as session:
        await service.pause(session, case, because="paying in parts", actor="operator test", wall=wall())
    assert await debts.state() == "past_due"


async def test_an_exempt_organization_is_never_cut_off(debts: Debts) -> None:
    """Exempting gives service back at once; when the exemption ends the grace runs first."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(14)
    assert await debts.state() == "suspended"
    until = debts.house.clock.now() + 10 * DAY
    async with debts.house.worker.transaction() as session:
        await rules.exempt(
            session, debts.house.organization, because="a school", until=until, actor="operator test",
            wall=debts.house.clock.now(),
        )  # fmt: skip
    assert await debts.state() == "past_due"
    await debts.days(12)
    assert await debts.state() == "past_due"
    await debts.days(1)
    assert await debts.state() == "suspended"
    await debts.transfer(1000, invoice=invoice)
    assert await debts.state() == "active"


async def test_a_plan_that_never_cuts_off(debts: Debts) -> None:
    """A plan's rules go over the house's; what they do not name stays the house's."""
    async with debts.house.worker.transaction() as session:
        await rules.set_for_plan(
            session, "free", {"suspend_after": None}, actor="test", now=debts.house.clock.now()
        )
    await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(40)
    assert await debts.state() == "past_due"
    assert await debts.house.announced("invoice.overdue") == 3
    async with debts.house.worker.transaction() as session:
        await rules.set_for_plan(session, "free", {}, actor="test", now=debts.house.clock.now())
        await rules.set_house(session, {"suspend_after": 41}, actor="test", now=debts.house.clock.now())
    await debts.days(1)
    assert await debts.state() == "suspended"


async def test_paying_the_older_invoice_gives_service_back(debts: Debts) -> None:
    """The newer one is overdue and within its time: past due, served, and its own case goes on."""
    older = await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(10)
    newer = await debts.issue(500, terms=0)
    await debts.days(4)
    assert await debts.state() == "suspended"
    await debts.transfer(1000)
    assert await debts.house.owed(older) == ("paid", 0)
    assert await debts.state() == "past_due"
    assert (await debts.case(newer))["state"] == "open"
    await debts.transfer(500)
    assert await debts.state() == "active"


async def test_paying_one_of_two_that_are_past_their_time_is_not_enough(debts: Debts) -> None:
    """Two invoices keep service away: the first payment resolves its case, the second brings service."""
    first, second = await debts.issue(1000, terms=0), await debts.issue(500, terms=0)
    await debts.run()
    await debts.days(14)
    await debts.transfer(500, invoice=second)
    assert await debts.state() == "suspended"
    assert (await debts.case(second))["state"] == "resolved"
    await debts.transfer(1000, invoice=first)
    assert await debts.state() == "active"


async def test_a_partial_payment_is_not_enough(debts: Debts) -> None:
    """Half is paid: still suspended, and the rest brings service back."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(14)
    await debts.transfer(999, invoice=invoice)
    assert await debts.state() == "suspended"
    await debts.transfer(1, invoice=invoice)
    assert await debts.state() == "active"


async def test_a_credit_note_over_the_rest_brings_service_back(debts: Debts) -> None:
    """What ends a debt without a payment is seen by the next pass."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(14)
    async with debts.house.worker.transaction() as session:
        await settlement.take_off(session, invoice, Money("USD", 1000), at=debts.house.clock.now())
    await debts.run()
    assert await debts.state() == "active"
    assert (await debts.case(invoice))["state"] == "resolved"


async def test_a_void_invoice_brings_service_back(debts: Debts) -> None:
    """Nobody owes what was never to be asked for."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(14)
    async with debts.house.worker.transaction() as session:
        await session.execute(text("UPDATE invoices SET state = 'void' WHERE id = :i"), {"i": invoice})
    await debts.run()
    assert await debts.state() == "active"
    assert (await debts.case(invoice))["resolution"] == "void"


async def test_a_debt_that_was_written_off_is_left_alone_and_can_still_be_paid(debts: Debts) -> None:
    """Nothing more is done about it, a suspension stands, and a late payment lifts it."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(14)
    async with debts.house.worker.transaction() as session:
        await settlement.write_off(session, invoice)
    await debts.days(5)
    assert await debts.state() == "suspended"
    await debts.transfer(1000, invoice=invoice)
    assert await debts.state() == "active"


async def test_what_an_operator_suspended_no_payment_brings_back(debts: Debts) -> None:
    """A suspension for abuse is the operator's to lift, whoever pays what."""
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    async with debts.house.worker.transaction() as session:
        await subscriptions.suspend(
            session, debts.house.organization, cause="abuse", actor="operator test",
            now=debts.house.clock.now(),
        )  # fmt: skip
    await debts.days(20)
    await debts.transfer(1000, invoice=invoice)
    assert await debts.state() == "suspended"


async def test_what_was_refunded_is_asked_for_by_letter_and_not_charged(debts: Debts) -> None:
    """Money that we gave back is not taken again by itself; the case begins anew."""
    house = debts.house
    await house.card("visa")
    invoice = await debts.issue(1000, terms=0)
    await debts.run()
    assert await debts.state() == "active"
    paid = await house.one("SELECT id FROM payments WHERE state = 'succeeded'")
    house.clock.advance(30 * DAY)
    await payments.refund(
        house.till, house.organization, paid["id"], amount=None, reason="goodwill", reopens=True, actor="test"
    )
    await debts.run()
    assert await debts.state() == "past_due"
    case = await debts.case(invoice)
    assert (case["round"], case["since"]) == (2, house.clock.now())
    await debts.days(13)
    assert await house.charged() == [1000]
    assert await debts.state() == "past_due"
    await debts.days(1)
    assert await debts.state() == "suspended"


async def test_the_wall_does_not_decide_where_a_test_clock_does(debts: Debts) -> None:
    """An organization in test mode walks through its dunning by `farebox clock`, in its own time."""
    from farebox.organizations import test_clock

    house = debts.house
    await house.rows("UPDATE organizations SET test_mode = true RETURNING 1")
    invoice = await debts.issue(1000, terms=14)
    for days, state in ((13, "active"), (1, "past_due"), (13, "past_due"), (1, "suspended")):
        house.clock.advance(timedelta(seconds=1))
        async with house.worker.transaction() as session:
            await test_clock.advance(session, house.organization, clock=house.clock, by=days * DAY)
        await passing.run(house.till)
        assert await debts.state() == state
    case = await debts.case(invoice)
    assert timedelta() <= case["suspended_at"] - (house.clock.now() + 28 * DAY) < timedelta(seconds=5)
    await debts.transfer(1000, invoice=invoice)
    assert await debts.state() == "active"
