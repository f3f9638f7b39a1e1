"""The members' endpoints of their subscription. Amounts are part of the current bill, not of these."""

from typing import Any

from farebox import problems
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Input, Nothing, PlanCode
from farebox.organizations.permissions import Permission
from farebox.plans import service as plans
from farebox.subscriptions import ledger, wishes
from farebox.subscriptions.fields import (
    CancelInput,
    ChangeInput,
    HistoryView,
    PauseInput,
    SubscriptionView,
    history,
    show,
)
from farebox.subscriptions.leaving import refuse_after_use
from farebox.web import Answer

_PATH = "/billing/subscription"


class PlanChange(Input):
    """The plan to change to."""

    plan: PlanCode


@endpoint(
    "POST", "/billing/upgrade", "Change the plan now",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=PlanChange, data=SubscriptionView,
    refusals=(problems.UNKNOWN_PLAN, problems.ALREADY_ON_PLAN, problems.SUBSCRIPTION_STATE),
)  # fmt: skip
async def upgrade(call: Call[PlanChange, Nothing]) -> Answer[SubscriptionView]:
    """Changes the plan at once, to a larger or a smaller one. The running period ends now and is invoiced at
    its own price; a new one starts now, and from now on periods begin on this day of the month. The new
    limits hold at the gateways within a second or so.
    """
    offer = await plans.offer(call.session, call.body.plan)
    await refuse_after_use(call.session, call.organization_id, wall=call.now, to=offer.charges)
    await wishes.change(
        call.session, call.organization_id, offer, when="now", wall=call.now, actor=ledger.user(call.user_id)
    )
    return await _shown(call, f"The organization is on plan {offer.plan} now.")


@endpoint(
    "GET", _PATH, "Show the subscription",
    tag="Billing", permission=Permission.VIEW_BILLING, data=SubscriptionView,
)  # fmt: skip
async def get(call: Call[Nothing, Nothing]) -> Answer[SubscriptionView]:
    """Shows the plan, the state, the running period and what is scheduled."""
    return await _shown(call, "Subscription shown.")


@endpoint(
    "GET", f"{_PATH}/history", "Show what happened to the subscription",
    tag="Billing", permission=Permission.VIEW_BILLING, data=HistoryView,
)  # fmt: skip
async def past(call: Call[Nothing, Nothing]) -> Answer[HistoryView]:
    """Shows the newest hundred changes of state, each with its cause and who made it."""
    return Answer(await history(call.session, call.organization_id), "History shown.")


@endpoint(
    "POST", f"{_PATH}/change", "Change the plan, now or at the period's end",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=ChangeInput, data=SubscriptionView,
    refusals=(problems.UNKNOWN_PLAN, problems.ALREADY_ON_PLAN, problems.SUBSCRIPTION_STATE),
)  # fmt: skip
async def change(call: Call[ChangeInput, Nothing]) -> Answer[SubscriptionView]:
    """Changes to a cheaper plan at the running period's end and to any other now, unless `when` says
    otherwise. Choosing the plan that runs takes a scheduled change back.
    """
    body = call.body
    offer = await plans.offer(call.session, body.plan)
    if body.when == "now":
        await refuse_after_use(call.session, call.organization_id, wall=call.now, to=offer.charges)
    await wishes.change(
        call.session,
        call.organization_id,
        offer,
        wall=call.now,
        actor=ledger.user(call.user_id),
        when=body.when,
        anchor=body.anchor,
        time_zone=body.time_zone,
    )
    return await _shown(call, "Plan changed, or its change scheduled.")


@endpoint(
    "DELETE", f"{_PATH}/change", "Take a scheduled change of plan back",
    tag="Billing", permission=Permission.CHANGE_PLAN, data=SubscriptionView,
    refusals=(problems.NO_SCHEDULED_CHANGE, problems.SUBSCRIPTION_STATE),
)  # fmt: skip
async def drop_change(call: Call[Nothing, Nothing]) -> Answer[SubscriptionView]:
    """The plan stays as it is."""
    await wishes.drop_change(
        call.session, call.organization_id, wall=call.now, actor=ledger.user(call.user_id)
    )
    return await _shown(call, "The plan stays.")


@endpoint(
    "POST", f"{_PATH}/cancel", "Cancel the subscription",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=CancelInput, data=SubscriptionView,
    refusals=(problems.NOTHING_TO_CANCEL, problems.SUBSCRIPTION_STATE),
)  # fmt: skip
async def cancel(call: Call[CancelInput, Nothing]) -> Answer[SubscriptionView]:
    """Ends the subscription at its running period's end, or now; the free plan follows. Until then it
    serves, and the cancellation can be taken back.
    """
    if call.body.when == "now":
        await refuse_after_use(call.session, call.organization_id, wall=call.now)
    await wishes.cancel(
        call.session,
        call.organization_id,
        wall=call.now,
        actor=ledger.user(call.user_id),
        when=call.body.when,
    )
    return await _shown(call, "Cancelled.")


@endpoint(
    "DELETE", f"{_PATH}/cancel", "Take a cancellation back",
    tag="Billing", permission=Permission.CHANGE_PLAN, data=SubscriptionView,
    refusals=(problems.SUBSCRIPTION_STATE,),
)  # fmt: skip
async def undo_cancel(call: Call[Nothing, Nothing]) -> Answer[SubscriptionView]:
    """The subscription goes on as if it had not been cancelled."""
    await wishes.undo_cancel(
        call.session, call.organization_id, wall=call.now, actor=ledger.user(call.user_id)
    )
    return await _shown(call, "The cancellation is taken back.")


@endpoint(
    "POST", f"{_PATH}/pause", "Pause the subscription",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=PauseInput, data=SubscriptionView,
    refusals=(problems.SUBSCRIPTION_STATE, problems.INSTANT_IN_THE_PAST),
)  # fmt: skip
async def pause(call: Call[PauseInput, Nothing]) -> Answer[SubscriptionView]:
    """Has the gateways refuse requests until the subscription is resumed. The running period stays owed;
    periods that begin in the pause owe nothing.
    """
    await wishes.pause(
        call.session,
        call.organization_id,
        wall=call.now,
        actor=ledger.user(call.user_id),
        resume_at=call.body.resume_at,
    )
    return await _shown(call, "Paused.")


@endpoint(
    "POST", f"{_PATH}/resume", "Resume the subscription",
    tag="Billing", permission=Permission.CHANGE_PLAN, data=SubscriptionView,
    refusals=(problems.SUBSCRIPTION_STATE,),
)  # fmt: skip
async def resume(call: Call[Nothing, Nothing]) -> Answer[SubscriptionView]:
    """Serves again. A period that began in the pause ends now, and an owed one begins."""
    await wishes.resume(call.session, call.organization_id, wall=call.now, actor=ledger.user(call.user_id))
    return await _shown(call, "Resumed.")


@endpoint(
    "POST", f"{_PATH}/reactivate", "Take up a cancelled plan again",
    tag="Billing", permission=Permission.CHANGE_PLAN, data=SubscriptionView,
    refusals=(problems.NOTHING_TO_REACTIVATE, problems.UNKNOWN_PLAN, problems.SUBSCRIPTION_STATE),
)  # fmt: skip
async def reactivate(call: Call[Nothing, Nothing]) -> Answer[SubscriptionView]:
    """Puts the organization back on the last plan it had before the free one, from now on."""
    await wishes.reactivate(
        call.session, call.organization_id, wall=call.now, actor=ledger.user(call.user_id)
    )
    return await _shown(call, "Reactivated.")


async def _shown(call: Call[Any, Any], message: str) -> Answer[SubscriptionView]:
    return Answer(await show(call.session, call.organization_id, wall=call.now), message)


ENDPOINTS: Endpoints = (
    upgrade, get, past, change, drop_change, cancel, undo_cancel, pause, resume, reactivate,
)  # fmt: skip
