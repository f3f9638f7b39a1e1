"""The operators' endpoints of the catalogue: drafts, publishing, withdrawing, moving, deleting."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from farebox import problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Empty, Input, Instant, Nothing, View
from farebox.organizations.model import Organization
from farebox.plans import editing, service
from farebox.plans.model import Plan, PlanVersion
from farebox.plans.service import PlanInput, VersionInput
from farebox.plans.views import PlanView, plan_view
from farebox.problems import Refusal
from farebox.subscriptions import ledger, moving
from farebox.web import Answer

_TAG = "Operators"
_VERSION = "/admin/plan-versions/{version}"
_MOST_MOVED = 500
VersionCode = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9\-]{0,39}-[0-9]{1,9}$"), Field(examples=["starter-2"])
]


class VersionView(View):
    """A version of a plan as operators see it."""

    version: Annotated[str, Field(examples=["starter-2"])]
    state: Literal["draft", "published", "withdrawn"]
    public: bool
    plan: PlanView
    without_counter: Literal["open", "closed"]
    published_at: Instant | None
    organizations: Annotated[int, Field(description="How many are on it now.")]


class VersionsView(View):
    """Every version of every plan."""

    items: list[VersionView]


class MoveInput(Input):
    """Where to, and when."""

    to: VersionCode
    at: Literal["now", "period_end"] = "period_end"


class MoveView(View):
    """What became of the organizations on a version."""

    moved: int
    scheduled: int
    left: Annotated[int, Field(description="Paused, cancelled or about to change: for a person to decide.")]


@endpoint(
    "GET", "/admin/plans", "List every version of every plan",
    tag=_TAG, access=Access.OPERATOR, data=VersionsView,
)  # fmt: skip
async def list_versions(call: Call[Nothing, Nothing]) -> Answer[VersionsView]:
    """Drafts and withdrawn versions too, each with how many organizations are on it."""
    found = await editing.versions(call.session)
    return Answer(VersionsView(items=[_view(*each) for each in found]), "Plans listed.")


@endpoint(
    "POST", "/admin/plans", "Draft the next version of a plan",
    tag=_TAG, access=Access.OPERATOR, body=PlanInput, data=VersionView, status=201,
)  # fmt: skip
async def draft(call: Call[PlanInput, Nothing]) -> Answer[VersionView]:
    """Makes the plan if it is new. Its name and visibility hold at once; the draft is offered to nobody until
    it is published.
    """
    version = await editing.draft(call.session, call.body)
    return Answer(await _shown(call, version.code), f"{version.code} drafted.")


@endpoint(
    "PUT", _VERSION, "Edit a draft",
    tag=_TAG, access=Access.OPERATOR, body=VersionInput, data=VersionView,
    refusals=(problems.UNKNOWN_PLAN, problems.PLAN_VERSION_FROZEN),
)  # fmt: skip
async def edit(call: Call[VersionInput, Nothing]) -> Answer[VersionView]:
    """Replaces all that the draft says."""
    version = await editing.edit(call.session, call.request.match_info["version"], call.body)
    return Answer(await _shown(call, version.code), f"{version.code} edited.")


@endpoint(
    "POST", f"{_VERSION}/publish", "Publish a draft",
    tag=_TAG, access=Access.OPERATOR, data=VersionView,
    refusals=(problems.UNKNOWN_PLAN, problems.PLAN_VERSION_FROZEN),
)  # fmt: skip
async def publish(call: Call[Nothing, Nothing]) -> Answer[VersionView]:
    """Freezes it for good and offers it. Who is on an older version stays there."""
    version = await editing.publish(call.session, call.request.match_info["version"], now=call.now)
    return Answer(await _shown(call, version.code), f"{version.code} published.")


@endpoint(
    "POST", f"{_VERSION}/withdraw", "Withdraw a version",
    tag=_TAG, access=Access.OPERATOR, data=VersionView,
    refusals=(problems.UNKNOWN_PLAN, problems.STILL_IN_USE),
)  # fmt: skip
async def withdraw(call: Call[Nothing, Nothing]) -> Answer[VersionView]:
    """Offers it no more. Who is on it stays and is billed by it; the newest version left is offered."""
    version = await editing.withdraw(call.session, call.request.match_info["version"])
    return Answer(await _shown(call, version.code), f"{version.code} withdrawn.")


@endpoint(
    "POST", f"{_VERSION}/move", "Move a version's organizations to another",
    tag=_TAG, access=Access.OPERATOR, body=MoveInput, data=MoveView,
    refusals=(problems.UNKNOWN_PLAN, problems.STILL_IN_USE),
)  # fmt: skip
async def move(call: Call[MoveInput, Nothing]) -> Answer[MoveView]:
    """Moves all of them in one transaction, up to 500; `farebox plan move` has no such bound."""
    source = await editing.version_named(call.session, call.request.match_info["version"])
    target = await editing.version_named(call.session, call.body.to)
    if target.state == "draft":
        raise Refusal(problems.UNKNOWN_PLAN, f"{target.code} is a draft; publish it first.")
    found = await editing.riders(call.session, source.id)
    if len(found) > _MOST_MOVED:
        raise Refusal(
            problems.STILL_IN_USE,
            f"{len(found)} organizations are on {source.code}; use `farebox plan move`.",
            details={"organizations": len(found)},
        )
    offer = await service.offer_of_version(call.session, target.id)
    counts = {"moved": 0, "scheduled": 0, "left": 0}
    for organization_id in found:
        organization = await call.session.get_one(Organization, organization_id)
        await call.operate_within(organization.public_id)
        became = await moving.move(
            call.session,
            organization_id,
            offer,
            source=source.id,
            when=call.body.at,
            wall=call.now,
            actor=ledger.operator(call.user_id),
        )
        counts[became] += 1
    return Answer(MoveView(**counts), f"{len(found)} organizations looked at.")


@endpoint(
    "DELETE", _VERSION, "Delete a draft",
    tag=_TAG, access=Access.OPERATOR, data=Empty,
    refusals=(problems.UNKNOWN_PLAN, problems.PLAN_VERSION_FROZEN),
)  # fmt: skip
async def delete_draft(call: Call[Nothing, Nothing]) -> Answer[Empty]:
    """A version that was published is withdrawn instead."""
    await editing.delete_draft(call.session, call.request.match_info["version"])
    return Answer(Empty(), "Draft deleted.")


@endpoint(
    "DELETE", "/admin/plans/{plan}", "Delete a plan that was never published",
    tag=_TAG, access=Access.OPERATOR, data=Empty, refusals=(problems.UNKNOWN_PLAN, problems.STILL_IN_USE),
)  # fmt: skip
async def delete_plan(call: Call[Nothing, Nothing]) -> Answer[Empty]:
    """Refused while anybody is on it, and once a version was published: invoices may rest on that."""
    await editing.delete_plan(call.session, call.request.match_info["plan"])
    return Answer(Empty(), "Plan deleted.")


async def _shown(call: Call[Any, Any], code: str) -> VersionView:
    for plan, version, organizations in await editing.versions(call.session):
        if version.code == code:
            return _view(plan, version, organizations)
    raise Refusal(problems.UNKNOWN_PLAN)


def _view(plan: Plan, version: PlanVersion, organizations: int) -> VersionView:
    return VersionView(
        version=version.code,
        state=version.state,
        public=plan.public,
        plan=plan_view(service.as_offer(plan, version)),
        without_counter=version.without_counter,
        published_at=version.published_at,
        organizations=organizations,
    )


ENDPOINTS: Endpoints = (
    list_versions, draft, edit, publish, withdraw, move, delete_draft, delete_plan,
)  # fmt: skip
