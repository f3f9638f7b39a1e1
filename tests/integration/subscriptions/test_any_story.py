"""Whatever is asked in whatever order, and however late the worker runs: periods tile time, one plan runs."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from tests.integration.subscriptions.history import holds, periods
from tests.support import planting
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.organizations import test_clock
from farebox.plans import service as plans
from farebox.problems import Refusal
from farebox.subscriptions import acts, moving, wishes
from farebox_worker.billing.rolling import roll
from farebox_worker.subscriptions import due

ACTIONS: list[acts.Action] = [
    "cancel", "cancel_now", "undo_cancel", "pause", "resume", "suspend", "reinstate", "reactivate",
]  # fmt: skip
STEPS = 60
ZONES = ["Pacific/Kiritimati", "Pacific/Honolulu", "Europe/Berlin", "America/Sao_Paulo"]
PAUSES = [timedelta(0), timedelta(seconds=1), timedelta(days=1), timedelta(days=13)]
TRIAL = {
    "code": "gold",
    "name": "Gold",
    "charges": [{"code": "base", "model": "flat", "description": "Gold", "amount": "20.00"}],
    "trial_days": 40,
}


@pytest.mark.parametrize(
    "zone", ["Pacific/Kiritimati", "Pacific/Honolulu", "Europe/Berlin", "America/Sao_Paulo"]
)
async def test_any_order_leaves_no_gap(api: Api, worker: Database, clock: ManualClock, zone: str) -> None:
    """A seeded year and more of changes, cancellations, pauses and suspensions, at month ends above all.

    The billing run's rolling and the worker's own pass come in any order, twice, or not at all.
    """
    chance = random.Random(zone)
    clock.instant = datetime(2026, 1, 31, 9, 59, 59, tzinfo=UTC)
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    async with worker.transaction() as session:
        await plans.publish(session, plans.PlanInput.model_validate(TRIAL), now=clock.now())
    refused: list[int] = []
    for _ in range(STEPS):
        clock.advance(
            chance.choice([timedelta(0), timedelta(seconds=1), timedelta(days=1), timedelta(days=13)])
        )
        for _ in range(chance.randrange(3)):
            if chance.random() < 0.5:
                await roll(worker, {}, now=clock.now())
            else:
                await due.run(worker, clock)
        try:
            async with worker.transaction() as session:
                if chance.random() < 0.4:
                    offer = await plans.offer(session, chance.choice(["free", "starter", "pro", "gold"]))
                    await wishes.change(
                        session,
                        organization,
                        offer,
                        wall=clock.now(),
                        actor="test",
                        when=chance.choice([None, "now", "period_end"]),
                        anchor=chance.choice(["day", "month"]),
                        time_zone=chance.choice([None, zone]),
                    )
                else:
                    await acts.act(
                        session,
                        organization,
                        chance.choice(ACTIONS),
                        wall=clock.now(),
                        cause="t",
                        actor="test",
                    )
        except Refusal as refusal:
            refused.append(refusal.problem.status)
        await holds(worker)
    await due.run(worker, clock)
    await roll(worker, {}, now=clock.now())
    await holds(worker)
    assert 0 < len(refused) < STEPS
    assert set(refused) == {409}
    assert (await periods(worker))[-1].ends_at > clock.now()


async def test_a_change_for_the_last_instant_is_done_at_the_edge(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Asked a microsecond before midnight in Kiritimati, it is done at midnight there."""
    body = {"email": "k@example.com", "password": "correct horse battery staple", "organization_name": "K"}
    registered = (await api.post("/auth/register", {**body, "time_zone": "Pacific/Kiritimati"})).data
    kai = await api.log_in("k@example.com", registered["organization"]["id"])
    path = "/billing/subscription/change"
    month = {"plan": "pro", "anchor": "month"}
    assert (await api.post(path, month, by=kai)).data["period_end"] == "2026-03-31T10:00:00Z"
    edge = datetime(2026, 3, 31, 10, tzinfo=UTC)
    clock.instant = edge - timedelta(microseconds=1)
    kai = await api.log_in(kai.email, kai.organization_id)
    assert (await api.post(path, {"plan": "starter"}, by=kai)).data["change_at"] == "2026-03-31T10:00:00Z"
    assert await due.run(worker, clock) == 0
    clock.instant = edge
    # Whether rolling or the worker's own pass comes first, or both come twice at once, decides nothing.
    await roll(worker, {}, now=clock.now())
    await asyncio.gather(due.run(worker, clock), due.run(worker, clock), roll(worker, {}, now=clock.now()))
    shown = (await api.get("/billing/subscription", by=kai)).data
    assert (shown["plan"]["code"], shown["period_start"], shown["period_end"]) == (
        "starter",
        "2026-03-31T10:00:00Z",
        "2026-04-30T10:00:00Z",
    )
    await holds(worker)


async def test_a_test_clock_brings_due_what_the_wall_does_not(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Transitions are dated in the organization's own time."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    await api.post("/billing/subscription/cancel", {}, by=ada)
    async with worker.transaction() as session:
        await session.execute(text("UPDATE organizations SET test_mode = true"))
    async with worker.transaction() as session:
        await test_clock.advance(session, organization, clock=clock, by=timedelta(days=62))
    await due.run(worker, clock)
    shown = (await api.get("/billing/subscription", by=ada)).data
    assert (shown["plan"]["code"], shown["started_at"]) == ("free", "2026-04-10T00:00:00Z")
    await holds(worker)


async def test_a_suspended_organization_is_moved_at_the_edge(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """A move never lifts a suspension, and is done once however often it is asked for."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    async with worker.transaction() as session:
        source = (await plans.offer(session, "starter")).version_id
        target = await plans.offer(session, "pro")
        await acts.act(session, organization, "suspend", wall=clock.now(), cause="t", actor="test")
    for expected in ("scheduled", "scheduled"):
        async with worker.transaction() as session:
            became = await moving.move(
                session, organization, target, source=source, when="now", wall=clock.now(), actor="test"
            )
        assert became == expected
    clock.instant = datetime(2026, 4, 10, tzinfo=UTC)
    await due.run(worker, clock)
    ada = await api.log_in(ada.email, ada.organization_id)
    shown = (await api.get("/billing/subscription", by=ada)).data
    assert (shown["plan"]["code"], shown["state"], shown["period_start"]) == (
        "pro",
        "suspended",
        "2026-04-10T00:00:00Z",
    )
    await holds(worker)
