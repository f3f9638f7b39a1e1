"""What a customer, or an operator for him, asks of a running subscription: cancel, pause, change later.

Each verb takes the wall's time, is dated in the organization's own, and is refused by name in a wrong state.
What is asked twice is done once. What is scheduled here is done when it comes due by `service.running`.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.gateways import service as gateways
from farebox.plans import service as plans
from farebox.plans.model import Plan, PlanVersion
from farebox.plans.prices import is_cheaper
from farebox.plans.service import Offer
from farebox.problems import Refusal
from farebox.subscriptions import ledger, service, states
from farebox.subscriptions.model import Subscription
from farebox.subscriptions.service import DEFAULT_PLAN, Anchor
from farebox.subscriptions.states import Transition

When = Literal["now", "period_end"]


async def change(
    session: AsyncSession,
    organization_id: UUID,
    offer: Offer,
    *,
    wall: datetime,
    actor: str,
    when: When | None = None,
    anchor: Anchor = "day",
    time_zone: str | None = None,
    cause: str = "change of plan",
) -> None:
    """Change to another plan now or at the running period's end; unless said, a cheaper one at its end.

    A change to the plan that runs takes a scheduled one back. Raises `Refusal` 409 if there is none.
    """
    stands = await service.standing(session, organization_id, wall=wall)
    subscription, version = stands.running.subscription, stands.running.version
    if version.id == offer.version_id:
        if subscription.change_at is None:
            raise Refusal(problems.ALREADY_ON_PLAN)
        await drop_change(session, organization_id, wall=wall, actor=actor)
        return
    if when is None:
        when = "period_end" if is_cheaper(offer.charges, than=version.charges) else "now"
    if when == "now":
        await service.change_plan(
            session,
            organization_id,
            offer,
            wall=wall,
            anchor=anchor,
            time_zone=time_zone,
            cause=cause,
            actor=actor,
        )
        return
    _refuse_unless(states.SCHEDULE_CHANGE, subscription, stands.now)
    subscription.change_at = stands.running.period.ends_at
    subscription.next_plan_version_id = offer.version_id
    await _note(
        session,
        subscription,
        states.SCHEDULE_CHANGE,
        at=stands.now,
        cause=f"{cause} to {offer.code}",
        actor=actor,
    )


async def drop_change(session: AsyncSession, organization_id: UUID, *, wall: datetime, actor: str) -> None:
    """Take back a scheduled change of plan. Raises `Refusal` 409 if none is."""
    stands = await service.standing(session, organization_id, wall=wall)
    subscription = stands.running.subscription
    if subscription.change_at is None:
        raise Refusal(problems.NO_SCHEDULED_CHANGE)
    _refuse_unless(states.DROP_CHANGE, subscription, stands.now)
    subscription.change_at = subscription.next_plan_version_id = None
    await _note(
        session, subscription, states.DROP_CHANGE, at=stands.now, cause="change taken back", actor=actor
    )


async def cancel(
    session: AsyncSession,
    organization_id: UUID,
    *,
    wall: datetime,
    actor: str,
    when: When = "period_end",
    cause: str = "cancelled",
) -> None:
    """End the subscription at its running period's end, or now; the default plan follows.

    A cancellation replaces a scheduled change. Cancelling again changes nothing, or makes it now.
    """
    stands = await service.standing(session, organization_id, wall=wall)
    running, subscription = stands.running, stands.running.subscription
    if running.plan == DEFAULT_PLAN:
        raise Refusal(problems.NOTHING_TO_CANCEL)
    if when == "now":
        offer = await plans.offer(session, DEFAULT_PLAN, everything=True)
        await service.follow(
            session,
            running,
            offer,
            at=stands.now,
            transition=states.END,
            anchor_day=1,
            cause=cause,
            actor=actor,
        )
        await gateways.touch(session, organization_id)
        return
    if subscription.state == "cancelled":
        return
    before, target = subscription.state, ledger.following(states.CANCEL, subscription, now=stands.now)
    subscription.cancel_at = running.period.ends_at
    subscription.change_at = subscription.next_plan_version_id = None
    await ledger.record(
        session,
        subscription,
        states.CANCEL,
        before=before,
        to=target,
        at=stands.now,
        cause=cause,
        actor=actor,
    )


async def undo_cancel(session: AsyncSession, organization_id: UUID, *, wall: datetime, actor: str) -> None:
    """Take back a cancellation that has not taken effect yet. Raises `Refusal` 409 otherwise."""
    stands = await service.standing(session, organization_id, wall=wall)
    subscription = stands.running.subscription
    _refuse_unless(states.UNDO_CANCEL, subscription, stands.now)
    subscription.cancel_at = None
    target = ledger.following(states.UNDO_CANCEL, subscription, now=stands.now)
    await ledger.record(
        session,
        subscription,
        states.UNDO_CANCEL,
        before="cancelled",
        to=target,
        at=stands.now,
        cause="cancellation taken back",
        actor=actor,
    )


async def pause(
    session: AsyncSession,
    organization_id: UUID,
    *,
    wall: datetime,
    actor: str,
    resume_at: datetime | None = None,
    cause: str = "paused",
) -> None:
    """Have the gateways refuse requests until it is resumed, or until `resume_at` (its own time).

    The running period stays owed; periods that begin in the pause owe nothing.
    """
    stands = await service.standing(session, organization_id, wall=wall)
    subscription = stands.running.subscription
    if subscription.change_at is not None:
        raise Refusal(
            problems.SUBSCRIPTION_STATE, "A change of plan is scheduled; take it back before you pause."
        )
    target = ledger.following(states.PAUSE, subscription, now=stands.now)
    if resume_at is not None and resume_at <= stands.now:
        raise Refusal(
            problems.INSTANT_IN_THE_PAST, details={"field": "resume_at", "now": stands.now.isoformat()}
        )
    before = subscription.state
    subscription.paused_at, subscription.resume_at = stands.now, resume_at
    await ledger.record(
        session, subscription, states.PAUSE, before=before, to=target, at=stands.now, cause=cause, actor=actor
    )
    await gateways.touch(session, organization_id)


async def resume(
    session: AsyncSession, organization_id: UUID, *, wall: datetime, actor: str, cause: str = "resumed"
) -> None:
    """Serve again after a pause. Raises `Refusal` 409 unless the subscription is paused."""
    stands = await service.standing(session, organization_id, wall=wall)
    _refuse_unless(states.RESUME, stands.running.subscription, stands.now)
    await service.end_pause(session, stands.running, at=stands.now, cause=cause, actor=actor)
    await gateways.touch(session, organization_id)


async def reactivate(session: AsyncSession, organization_id: UUID, *, wall: datetime, actor: str) -> None:
    """Take up the last plan that was cancelled: its version, or the newest if that was withdrawn since."""
    stands = await service.standing(session, organization_id, wall=wall)
    if stands.running.plan != DEFAULT_PLAN:
        raise Refusal(problems.NOTHING_TO_REACTIVATE)
    last = (
        await session.execute(
            select(PlanVersion.id, PlanVersion.state, Plan.code)
            .select_from(Subscription)
            .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
            .join(Plan, Plan.id == PlanVersion.plan_id)
            .where(
                Subscription.organization_id == organization_id,
                Subscription.state == "ended",
                Plan.code != DEFAULT_PLAN,
            )
            .order_by(Subscription.ended_at.desc(), Subscription.id.desc())
            .limit(1)
        )
    ).one_or_none()
    if last is None:
        raise Refusal(problems.NOTHING_TO_REACTIVATE)
    if last.state == "published":
        offer = await plans.offer_of_version(session, last.id)
    else:
        offer = await plans.offer(session, last.code)
    await service.change_plan(session, organization_id, offer, wall=wall, cause="reactivation", actor=actor)


def _refuse_unless(transition: Transition, subscription: Subscription, now: datetime) -> None:
    ledger.following(transition, subscription, now=now)


async def _note(
    session: AsyncSession,
    subscription: Subscription,
    transition: Transition,
    *,
    at: datetime,
    cause: str,
    actor: str,
) -> None:
    """Write down what changes no state: something was scheduled, or taken back."""
    state = subscription.state
    await ledger.record(
        session, subscription, transition, before=state, to=state, at=at, cause=cause, actor=actor
    )
