"""Trials that end soon are told of once, three days ahead, in the organization's own time."""

from datetime import timedelta

from tests.integration.dunning.debts import DAY, Debts

from farebox_worker.dunning import trials


async def trial(debts: Debts, *, days: int) -> None:
    """Put the house's customer on a trial that ends so many days from now."""
    await debts.house.rows(
        "UPDATE subscriptions SET state = 'trialing', trial_ends_at = :ends WHERE organization_id = :o "
        "RETURNING 1",
        ends=debts.house.clock.now() + days * DAY, o=debts.house.organization,
    )  # fmt: skip


async def test_a_trial_is_told_of_once(debts: Debts) -> None:
    """Not four days before, once within three, and not again."""
    await trial(debts, days=14)
    debts.house.clock.advance(10 * DAY + timedelta(hours=23))
    assert await trials.run(debts.house.worker, debts.house.clock) == 0
    debts.house.clock.advance(timedelta(hours=1))
    told = [await trials.run(debts.house.worker, debts.house.clock) for _ in range(3)]
    assert told == [1, 0, 0]
    row = await debts.house.one("SELECT payload FROM outbox WHERE job = 'subscription.trial_ending'")
    assert row["payload"]["subscription"].startswith("sub_")


async def test_a_trial_that_is_over_or_no_longer_than_the_notice_is_not_told_of(debts: Debts) -> None:
    """A worker that was away does not say that something ends which has ended."""
    await trial(debts, days=14)
    debts.house.clock.advance(15 * DAY)
    assert await trials.run(debts.house.worker, debts.house.clock) == 0


async def test_a_short_trial_is_no_surprise(debts: Debts) -> None:
    """A trial of two days began when its holder read its end."""
    await debts.house.rows(
        "UPDATE subscriptions SET started_at = :now WHERE organization_id = :o RETURNING 1",
        now=debts.house.clock.now(), o=debts.house.organization,
    )  # fmt: skip
    await trial(debts, days=2)
    assert await trials.run(debts.house.worker, debts.house.clock) == 0
