"""Starting a subscription, changing its plan, and what others do to it. Owns subscriptions and their periods.

A change of plan ends one subscription at an instant of the organization's time and starts another there, so
that every unit belongs to exactly one. What was used before is the old subscription's and is invoiced at its
price. What comes due by itself (`scheduled`) is done before any verb sees the subscription. What customers
ask for beside a plan is in `wishes`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.gateways import service as gateways
from farebox.organizations import test_clock
from farebox.plans import service as plans
from farebox.plans.model import Plan, PlanVersion
from farebox.plans.service import Offer
from farebox.problems import Refusal
from farebox.subscriptions import ledger, states
from farebox.subscriptions.carrying import carry
from farebox.subscriptions.model import BillingPeriod, Subscription
from farebox.subscriptions.periods import Course, Period
from farebox.subscriptions.states import Transition
from farebox_contract.keys import public_id

DEFAULT_PLAN: Final = "free"
Anchor = Literal["month", "day"]
"""Periods begin on the first of the calendar month, or on the day of the month at which they were chosen."""
_MOST_PERIODS_BEHIND: Final = 1200
_MOST_CHANGES_AT_ONCE: Final = 50
_JUST_BEFORE: Final = timedelta(microseconds=1)
RUNNING: Final[ColumnElement[bool]] = Subscription.state != "ended"


@dataclass(frozen=True, slots=True)
class Running:
    """The running subscription with its plan, its plan version and its running period."""

    subscription: Subscription
    version: PlanVersion
    period: BillingPeriod
    plan: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The running subscription and the organization's present, under the lock of the subscription's row."""

    now: datetime
    running: Running


async def start(
    session: AsyncSession,
    organization_id: UUID,
    offer: Offer,
    *,
    time_zone: str,
    now: datetime,
    anchor_day: int = 1,
    previous_id: UUID | None = None,
    trial_ends_at: datetime | None = None,
    state: str | None = None,
    cause: str = "sign-up",
    actor: str = ledger.SYSTEM,
) -> Subscription:
    """Start a subscription at `now` (the organization's time) with its first period."""
    transition = states.START if trial_ends_at is None else states.START_TRIAL
    subscription = Subscription(
        id=ids.uuid7(),
        organization_id=organization_id,
        public_id=public_id(),
        plan_version_id=offer.version_id,
        previous_id=previous_id,
        state=state or transition.target,
        time_zone=time_zone,
        anchor_day=anchor_day,
        started_at=now,
        trial_ends_at=trial_ends_at,
    )
    session.add(subscription)
    await session.flush()
    session.add(period_row(subscription, course_of(subscription).around(now), is_first=True))
    await ledger.record(
        session,
        subscription,
        transition,
        before=None,
        to=subscription.state,
        at=now,
        cause=cause,
        actor=actor,
    )
    return subscription


async def running(session: AsyncSession, organization_id: UUID, *, now: datetime) -> Running:
    """Return the running subscription, after everything that came due by `now` (the organization's time).

    Locks the subscription's row until the transaction ends. Periods that should have begun are made.
    """
    statement = (
        select(Subscription, PlanVersion, Plan.code)
        .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .join(Plan, Plan.id == PlanVersion.plan_id)
        .where(Subscription.organization_id == organization_id, RUNNING)
        .with_for_update(of=Subscription)
        .execution_options(populate_existing=True)
    )
    for _ in range(_MOST_CHANGES_AT_ONCE):
        row = (await session.execute(statement)).one_or_none()
        if row is None:
            # While we waited for its row the subscription ended; a new statement sees the one that followed.
            continue
        subscription, version, plan = row
        due = subscription.next_transition_at
        if due is not None and due <= now:
            await _come_due(session, subscription, version, plan, due)
            continue
        return Running(subscription, version, await roll_forward(session, subscription, now=now), plan)
    raise RuntimeError(f"organization {organization_id} has no running subscription")


async def standing(session: AsyncSession, organization_id: UUID, *, wall: datetime) -> Standing:
    """Return the running subscription at the wall time, with every test clock held still."""
    await test_clock.hold_still(session)
    now = (await test_clock.time_of(session, organization_id)).at(wall)
    found = await running(session, organization_id, now=now)
    return Standing(max(now, found.period.starts_at), found)


async def roll_forward(session: AsyncSession, subscription: Subscription, *, now: datetime) -> BillingPeriod:
    """Make the rows of every period that has begun by `now`, and return the running one.

    The caller holds the subscription's row, and nothing comes due by `now`.
    """
    last = (
        await session.scalars(
            select(BillingPeriod)
            .where(BillingPeriod.subscription_id == subscription.id)
            .order_by(BillingPeriod.starts_at.desc())
            .limit(1)
        )
    ).one()
    course = course_of(subscription)
    for _ in range(_MOST_PERIODS_BEHIND):
        if now < last.ends_at:
            return last
        last = period_row(subscription, course.after(Period(last.starts_at, last.ends_at)), is_first=False)
        session.add(last)
        await session.flush()
    raise RuntimeError(f"subscription {subscription.public_id} is more than a hundred years behind")


async def change_plan(
    session: AsyncSession,
    organization_id: UUID,
    offer: Offer,
    *,
    wall: datetime,
    anchor: Anchor = "day",
    time_zone: str | None = None,
    cause: str = "change of plan",
    actor: str = ledger.SYSTEM,
) -> Subscription:
    """Put the organization on another plan at once. Raises `Refusal` 409 if it is on this version already,
    or suspended or paused.

    `wall` is the wall's time; the change is dated in the organization's. An organization that never had a
    trial begins with that of the plan, if the plan has one.
    """
    stands = await standing(session, organization_id, wall=wall)
    before, now = stands.running, stands.now
    if before.version.id == offer.version_id:
        raise Refusal(problems.ALREADY_ON_PLAN)
    zone = time_zone or before.subscription.time_zone
    trial_ends_at = None
    if offer.trial_days and before.subscription.state != "past_due":
        trial_ends_at = await _first_trial(session, organization_id, now + timedelta(days=offer.trial_days))
    first_day = (trial_ends_at or now).astimezone(ZoneInfo(zone)).day
    subscription = await follow(
        session,
        before,
        offer,
        at=now,
        transition=states.CHANGE,
        anchor_day=1 if anchor == "month" else first_day,
        time_zone=zone,
        trial_ends_at=trial_ends_at,
        cause=cause,
        actor=actor,
    )
    await gateways.touch(session, organization_id)
    return subscription


async def follow(
    session: AsyncSession,
    before: Running,
    offer: Offer,
    *,
    at: datetime,
    transition: Transition,
    anchor_day: int,
    cause: str,
    actor: str,
    time_zone: str | None = None,
    trial_ends_at: datetime | None = None,
) -> Subscription:
    """End a subscription with its running period `at` an instant, and start another there.

    A debt is not left behind: what follows a suspended subscription is suspended.
    """
    old, state = before.subscription, before.subscription.state
    target = ledger.following(transition, old, now=at)
    before.period.is_last, before.period.ends_at = True, at
    old.ended_at, old.state = at, target
    await ledger.record(session, old, transition, before=state, to=target, at=at, cause=cause, actor=actor)
    inherited = states.inherited(state)
    new = await start(
        session,
        old.organization_id,
        offer,
        time_zone=time_zone or old.time_zone,
        anchor_day=anchor_day,
        previous_id=old.id,
        trial_ends_at=trial_ends_at,
        state=None if inherited == "active" else inherited,
        now=at,
        cause=cause,
        actor=actor,
    )
    carried_currency = None if offer.plan == DEFAULT_PLAN else offer.currency
    await carry(session, old.id, new.id, currency=carried_currency, at=at)
    return new


async def mark_past_due(
    session: AsyncSession, organization_id: UUID, *, cause: str, actor: str, now: datetime
) -> Subscription:
    """Note that an invoice is overdue; requests are still served. `now` is the wall's time.

    Changes nothing if the subscription is past due already, suspended, paused or cancelled.
    """
    return await _apply(session, organization_id, states.MARK_PAST_DUE, cause=cause, actor=actor, wall=now)


async def suspend(
    session: AsyncSession, organization_id: UUID, *, cause: str, actor: str, now: datetime
) -> Subscription:
    """Have the gateways refuse the organization. `now` is the wall's time. Twice is once."""
    return await _apply(session, organization_id, states.SUSPEND, cause=cause, actor=actor, wall=now)


async def reinstate(
    session: AsyncSession, organization_id: UUID, *, cause: str, actor: str, now: datetime
) -> Subscription:
    """Lift a suspension or a debt: the subscription stands where its dates put it. Twice is once."""
    return await _apply(session, organization_id, states.REINSTATE, cause=cause, actor=actor, wall=now)


async def _apply(
    session: AsyncSession,
    organization_id: UUID,
    transition: Transition,
    *,
    cause: str,
    actor: str,
    wall: datetime,
) -> Subscription:
    stands = await standing(session, organization_id, wall=wall)
    subscription = stands.running.subscription
    before = subscription.state
    if before not in transition.sources:
        return subscription
    target = ledger.following(transition, subscription, now=stands.now)
    await ledger.record(
        session, subscription, transition, before=before, to=target, at=stands.now, cause=cause, actor=actor
    )
    await gateways.touch(session, organization_id)
    return subscription


async def _come_due(
    session: AsyncSession, subscription: Subscription, version: PlanVersion, plan: str, due: datetime
) -> None:
    """Do the first thing that came due, dated at its own instant: end, change, end of trial, resume."""
    period = await roll_forward(session, subscription, now=due - _JUST_BEFORE)
    before = Running(subscription, version, period, plan)
    if subscription.cancel_at == due:
        offer = await plans.offer(session, DEFAULT_PLAN, everything=True)
        await follow(
            session, before, offer, at=due, transition=states.END, anchor_day=1,
            cause="cancellation", actor=ledger.SYSTEM,
        )  # fmt: skip
    elif subscription.change_at == due and subscription.next_plan_version_id is not None:
        offer = await plans.offer_of_version(session, subscription.next_plan_version_id)
        await follow(
            session, before, offer, at=due, transition=states.END, anchor_day=subscription.anchor_day,
            cause="scheduled change of plan", actor=ledger.SYSTEM,
        )  # fmt: skip
    elif subscription.state == "trialing":
        await ledger.record(
            session, subscription, states.CONVERT, before="trialing", to="active", at=due,
            cause="end of the trial", actor=ledger.SYSTEM,
        )  # fmt: skip
    else:
        await end_pause(session, before, at=due, cause="end of the pause", actor=ledger.SYSTEM)
    await gateways.touch(session, subscription.organization_id)


async def end_pause(session: AsyncSession, paused: Running, *, at: datetime, cause: str, actor: str) -> None:
    """Resume a paused subscription. A period that began in the pause ends here, an owed one begins."""
    subscription, period = paused.subscription, paused.period
    at = max(at, period.starts_at)
    subscription.paused_at = subscription.resume_at = None
    subscription.state = target = ledger.following(states.RESUME, subscription, now=at)
    if period.kind == "paused" and at == period.starts_at:
        period.kind = "regular"
    elif period.kind == "paused" and at < period.ends_at:
        owed = Period(at, period.ends_at)
        period.ends_at, subscription.resumed_at = at, at
        await session.flush()
        session.add(period_row(subscription, owed, is_first=False))
    await ledger.record(
        session, subscription, states.RESUME, before="paused", to=target, at=at, cause=cause, actor=actor
    )


async def _first_trial(session: AsyncSession, organization_id: UUID, ends_at: datetime) -> datetime | None:
    had = exists().where(
        Subscription.organization_id == organization_id, Subscription.trial_ends_at.is_not(None)
    )
    return None if await session.scalar(select(had)) else ends_at


def course_of(subscription: Subscription) -> Course:
    """Return what the subscription's periods follow from."""
    return Course(
        subscription.time_zone,
        subscription.anchor_day,
        subscription.started_at,
        subscription.trial_ends_at,
        subscription.resumed_at,
    )


def period_row(subscription: Subscription, period: Period, *, is_first: bool) -> BillingPeriod:
    """Return the row of a period that has begun."""
    trial_ends_at, paused_at = subscription.trial_ends_at, subscription.paused_at
    kind = "regular"
    if trial_ends_at is not None and period.start < trial_ends_at:
        kind = "trial"
    elif paused_at is not None and paused_at <= period.start:
        kind = "paused"
    return BillingPeriod(
        id=ids.uuid7(),
        organization_id=subscription.organization_id,
        subscription_id=subscription.id,
        starts_at=period.start,
        ends_at=period.end,
        kind=kind,
        is_first=is_first,
        is_last=False,
    )
