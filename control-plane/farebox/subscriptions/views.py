"""The endpoint that changes a plan. Showing a subscription is part of the current bill."""

from typing import Annotated

from pydantic import Field

from farebox import problems
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Input, Instant, Nothing, PlanCode, View
from farebox.organizations import test_clock
from farebox.organizations.permissions import Permission
from farebox.plans import service as plans
from farebox.plans.views import PlanView, plan_view
from farebox.subscriptions import service
from farebox.web import Answer


class PlanChange(Input):
    """The plan to change to."""

    plan: PlanCode


class SubscriptionView(View):
    """A subscription to a plan and its running period, in the organization's own time."""

    id: Annotated[str, Field(examples=["sub_x81k2m4n6p"])]
    plan: PlanView
    started_at: Instant
    period_start: Instant
    period_end: Instant
    time_zone: str


@endpoint(
    "POST", "/billing/upgrade", "Change the plan",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=PlanChange, data=SubscriptionView,
    refusals=(problems.UNKNOWN_PLAN, problems.ALREADY_ON_PLAN),
)  # fmt: skip
async def upgrade(call: Call[PlanChange, Nothing]) -> Answer[SubscriptionView]:
    """Changes the plan at once, to a larger or a smaller one. The running period ends now and is invoiced at
    its own price; a new one starts now, and from now on periods begin on this day of the month. Nothing is
    prorated: a flat charge is owed once for each period, however short. The new limits hold at the gateways
    within a second or so.
    """
    offer = await plans.offer(call.session, call.body.plan)
    await service.change_plan(call.session, call.organization_id, offer, wall=call.now)
    now = (await test_clock.time_of(call.session, call.organization_id)).at(call.now)
    running = await service.running(call.session, call.organization_id, now=now)
    view = SubscriptionView(
        id=f"sub_{running.subscription.public_id}",
        plan=plan_view(offer),
        started_at=running.subscription.started_at,
        period_start=running.period.starts_at,
        period_end=running.period.ends_at,
        time_zone=running.subscription.time_zone,
    )
    return Answer(view, f"The organization is on plan {offer.plan} now.")


ENDPOINTS: Endpoints = (upgrade,)
