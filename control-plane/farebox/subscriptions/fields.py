"""How a subscription is shown, to members and to operators alike, and what both may ask of it."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.fields import Future, Input, Instant, PlanCode, View
from farebox.organizations import test_clock
from farebox.organizations.fields import TimeZone
from farebox.plans import service as plans
from farebox.plans.views import PlanView, plan_view
from farebox.subscriptions import service
from farebox.subscriptions.model import SubscriptionTransition
from farebox.subscriptions.states import State

MOST_TRANSITIONS = 100


class ChangeInput(Input):
    """The plan to change to, when, and how its periods are laid."""

    plan: PlanCode
    when: Annotated[
        Literal["now", "period_end"] | None,
        Field(description="Absent: a cheaper plan at the period's end, any other now."),
    ] = None
    anchor: Annotated[
        Literal["month", "day"],
        Field(description="Periods begin on the first of the month, or on the day of the change."),
    ] = "day"
    time_zone: Annotated[TimeZone | None, Field(description="Absent: as before.")] = None


class CancelInput(Input):
    """When the subscription ends."""

    when: Literal["now", "period_end"] = "period_end"


class PauseInput(Input):
    """Until when."""

    resume_at: Annotated[Future | None, Field(description="Absent: until it is resumed.")] = None


class TransitionView(View):
    """One change of state."""

    transition: str
    from_state: State | None
    to_state: State
    cause: str
    actor: str
    at: Annotated[Instant, Field(description="In the organization's own time.")]


class SubscriptionView(View):
    """A subscription to a plan and its running period, in the organization's own time."""

    id: Annotated[str, Field(examples=["sub_x81k2m4n6p"])]
    state: State
    plan: PlanView
    started_at: Instant
    period_start: Instant
    period_end: Instant
    period_kind: Literal["regular", "trial", "paused"]
    time_zone: str
    anchor_day: int
    trial_ends_at: Instant | None
    cancel_at: Instant | None
    resume_at: Instant | None
    change_at: Instant | None
    next_plan: PlanView | None


class HistoryView(View):
    """What happened to the organization's subscriptions, the newest first."""

    items: list[TransitionView]


async def show(session: AsyncSession, organization_id: UUID, *, wall: datetime) -> SubscriptionView:
    """Read the running subscription after everything that came due. Locks its row."""
    now = (await test_clock.time_of(session, organization_id)).at(wall)
    found = await service.running(session, organization_id, now=now)
    subscription = found.subscription
    following = None
    if subscription.next_plan_version_id is not None:
        following = plan_view(await plans.offer_of_version(session, subscription.next_plan_version_id))
    return SubscriptionView(
        id=f"sub_{subscription.public_id}",
        state=subscription.state,
        plan=plan_view(await plans.offer_of_version(session, found.version.id)),
        started_at=subscription.started_at,
        period_start=found.period.starts_at,
        period_end=found.period.ends_at,
        period_kind=found.period.kind,
        time_zone=subscription.time_zone,
        anchor_day=subscription.anchor_day,
        trial_ends_at=subscription.trial_ends_at,
        cancel_at=subscription.cancel_at,
        resume_at=subscription.resume_at,
        change_at=subscription.change_at,
        next_plan=following,
    )


async def history(session: AsyncSession, organization_id: UUID) -> HistoryView:
    """Read the newest transitions of all the organization's subscriptions."""
    rows = await session.scalars(
        select(SubscriptionTransition)
        .where(SubscriptionTransition.organization_id == organization_id)
        .order_by(SubscriptionTransition.id.desc())
        .limit(MOST_TRANSITIONS)
    )
    return HistoryView(
        items=[
            TransitionView(
                transition=row.transition,
                from_state=row.from_state,
                to_state=row.to_state,
                cause=row.cause,
                actor=row.actor,
                at=row.at,
            )
            for row in rows
        ]
    )
