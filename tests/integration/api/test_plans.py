"""Choosing a plan: what starts, what ends, and that no instant belongs to two subscriptions or to none."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from tests.support import planting
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.organizations import test_clock
from farebox.organizations.model import Organization
from farebox.organizations.test_clock import TestClockError
from farebox.plans import service as plans
from farebox.plans.service import PlanInput
from farebox.subscriptions import service as subscriptions
from farebox.subscriptions.model import BillingPeriod, Subscription


async def history(worker: Database) -> list[tuple[Subscription, list[BillingPeriod]]]:
    """Every subscription with its periods, in the order of their starts."""
    async with worker.transaction() as session:
        found = list(await session.scalars(select(Subscription).order_by(Subscription.started_at)))
        periods = list(await session.scalars(select(BillingPeriod).order_by(BillingPeriod.starts_at)))
    return [(one, [period for period in periods if period.subscription_id == one.id]) for one in found]


async def test_signing_up_starts_the_free_plan(api: Api, worker: Database, clock: ManualClock) -> None:
    """The first period runs from now to the next edge in the organization's time zone."""
    body = {"email": "a@example.com", "password": "correct horse battery", "organization_name": "E"}
    await api.post("/auth/register", {**body, "time_zone": "Asia/Tokyo"})
    [(subscription, [period])] = await history(worker)
    assert (subscription.state, subscription.started_at, period.starts_at) == (
        "active",
        clock.now(),
        clock.now(),
    )
    assert period.ends_at == datetime(2026, 3, 31, 15, tzinfo=UTC)
    assert (period.is_first, period.is_last) == (True, False)


async def test_a_change_of_plan_leaves_no_gap(api: Api, worker: Database, clock: ManualClock) -> None:
    """The old subscription and its period end where the new ones begin; the gateway is told."""
    ada = await api.sign_up()
    clock.advance(timedelta(days=3))
    ada = await api.log_in(ada.email, ada.organization_id)
    upgraded = (await api.post("/billing/upgrade", {"plan": "starter"}, by=ada)).data
    assert upgraded["plan"]["code"] == "starter"
    (old, [old_period]), (new, [new_period]) = await history(worker)
    assert old.state == "ended"
    assert old.ended_at == old_period.ends_at == new.started_at == new_period.starts_at == clock.now()
    assert (old_period.is_last, new_period.is_first, new.previous_id) == (True, True, old.id)
    assert (new.anchor_day, new_period.ends_at) == (13, datetime(2026, 4, 13, tzinfo=UTC))
    async with worker.transaction() as session:
        jobs = await session.scalar(text("SELECT count(*) FROM outbox WHERE job = 'gateway.sync'"))
        revision = await session.scalar(select(Organization.edge_revision))
    assert (jobs, revision) == (2, 3)


async def test_up_and_down_and_not_to_the_same(api: Api) -> None:
    """Every plan on offer can be chosen at once; the present one, an unknown and a hidden one cannot."""
    ada = await api.sign_up()
    for plan in ("pro", "starter", "free"):
        assert (await api.post("/billing/upgrade", {"plan": plan}, by=ada)).data["plan"]["code"] == plan
    assert (await api.post("/billing/upgrade", {"plan": "free"}, by=ada)).code == "already_on_plan"
    assert (await api.post("/billing/upgrade", {"plan": "gold"}, by=ada)).code == "unknown_plan"


async def test_two_changes_at_once_are_one_after_the_other(api: Api, worker: Database) -> None:
    """However they race, one subscription is active and the chain has no gap."""
    ada = await api.sign_up()
    wanted = ["pro", "starter"] * 4
    replies = await asyncio.gather(*(api.post("/billing/upgrade", {"plan": plan}, by=ada) for plan in wanted))
    assert {reply.status for reply in replies} <= {200, 409}
    async with worker.transaction() as session:
        rows = {one.id: one for one in await session.scalars(select(Subscription))}
    active = [one for one in rows.values() if one.state == "active"]
    assert len(active) == 1
    chain, one = 1, active[0]
    while one.previous_id is not None:
        before = rows[one.previous_id]
        assert before.ended_at == one.started_at
        chain, one = chain + 1, before
    assert chain == len(rows)


async def test_a_change_after_missed_edges_fills_the_periods_in(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """If the billing job was down over the month's end, a change of plan makes the missing periods first."""
    ada = await api.sign_up()
    clock.advance(timedelta(days=70))
    ada = await api.log_in(ada.email, ada.organization_id)
    current = (await api.get("/billing/current", by=ada)).data
    assert (current["period_start"], current["period_end"]) == (
        "2026-05-01T00:00:00Z",
        "2026-06-01T00:00:00Z",
    )
    await api.post("/billing/upgrade", {"plan": "pro"}, by=ada)
    (_, periods), _ = await history(worker)
    edges = [(period.starts_at, period.ends_at) for period in periods]
    assert [end for _, end in edges][:-1] == [start for start, _ in edges][1:]
    assert edges[-1] == (datetime(2026, 5, 1, tzinfo=UTC), clock.now())
    assert [period.is_last for period in periods] == [False, False, True]


async def test_the_current_bill_is_the_invoice_to_come(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Starter with 15,000 billable requests comes to 60 dollars; refused and test requests cost nothing."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    await api.post("/billing/upgrade", {"plan": "starter"}, by=ada)
    key = (await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)).data["id"]
    await planting.usage(worker, organization, clock.now(), key=key, requests=15_000)
    await planting.usage(
        worker, organization, clock.now(), key=key, requests=70, outcome="rate_limited", status=429
    )
    await planting.usage(worker, organization, clock.now(), key=key, requests=9, environment="test")
    bill = (await api.get("/billing/current", by=ada)).data
    assert bill["total"] == {"currency": "USD", "minor": 6000, "decimal": "60.00"}
    assert bill["billable"]["units"] == 15_000
    assert {reason: entry["requests"] for reason, entry in bill["excluded"].items()} == {
        "rate_limited": 70,
        "test_key": 9,
    }
    usage = (await api.get("/billing/usage", by=ada)).data
    assert usage["billable"] == bill["billable"]
    assert usage["by_day"][0]["day"] == "2026-03-10"
    stats = (await api.get("/dashboard/stats", by=ada)).data
    assert stats["quota"] == {"units": 10_000, "kind": "soft", "used": 15_000, "remaining": 0}
    assert stats["refused_requests"] == 70


@pytest.mark.parametrize(
    ("plan", "units", "minor"),
    [("free", 0, 0), ("starter", 0, 1000), ("starter", 10_000, 1000), ("starter", 10_001, 1001),
     ("starter", 15_000, 6000), ("pro", 10**12, 5000)],
)  # fmt: skip
async def test_calculate(api: Api, plan: str, units: int, minor: int) -> None:
    """What-if is the rating of an invoice, at the edges of what is included too."""
    ada = await api.sign_up()
    answer = (await api.post("/billing/calculate", {"plan": plan, "units": units}, by=ada)).data
    assert answer["total"]["minor"] == minor
    assert sum(line["amount"]["minor"] for line in answer["lines"]) == minor


async def test_invoices_are_listed_in_pages_and_shown(api: Api, worker: Database, clock: ManualClock) -> None:
    """History pages through every invoice, newest first; one shows its lines."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    made = [
        await planting.invoice(
            worker, organization, number=f"N-{day}", at=clock.now() + timedelta(days=day), minor=day * 100
        )
        for day in range(5)
    ]
    first = (await api.get("/billing/history?limit=3", by=ada)).data
    second = (await api.get("/billing/history", by=ada, limit="3", cursor=first["next_cursor"])).data
    assert [entry["id"] for entry in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None
    shown = (await api.get(f"/billing/invoices/{made[3]}", by=ada)).data
    assert (shown["number"], shown["lines"][0]["amount"]["minor"]) == ("N-3", 300)


async def test_a_test_clock_runs_ahead_and_never_back(api: Api, worker: Database, clock: ManualClock) -> None:
    """Only in test mode, only forward; from then on the organization lives in its own time."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    with pytest.raises(TestClockError, match="not in test mode"):
        async with worker.transaction() as session:
            await test_clock.advance(session, organization, by=timedelta(days=1), clock=clock)
    async with worker.transaction() as session:
        await session.execute(text("UPDATE organizations SET test_mode = true"))
    async with worker.transaction() as session:
        present = await test_clock.advance(session, organization, by=timedelta(days=30), clock=clock)
    assert present == clock.now() + timedelta(days=30)
    with pytest.raises(TestClockError, match="never runs backwards"):
        async with worker.transaction() as session:
            await test_clock.advance(session, organization, to=clock.now(), clock=clock)
    clock.advance(timedelta(minutes=1))
    await api.post("/billing/upgrade", {"plan": "pro"}, by=ada)
    _, (new, _) = await history(worker)
    assert new.started_at == clock.now() + timedelta(days=30)


async def test_a_published_plan_is_on_offer_and_touches_nobody(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """A new version is what newcomers get; who is on the old one stays, and can move to the new one."""
    ada = await api.sign_up()
    document = PlanInput.model_validate_json(
        '{"code": "free", "name": "Free", "charges": [{"code": "base", "model": "flat", "description": "F", '
        '"amount": "1.00"}], "quota": {"units": 20, "kind": "hard"}}'
    )
    async with worker.transaction() as session:
        offer = await plans.publish(session, document, now=clock.now())
    assert (offer.version, offer.code) == (2, "free-2")
    assert [plan["version"] for plan in (await api.get("/plans")).data["items"]] == [2, 1, 1]
    assert (await api.get("/billing/current", by=ada)).data["version"] == 1
    assert (await api.post("/billing/upgrade", {"plan": "free"}, by=ada)).data["plan"]["version"] == 2
    async with worker.transaction() as session:
        organization = await planting.organization_uuid(worker, ada)
        running = await subscriptions.running(session, organization, now=clock.now())
    assert running.version.code == "free-2"
