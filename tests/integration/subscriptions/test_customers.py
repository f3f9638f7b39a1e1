"""What owners do with their subscription over HTTP, and what the worker does when it comes due."""

from datetime import UTC, datetime, timedelta

from tests.integration.subscriptions.history import holds, periods, subscriptions, transitions
from tests.support.api_client import Api, Person

from farebox.clock import ManualClock
from farebox.db import Database
from farebox_worker.subscriptions import due

PATH = "/billing/subscription"


async def later(api: Api, clock: ManualClock, person: Person, to: datetime) -> Person:
    """Move the clock and log in again: tokens are short-lived."""
    clock.instant = to
    return await api.log_in(person.email, person.organization_id)


async def test_a_cheaper_plan_waits_for_the_periods_end(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Unless asked for now, a downgrade is scheduled, shown, and done exactly at the period's edge."""
    ada = await api.sign_up()
    shown = (await api.post(f"{PATH}/change", {"plan": "pro"}, by=ada)).data
    assert (shown["plan"]["code"], shown["next_plan"]) == ("pro", None)
    shown = (await api.post(f"{PATH}/change", {"plan": "starter"}, by=ada)).data
    assert (shown["plan"]["code"], shown["next_plan"]["code"], shown["change_at"]) == (
        "pro",
        "starter",
        "2026-04-10T00:00:00Z",
    )
    clock.instant = datetime(2026, 4, 10, 7, tzinfo=UTC)
    assert await due.run(worker, clock) == 1
    assert await due.run(worker, clock) == 0
    *_, old, new = await subscriptions(worker)
    assert (old.ended_at, new.started_at, new.anchor_day) == (
        datetime(2026, 4, 10, tzinfo=UTC),
        datetime(2026, 4, 10, tzinfo=UTC),
        10,
    )
    ada = await api.log_in(ada.email, ada.organization_id)
    assert (await api.get(PATH, by=ada)).data["plan"]["code"] == "starter"
    await holds(worker)


async def test_a_scheduled_change_can_be_taken_back(api: Api, worker: Database, clock: ManualClock) -> None:
    """By name, or by choosing the plan that runs; then nothing happens at the edge."""
    ada = await api.sign_up()
    await api.post(f"{PATH}/change", {"plan": "pro"}, by=ada)
    await api.post(f"{PATH}/change", {"plan": "starter"}, by=ada)
    assert (await api.post(f"{PATH}/change", {"plan": "pro"}, by=ada)).data["next_plan"] is None
    assert (await api.call("DELETE", f"{PATH}/change", by=ada)).code == "no_scheduled_change"
    assert (await api.post(f"{PATH}/change", {"plan": "pro"}, by=ada)).code == "already_on_plan"
    ada = await later(api, clock, ada, datetime(2026, 4, 11, tzinfo=UTC))
    assert await due.run(worker, clock) == 0
    assert (await api.get(PATH, by=ada)).data["plan"]["code"] == "pro"
    await holds(worker)


async def test_cancelled_serves_until_the_end_then_the_default_plan_follows(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Cancelling twice is once; it can be undone until the edge; what was had can be taken up again."""
    ada = await api.sign_up()
    assert (await api.post(f"{PATH}/cancel", {}, by=ada)).code == "nothing_to_cancel"
    await api.post(f"{PATH}/change", {"plan": "starter"}, by=ada)
    for _ in range(2):
        shown = (await api.post(f"{PATH}/cancel", {}, by=ada)).data
        assert (shown["state"], shown["cancel_at"]) == ("cancelled", "2026-04-10T00:00:00Z")
    assert (await api.call("DELETE", f"{PATH}/cancel", by=ada)).data["state"] == "active"
    assert (await api.call("DELETE", f"{PATH}/cancel", by=ada)).code == "subscription_state"
    await api.post(f"{PATH}/cancel", {}, by=ada)
    ada = await later(api, clock, ada, datetime(2026, 4, 9, 23, 59, 59, tzinfo=UTC))
    assert await due.run(worker, clock) == 0
    ada = await later(api, clock, ada, datetime(2026, 6, 2, tzinfo=UTC))
    await due.run(worker, clock)
    shown = (await api.get(PATH, by=ada)).data
    assert (shown["plan"]["code"], shown["state"], shown["started_at"]) == (
        "free",
        "active",
        "2026-04-10T00:00:00Z",
    )
    assert (await api.post(f"{PATH}/reactivate", {}, by=ada)).data["plan"]["code"] == "starter"
    assert (await api.post(f"{PATH}/reactivate", {}, by=ada)).code == "nothing_to_reactivate"
    await holds(worker)


async def test_cancelling_now_ends_it_now(api: Api, worker: Database, clock: ManualClock) -> None:
    """The free plan begins where the other ends."""
    ada = await api.sign_up()
    await api.post(f"{PATH}/change", {"plan": "pro"}, by=ada)
    clock.advance(timedelta(minutes=5))
    shown = (await api.post(f"{PATH}/cancel", {"when": "now"}, by=ada)).data
    assert (shown["plan"]["code"], shown["anchor_day"]) == ("free", 1)
    assert (await transitions(worker))[-2:] == [("end", "active", "ended"), ("start", None, "active")]
    await holds(worker)


async def test_a_pause_owes_no_period_that_begins_in_it(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """The running period stays owed; the next is free until the resumption, where an owed one begins."""
    ada = await api.sign_up()
    await api.post(f"{PATH}/change", {"plan": "starter"}, by=ada)
    past = {"resume_at": "2026-03-10T11:00:00Z"}
    assert (await api.post(f"{PATH}/pause", past, by=ada)).code == "instant_in_the_past"
    paused = await api.post(f"{PATH}/pause", {"resume_at": "2026-05-20T08:00:00Z"}, by=ada)
    assert (paused.data["state"], paused.data["period_kind"]) == ("paused", "regular")
    assert (await api.post(f"{PATH}/change", {"plan": "pro"}, by=ada)).code == "subscription_state"
    assert (await api.post(f"{PATH}/pause", {}, by=ada)).code == "subscription_state"
    clock.instant = datetime(2026, 6, 1, tzinfo=UTC)
    await due.run(worker, clock)
    kinds = [(row.kind, row.starts_at.date().isoformat()) for row in (await periods(worker))[1:]]
    assert kinds == [
        ("regular", "2026-03-10"),
        ("paused", "2026-04-10"),
        ("paused", "2026-05-10"),
        ("regular", "2026-05-20"),
    ]
    assert (await periods(worker))[-1].ends_at == datetime(2026, 6, 10, tzinfo=UTC)
    await holds(worker)


async def test_a_pause_within_one_period_changes_no_edge(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Resumed before the edge, it was as if only the gateways had been told."""
    ada = await api.sign_up()
    await api.post(f"{PATH}/change", {"plan": "starter"}, by=ada)
    before = len(await periods(worker))
    await api.post(f"{PATH}/pause", {}, by=ada)
    clock.advance(timedelta(minutes=3))
    assert (await api.post(f"{PATH}/resume", {}, by=ada)).data["state"] == "active"
    assert (await api.post(f"{PATH}/resume", {}, by=ada)).code == "subscription_state"
    assert len(await periods(worker)) == before
    await holds(worker)
