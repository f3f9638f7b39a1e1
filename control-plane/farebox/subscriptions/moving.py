"""Moving an organization to another version of what it has, at an operator's wish: not a choice of plan.

Its periods keep their anchor, and a trial goes on. One that is suspended is moved at its period's end; one
that is paused, cancelled or about to change is left for a person.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from farebox.gateways import service as gateways
from farebox.plans.service import Offer
from farebox.subscriptions import ledger, service, states
from farebox.subscriptions.wishes import When

Moved = Literal["moved", "scheduled", "left"]
"""`left`: the organization was on another version already, is paused, or has plans of its own."""


async def move(
    session: AsyncSession,
    organization_id: UUID,
    offer: Offer,
    *,
    source: UUID,
    when: When,
    wall: datetime,
    actor: str,
) -> Moved:
    """Put the organization from the version `source` on the offer's. Doing it twice is doing it once."""
    stands = await service.standing(session, organization_id, wall=wall)
    subscription = stands.running.subscription
    if subscription.plan_version_id != source or subscription.state in {"paused", "cancelled"}:
        return "left"
    cause = f"moved to {offer.code}"
    if when == "now" and subscription.state in states.CHANGE.sources:
        await service.follow(
            session,
            stands.running,
            offer,
            at=stands.now,
            transition=states.CHANGE,
            anchor_day=subscription.anchor_day,
            trial_ends_at=subscription.trial_ends_at if subscription.state == "trialing" else None,
            cause=cause,
            actor=actor,
        )
        await gateways.touch(session, organization_id)
        return "moved"
    if subscription.next_plan_version_id is not None:
        return "left" if subscription.next_plan_version_id != offer.version_id else "scheduled"
    state = subscription.state
    subscription.change_at = stands.running.period.ends_at
    subscription.next_plan_version_id = offer.version_id
    await ledger.record(
        session,
        subscription,
        states.SCHEDULE_CHANGE,
        before=state,
        to=state,
        at=stands.now,
        cause=cause,
        actor=actor,
    )
    return "scheduled"
