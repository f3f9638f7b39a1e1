"""Starting a subscription and changing its plan. Owns subscriptions and the rows of their periods.

A change of plan takes effect at once, up or down: in one transaction the old subscription ends at the
organization's present, its running period with it, and the new one starts there, anchored on that day: its
first period lasts until the same day of the next month. What was used before is the old subscription's and
is invoiced at its price.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.gateways import service as gateways
from farebox.organizations import test_clock
from farebox.plans.model import PlanVersion
from farebox.plans.service import Offer
from farebox.problems import Refusal
from farebox.subscriptions.model import BillingPeriod, Subscription
from farebox.subscriptions.periods import Period, period_after, period_containing
from farebox_contract.keys import public_id

DEFAULT_PLAN: Final = "free"
_MOST_PERIODS_BEHIND: Final = 1200
_MOST_CHANGES_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Running:
    """The running subscription with its plan version and its running period."""

    subscription: Subscription
    version: PlanVersion
    period: BillingPeriod


async def start(
    session: AsyncSession,
    organization_id: UUID,
    offer: Offer,
    *,
    time_zone: str,
    now: datetime,
    anchor_day: int = 1,
    previous_id: UUID | None = None,
) -> Subscription:
    """Start a subscription at `now` (the organization's time) with its first period."""
    subscription = Subscription(
        id=ids.uuid7(),
        organization_id=organization_id,
        public_id=public_id(),
        plan_version_id=offer.version_id,
        previous_id=previous_id,
        time_zone=time_zone,
        anchor_day=anchor_day,
        started_at=now,
    )
    session.add(subscription)
    await session.flush()
    full = period_containing(now, time_zone=time_zone, anchor_day=anchor_day)
    session.add(_row(subscription, Period(now, full.end), is_first=True))
    await session.flush()
    return subscription


async def running(session: AsyncSession, organization_id: UUID, *, now: datetime) -> Running:
    """Return the running subscription; periods that should have begun by `now` are made if they are missing.

    Locks the subscription's row until the transaction ends. `now` is the organization's time.
    """
    statement = (
        select(Subscription, PlanVersion)
        .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .where(Subscription.organization_id == organization_id, Subscription.state == "active")
        .with_for_update(of=Subscription)
    )
    for _ in range(_MOST_CHANGES_AT_ONCE):
        row = (await session.execute(statement)).one_or_none()
        if row is not None:
            subscription, version = row
            return Running(subscription, version, await roll_forward(session, subscription, now=now))
        # While we waited for its row the subscription ended; a new statement sees the one that followed.
    raise RuntimeError(f"organization {organization_id} has no active subscription")


async def roll_forward(session: AsyncSession, subscription: Subscription, *, now: datetime) -> BillingPeriod:
    """Make the rows of every period that has begun by `now`, and return the running one.

    The caller holds the subscription's row.
    """
    last = (
        await session.scalars(
            select(BillingPeriod)
            .where(BillingPeriod.subscription_id == subscription.id)
            .order_by(BillingPeriod.starts_at.desc())
            .limit(1)
        )
    ).one()
    for _ in range(_MOST_PERIODS_BEHIND):
        if now < last.ends_at:
            return last
        following = period_after(
            Period(last.starts_at, last.ends_at),
            time_zone=subscription.time_zone,
            anchor_day=subscription.anchor_day,
        )
        last = _row(subscription, following, is_first=False)
        session.add(last)
        await session.flush()
    raise RuntimeError(f"subscription {subscription.public_id} is more than a hundred years behind")


async def change_plan(
    session: AsyncSession, organization_id: UUID, offer: Offer, *, wall: datetime
) -> Subscription:
    """Put the organization on another plan at once. Raises `Refusal` 409 if it is on this version already.

    `wall` is the wall's time; the change is dated in the organization's.
    """
    await test_clock.hold_still(session)
    now = (await test_clock.time_of(session, organization_id)).at(wall)
    before = await running(session, organization_id, now=now)
    if before.version.id == offer.version_id:
        raise Refusal(problems.ALREADY_ON_PLAN)
    now = max(now, before.period.starts_at)
    before.period.is_last, before.period.ends_at = True, now
    before.subscription.state, before.subscription.ended_at = "ended", now
    await session.flush()
    subscription = await start(
        session,
        organization_id,
        offer,
        time_zone=before.subscription.time_zone,
        anchor_day=now.astimezone(ZoneInfo(before.subscription.time_zone)).day,
        previous_id=before.subscription.id,
        now=now,
    )
    await gateways.touch(session, organization_id)
    return subscription


def _row(subscription: Subscription, period: Period, *, is_first: bool) -> BillingPeriod:
    return BillingPeriod(
        id=ids.uuid7(),
        organization_id=subscription.organization_id,
        subscription_id=subscription.id,
        starts_at=period.start,
        ends_at=period.end,
        is_first=is_first,
        is_last=False,
    )
