"""The operators' endpoints of an organization's subscription: what its owner may do, and what only we may."""

from typing import Annotated

from pydantic import Field, StringConstraints

from farebox import problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Input, Nothing, View
from farebox.plans import service as plans
from farebox.plans.service import Entitlements, LimitInput, QuotaInput
from farebox.plans.views import LimitView, QuotaView
from farebox.subscriptions import acts, ledger, overrides, wishes
from farebox.subscriptions.acts import Action
from farebox.subscriptions.fields import ChangeInput, HistoryView, SubscriptionView, history, show
from farebox.web import Answer

_TAG = "Operators"
_PATH = "/admin/organizations/{organization_id}/subscription"
_IDS = {"organization_id": "org"}
_REFUSALS = (problems.NOT_FOUND, problems.SUBSCRIPTION_STATE)
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=400, pattern=r"^[^\x00]*$"), Field(examples=["INC-17"])
]


class ActInput(Input):
    """What to do, and why."""

    action: Action
    reason: Reason


class OverrideInput(Input):
    """What holds in place of the plan's; null leaves the plan's. All null takes the override away."""

    limits: Annotated[list[LimitInput] | None, Field(max_length=8)] = None
    quota: QuotaInput | None = None
    entitlements: Entitlements = Field(default_factory=dict)
    reason: Reason


class OverrideView(View):
    """What holds for one organization in place of its plan's."""

    limits: list[LimitView] | None
    quota: QuotaView | None
    entitlements: dict[str, bool | int | float | str]
    reason: str | None


@endpoint(
    "GET", _PATH, "Show an organization's subscription",
    tag=_TAG, access=Access.OPERATOR, data=SubscriptionView, identifiers=_IDS, refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def get(call: Call[Nothing, Nothing]) -> Answer[SubscriptionView]:
    """Shows the plan, the state, the running period and what is scheduled."""
    found = await call.operate_within(call.identifier("organization_id"))
    return Answer(await show(call.session, found, wall=call.now), "Subscription shown.")


@endpoint(
    "GET", f"{_PATH}/history", "Show what happened to an organization's subscription",
    tag=_TAG, access=Access.OPERATOR, data=HistoryView, identifiers=_IDS, refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def past(call: Call[Nothing, Nothing]) -> Answer[HistoryView]:
    """Shows the newest hundred changes of state, each with its cause and who made it."""
    found = await call.operate_within(call.identifier("organization_id"))
    return Answer(await history(call.session, found), "History shown.")


@endpoint(
    "POST", f"{_PATH}/change", "Change an organization's plan",
    tag=_TAG, access=Access.OPERATOR, body=ChangeInput, data=SubscriptionView, identifiers=_IDS,
    refusals=(*_REFUSALS, problems.UNKNOWN_PLAN, problems.ALREADY_ON_PLAN),
)  # fmt: skip
async def change(call: Call[ChangeInput, Nothing]) -> Answer[SubscriptionView]:
    """As its owner could; also to a plan that is not public."""
    found = await call.operate_within(call.identifier("organization_id"))
    body = call.body
    offer = await plans.offer(call.session, body.plan, everything=True)
    await wishes.change(
        call.session,
        found,
        offer,
        wall=call.now,
        actor=ledger.operator(call.user_id),
        when=body.when,
        anchor=body.anchor,
        time_zone=body.time_zone,
    )
    return Answer(await show(call.session, found, wall=call.now), "Plan changed, or its change scheduled.")


@endpoint(
    "POST", f"{_PATH}/act", "Cancel, pause, suspend or bring back a subscription",
    tag=_TAG, access=Access.OPERATOR, body=ActInput, data=SubscriptionView, identifiers=_IDS,
    refusals=(*_REFUSALS, problems.NOTHING_TO_CANCEL, problems.NOTHING_TO_REACTIVATE),
)  # fmt: skip
async def act(call: Call[ActInput, Nothing]) -> Answer[SubscriptionView]:
    """Does it at once; `cancel` at the period's end. The gateways follow within a second or so."""
    found = await call.operate_within(call.identifier("organization_id"))
    await acts.act(
        call.session,
        found,
        call.body.action,
        wall=call.now,
        cause=call.body.reason,
        actor=ledger.operator(call.user_id),
    )
    return Answer(await show(call.session, found, wall=call.now), "Done.")


@endpoint(
    "PUT", "/admin/organizations/{organization_id}/limits", "Override an organization's limits",
    tag=_TAG, access=Access.OPERATOR, body=OverrideInput, data=OverrideView, identifiers=_IDS,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def override(call: Call[OverrideInput, Nothing]) -> Answer[OverrideView]:
    """Sets limits and quota that hold in place of the plan's, whatever plan follows, until taken away."""
    found = await call.operate_within(call.identifier("organization_id"))
    body = call.body
    await overrides.put(
        call.session,
        found,
        limits=None if body.limits is None else [each.model_dump() for each in body.limits],
        quota=None if body.quota is None else body.quota.model_dump(),
        entitlements=body.entitlements,
        reason=body.reason,
        actor=ledger.operator(call.user_id),
        now=call.now,
    )
    view = OverrideView(
        limits=None
        if body.limits is None
        else [LimitView.model_validate(each.model_dump()) for each in body.limits],
        quota=None if body.quota is None else QuotaView.model_validate(body.quota.model_dump()),
        entitlements=body.entitlements,
        reason=body.reason,
    )
    return Answer(view, "Limits set.")


ENDPOINTS: Endpoints = (get, past, change, act, override)
