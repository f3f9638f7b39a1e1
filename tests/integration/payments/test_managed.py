"""Subscriptions that Stripe manages: its payments settle our invoices once, whatever becomes of webhooks."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.integration.payments.house import House
from tests.support import planting

from farebox import ids
from farebox.payments import service
from farebox.plans import service as plans
from farebox.problems import Refusal
from farebox.sandbox.stripe import passing_time
from farebox.subscriptions import service as subscriptions
from farebox.subscriptions import wishes
from farebox_worker.payments import inbox, managing

GOLD = {
    "code": "gold",
    "name": "Gold",
    "charges": [{"code": "base", "model": "flat", "description": "Gold", "amount": "20.00"}],
}
HOUR = timedelta(hours=1, minutes=1)


async def on_plan(house: House, document: dict[str, Any] = GOLD) -> None:
    """Publish a plan and put the organization on it."""
    async with house.worker.transaction() as session:
        offer = await plans.publish(session, plans.PlanInput.model_validate(document), now=house.clock.now())
    async with house.worker.transaction() as session:
        await subscriptions.change_plan(session, house.organization, offer, wall=house.clock.now())


async def collected_by(house: House, collector: str) -> dict[str, Any]:
    """Choose who collects."""
    person = await house.api.log_in(house.person.email, house.person.organization_id)
    reply = await house.api.call("PUT", "/billing/collection", json={"collector": collector}, by=person)
    assert reply.status == 200, reply.body
    return dict(reply.data)


async def running(house: House, card: str = "visa") -> str:
    """Have a Stripe subscription made for the plan; returns its id there."""
    await house.card(card)
    await on_plan(house)
    assert (await collected_by(house, "stripe_subscription"))["state"] == "wanted"
    assert await managing.steer(house.till) == 0
    row = await house.one("SELECT * FROM stripe_subscriptions")
    assert (row["state"], row["status"], row["problem"]) == ("running", "trialing", None)
    return str(row["provider_id"])


async def passes(house: House, span: timedelta) -> None:
    """Let time pass, here and at Stripe."""
    house.clock.advance(span)
    passing_time.catch_up(house.sandbox.world)


async def to_period_end(house: House) -> None:
    """Let the running period end."""
    row = await house.one(
        "SELECT max(p.ends_at) AS ends_at FROM billing_periods p JOIN subscriptions s "
        "ON s.id = p.subscription_id WHERE s.state <> 'ended'"
    )
    await passes(house, row["ends_at"] - house.clock.now() + timedelta(minutes=5))


async def delivered(house: House, **how: Any) -> None:
    """Deliver the webhooks and handle them."""
    await house.sandbox_asked("POST", "deliveries/release", how)
    await inbox.empty(house.till)


async def issued(house: House, minor: int, number: str = "FB-9") -> UUID:
    """Plant our invoice of the period that has just ended."""
    return ids.decode(
        "inv",
        await planting.invoice(
            house.worker, house.organization, number=number, at=house.clock.now(), minor=minor
        ),
    )


async def stripe_invoices(house: House) -> list[tuple[str, int]]:
    """Return Stripe's invoices as state and amount, the oldest first."""
    rows = await house.rows("SELECT state, due_minor FROM stripe_invoices ORDER BY created_at, provider_id")
    return [(row["state"], row["due_minor"]) for row in rows]


@pytest.mark.parametrize("how", [
    {"order": "made"},
    {"order": "shuffled", "seed": 3, "duplicates": 2},
    {"order": "reversed", "duplicates": 1},
    None,
])  # fmt: skip
async def test_our_invoice_is_paid_by_stripe_s_once(house: House, how: dict[str, Any] | None) -> None:
    """A month ends: the draft asks 20.00 in advance, our 7.77 are put on it, and one payment of 27.77 settles
    ours and leaves 20.00 as balance. Webhooks in order, shuffled, doubled, or lost altogether.
    """
    there = await running(house)
    await to_period_end(house)
    if how is not None:
        await delivered(house, **how)
        assert await stripe_invoices(house) == [("draft", 2000)]
    invoice = await issued(house, 777)
    assert await managing.steer(house.till) == 0
    assert await managing.steer(house.till) == 0
    assert await stripe_invoices(house) == [("draft", 2777)]
    with pytest.raises(Refusal) as refused:
        await service.collect(house.till, house.organization, invoice, actor="system test")
    assert refused.value.problem.code == "collected_by_stripe"
    await passes(house, HOUR)
    if how is not None:
        await delivered(house, **how)
    else:
        assert await managing.steer(house.till) == 0
    assert await house.owed(invoice) == ("paid", 0)
    assert await house.balance() == 2000
    assert await house.charged() == [2777]
    assert await stripe_invoices(house) == [("paid", 2777)]
    assert await house.announced("payment.succeeded") == 1
    row = await house.one("SELECT flow, state, amount_minor, charge_id, parked FROM payments")
    assert (row["flow"], row["state"], row["amount_minor"]) == ("subscription", "succeeded", 2777)
    assert row["charge_id"].startswith("ch_")
    assert row["parked"] is None
    for event in await house.rows("SELECT event_id FROM webhook_events ORDER BY md5(event_id)"):
        await inbox.replay(house.till, "stripe", event["event_id"])
    await inbox.empty(house.till)
    assert await house.balance() == 2000
    assert await house.rows("SELECT 1 FROM webhook_events WHERE state NOT IN ('done', 'ignored')") == []
    states = await house.rows("SELECT state, provider_id FROM stripe_subscriptions")
    assert [(row["state"], row["provider_id"]) for row in states] == [("running", there)]


async def test_an_invoice_after_the_draft_s_hour_gets_one_of_its_own(house: House) -> None:
    """Lines came late: the draft is finalized already, so Stripe makes another invoice, within the hour."""
    await running(house)
    await to_period_end(house)
    await passes(house, HOUR)
    await delivered(house)
    assert await stripe_invoices(house) == [("paid", 2000)]
    invoice = await issued(house, 555)
    for _ in range(3):
        assert await managing.steer(house.till) == 0
    assert ("draft", 555) in await stripe_invoices(house)
    await passes(house, HOUR)
    await delivered(house, order="shuffled", seed=1)
    assert await house.owed(invoice) == ("paid", 0)
    assert await house.charged() == [2000, 555]
    assert await house.balance() == 2000


async def test_a_card_that_fails_is_told_and_another_one_is_tried_at_once(house: House) -> None:
    """Stripe's failure is a failed payment with the bank's reason; a new card pays what is open there."""
    await running(house, "chargeCustomerFail")
    await to_period_end(house)
    await delivered(house)
    invoice = await issued(house, 777)
    await managing.steer(house.till)
    await passes(house, HOUR)
    await delivered(house, order="shuffled", seed=5, duplicates=1)
    row = await house.one("SELECT state, failure_reason, action_url FROM payments")
    assert (row["state"], row["failure_reason"]) == ("failed", "Your card was declined.")
    assert await house.announced("payment.failed") == 1
    assert await house.owed(invoice) == ("finalized", 777)
    assert (await house.one("SELECT status FROM stripe_subscriptions"))["status"] == "past_due"
    await house.card("visa")
    assert await managing.steer(house.till) == 0
    assert await house.owed(invoice) == ("paid", 0)
    assert await house.charged() == [2777]
    await delivered(house, order="reversed")
    assert await house.balance() == 2000


async def test_an_unpaid_advance_is_not_asked_for_twice(house: House) -> None:
    """20.00 in advance went unpaid; our invoice of that period, of 27.77, has 7.77 asked for beside it."""
    await running(house, "chargeCustomerFail")
    await to_period_end(house)
    await passes(house, HOUR)
    await delivered(house)
    assert await stripe_invoices(house) == [("open", 2000)]
    async with house.worker.transaction() as session:
        await subscriptions.standing(session, house.organization, wall=house.clock.now())
    await to_period_end(house)
    await delivered(house)
    await issued(house, 2777)
    await managing.steer(house.till)
    assert await stripe_invoices(house) == [("open", 2000), ("draft", 2777)]
    assert (await house.one("SELECT amount_minor FROM stripe_items"))["amount_minor"] == 777


async def test_a_cancellation_here_ends_it_there_and_our_last_invoice_is_ours(house: House) -> None:
    """Cancelled here, it ends with its period there; what is owed after that is collected by us."""
    there = await running(house)
    async with house.worker.transaction() as session:
        await wishes.cancel(session, house.organization, wall=house.clock.now(), actor="user test")
    await managing.steer(house.till)
    assert (await house.stripe_asked("GET", f"subscriptions/{there}"))["cancel_at_period_end"] is True
    async with house.worker.transaction() as session:
        await wishes.undo_cancel(session, house.organization, wall=house.clock.now(), actor="user test")
    await delivered(house)
    await managing.steer(house.till)
    assert (await house.stripe_asked("GET", f"subscriptions/{there}"))["cancel_at_period_end"] is False
    async with house.worker.transaction() as session:
        await wishes.cancel(session, house.organization, wall=house.clock.now(), actor="user test")
    await managing.steer(house.till)
    await to_period_end(house)
    await delivered(house, order="shuffled", seed=2, duplicates=1)
    assert (await house.one("SELECT state FROM stripe_subscriptions"))["state"] == "ended"
    invoice = await issued(house, 2777)
    row = await service.collect(house.till, house.organization, invoice, actor="system test")
    assert (row.state, row.flow) == ("succeeded", "charge")
    assert await house.owed(invoice) == ("paid", 0)


async def test_a_cancellation_there_cancels_here(house: House) -> None:
    """Cancelled in Stripe's dashboard, at the period's end and taken back, then at once: ours follows."""
    there = await running(house)

    async def ours() -> str:
        row = await house.one("SELECT state FROM subscriptions WHERE state <> 'ended'")
        return str(row["state"])

    await house.stripe_asked("POST", f"subscriptions/{there}", {"cancel_at_period_end": "true"})
    await delivered(house, duplicates=1)
    assert await ours() == "cancelled"
    await house.stripe_asked("POST", f"subscriptions/{there}", {"cancel_at_period_end": "false"})
    await delivered(house, order="shuffled", seed=4, duplicates=1)
    assert await ours() == "active"
    await house.stripe_asked("DELETE", f"subscriptions/{there}")
    await delivered(house, order="reversed", duplicates=1)
    assert await ours() == "cancelled"
    cause = await house.one("SELECT cause, actor FROM subscription_transitions ORDER BY id DESC LIMIT 1")
    assert cause == {"cause": "cancelled at Stripe", "actor": "provider stripe"}
    assert (await house.one("SELECT state FROM stripe_subscriptions"))["state"] == "ended"


async def test_going_back_to_farebox_releases_what_stripe_has_not_collected(house: House) -> None:
    """Farebox collects again: the subscription ends there, and what was on a draft is charged here."""
    there = await running(house)
    await to_period_end(house)
    invoice = await issued(house, 777)
    await managing.steer(house.till)
    assert (await collected_by(house, "farebox"))["state"] == "leaving"
    await managing.steer(house.till)
    assert (await house.stripe_asked("GET", f"subscriptions/{there}"))["status"] == "canceled"
    assert (await house.one("SELECT state FROM stripe_subscriptions"))["state"] == "ended"
    await service.collect(house.till, house.organization, invoice, actor="system test")
    assert await house.owed(invoice) == ("paid", 0)
    await passes(house, timedelta(days=5))
    await delivered(house, duplicates=1)
    assert await house.charged() == [777]


async def test_a_new_plan_is_a_new_price_from_the_next_period_on(house: House) -> None:
    """Another plan: the next draft asks for its flat charge; nothing is prorated at Stripe."""
    await running(house)
    await on_plan(house, {**GOLD, "code": "platinum", "name": "Platinum",
                          "charges": [{**GOLD["charges"][0], "amount": "99.00"}]})  # type: ignore[dict-item] # fmt: skip
    assert await managing.steer(house.till) == 0
    assert await house.sandbox_asked("GET", "objects/invoiceitem") == []
    await to_period_end(house)
    await delivered(house)
    assert await stripe_invoices(house) == [("draft", 9900)]


async def test_a_lost_answer_makes_no_second_subscription_and_no_second_item(house: House) -> None:
    """Stripe did it and the answer was lost, twice: the next pass finds what is there."""
    await house.card()
    await on_plan(house)
    await collected_by(house, "stripe_subscription")
    await house.fault("lost_answer", "/v1/subscriptions", method="POST", times=3)
    assert await managing.steer(house.till) == 1
    assert await managing.steer(house.till) == 0
    assert len(await house.sandbox_asked("GET", "objects/subscription")) == 1
    await to_period_end(house)
    await issued(house, 777)
    await house.fault("lost_answer", "/v1/invoiceitems", method="POST", times=3)
    assert await managing.steer(house.till) == 1
    assert await managing.steer(house.till) == 0
    assert await stripe_invoices(house) == [("draft", 2777)]


async def test_a_line_that_is_not_ours_is_noted_for_a_person(house: House) -> None:
    """Somebody adds 5.00 in Stripe's dashboard: the money is recorded as it came, and parked."""
    there = await running(house)
    await to_period_end(house)
    [draft] = (await house.stripe_asked("GET", f"invoices?subscription={there}&status=draft"))["data"]
    await house.stripe_asked(
        "POST", "invoiceitems",
        {"customer": draft["customer"], "invoice": draft["id"], "amount": "500", "currency": "usd"},
    )  # fmt: skip
    await passes(house, HOUR)
    await delivered(house)
    row = await house.one("SELECT state, amount_minor, parked FROM payments")
    assert (row["state"], row["amount_minor"]) == ("succeeded", 2500)
    assert "a line asks for USD 5.00" in row["parked"]
    assert await house.balance() == 2500


async def test_the_choice_needs_a_card_and_a_paid_plan(house: House) -> None:
    """Without a card it is refused; on the default plan it waits, and says for what."""
    reply = await house.api.call(
        "PUT", "/billing/collection", json={"collector": "stripe_subscription"}, by=house.person
    )
    assert (reply.status, reply.code) == (409, "no_payment_method")
    await house.card()
    await collected_by(house, "stripe_subscription")
    await managing.steer(house.till)
    shown = (await house.api.get("/billing/collection", by=house.person)).data
    assert (shown["state"], shown["problem"]) == ("wanted", "It begins once a paid plan is active.")
    await collected_by(house, "farebox")
    await managing.steer(house.till)
    assert await house.sandbox_asked("GET", "objects/subscription") == []
    assert (await house.one("SELECT state FROM stripe_subscriptions"))["state"] == "ended"
