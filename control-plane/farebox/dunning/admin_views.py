"""The operators' endpoints of dunning: cases, the preview, rules and exemptions."""

from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from farebox import ids, problems
from farebox.dunning import foretelling, rules, service
from farebox.dunning.fields import (
    CaseView,
    CaseWithSteps,
    ExemptInput,
    PauseCaseInput,
    PolicyInput,
    PolicyView,
    PreviewView,
    TermsView,
    preview,
    read_case,
    read_cases,
)
from farebox.dunning.model import DunningCase
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Future, Nothing, QueryInput
from farebox.organizations.model import Organization
from farebox.pagination import PageQuery, PageView
from farebox.problems import Refusal
from farebox.subscriptions import ledger
from farebox.web import Answer

_TAG = "Operators"
_CASE = {"case_id": "dun"}
_ORGANIZATION = {"organization_id": "org"}
_FARTHEST = timedelta(days=366)
_REFUSALS = (problems.NOT_FOUND, problems.DUNNING_STATE)


class CaseQuery(PageQuery):
    """Which cases."""

    state: Annotated[
        Literal["open", "paused", "exhausted", "resolved"] | None,
        Field(description="Absent: all but resolved ones."),
    ] = None


class PreviewQuery(QueryInput):
    """Until when."""

    until: Annotated[
        Future | None, Field(description="Absent: the end of the day in UTC; a year ahead at most.")
    ] = None


@endpoint(
    "GET", "/admin/dunning", "List dunning cases",
    tag=_TAG, access=Access.OPERATOR, query=CaseQuery, data=PageView[CaseView],
    refusals=(problems.CURSOR_INVALID,),
)  # fmt: skip
async def list_cases(call: Call[Nothing, CaseQuery]) -> Answer[PageView[CaseView]]:
    """Lists every organization's cases, the newest first."""
    query = call.query
    found = await read_cases(
        call.session, state=query.state, after=_after(query.cursor), limit=query.limit + 1
    )
    following = found[query.limit - 1][1].id if len(found) > query.limit else None
    items = [view for _, view in found[: query.limit]]
    return Answer(PageView[CaseView](items=items, next_cursor=following), "Cases listed.")


@endpoint(
    "GET", "/admin/dunning/preview", "Preview what dunning would do",
    tag=_TAG, access=Access.OPERATOR, query=PreviewQuery, data=PreviewView,
)  # fmt: skip
async def foretell(call: Call[Nothing, PreviewQuery]) -> Answer[PreviewView]:
    """Says who would be reminded, charged and cut off if nobody paid, and who not and why."""
    until = min(call.query.until or foretelling.tonight(call.now), call.now + _FARTHEST)
    found = [each async for each in foretelling.foretell(call.session, until=until, wall=call.now)]
    return Answer(preview(until, found), "Nothing was done.")


@endpoint(
    "GET", "/admin/dunning/cases/{case_id}", "Show a dunning case",
    tag=_TAG, access=Access.OPERATOR, data=CaseWithSteps, identifiers=_CASE, refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[CaseWithSteps]:
    """Shows a case with its steps."""
    return Answer(await _shown(call, call.uuid("case_id")), "Case shown.")


@endpoint(
    "POST", "/admin/dunning/cases/{case_id}/pause", "Pause a dunning case",
    tag=_TAG, access=Access.OPERATOR, body=PauseCaseInput, data=CaseWithSteps, identifiers=_CASE,
    refusals=_REFUSALS,
)  # fmt: skip
async def pause(call: Call[PauseCaseInput, Nothing]) -> Answer[CaseWithSteps]:
    """Nothing more is done about the invoice; an organization that was cut off for it is served again."""
    case_id = await _enter(call)
    await service.pause(
        call.session, case_id, because=call.body.reason, actor=ledger.operator(call.user_id), wall=call.now
    )
    return Answer(await _shown(call, case_id), "Case paused.")


@endpoint(
    "POST", "/admin/dunning/cases/{case_id}/resume", "Resume a dunning case",
    tag=_TAG, access=Access.OPERATOR, data=CaseWithSteps, identifiers=_CASE, refusals=_REFUSALS,
)  # fmt: skip
async def resume(call: Call[Nothing, Nothing]) -> Answer[CaseWithSteps]:
    """Goes on with a paused case; its grace begins anew."""
    case_id = await _enter(call)
    await service.resume(call.session, case_id, wall=call.now)
    return Answer(await _shown(call, case_id), "Case resumed.")


@endpoint(
    "GET", "/admin/dunning/policy", "Show the house's rules of dunning",
    tag=_TAG, access=Access.OPERATOR, data=PolicyView,
)  # fmt: skip
async def house(call: Call[Nothing, Nothing]) -> Answer[PolicyView]:
    """Shows what holds where neither a plan nor an organization says otherwise."""
    return Answer(PolicyView(policy=await rules.house_layer(call.session)), "Rules shown.")


@endpoint(
    "PUT", "/admin/dunning/policy", "Set the house's rules of dunning",
    tag=_TAG, access=Access.OPERATOR, body=PolicyInput, data=PolicyView, refusals=(problems.DUNNING_RULES,),
)  # fmt: skip
async def set_house(call: Call[PolicyInput, Nothing]) -> Answer[PolicyView]:
    """Changes the rules that are named."""
    actor = ledger.operator(call.user_id)
    await rules.set_house(call.session, call.body.layer(), actor=actor, now=call.now)
    return Answer(PolicyView(policy=await rules.house_layer(call.session)), "Rules set.")


@endpoint(
    "PUT", "/admin/plans/{plan}/dunning", "Set a plan's rules of dunning",
    tag=_TAG, access=Access.OPERATOR, body=PolicyInput, data=PolicyView,
    refusals=(problems.NOT_FOUND, problems.DUNNING_RULES),
)  # fmt: skip
async def set_for_plan(call: Call[PolicyInput, Nothing]) -> Answer[PolicyView]:
    """Replaces what the plan says over the house; an empty body takes it away."""
    layer, plan = call.body.layer(), call.request.match_info["plan"]
    await rules.set_for_plan(call.session, plan, layer, actor=ledger.operator(call.user_id), now=call.now)
    return Answer(PolicyView(policy=layer), "Rules set.")


@endpoint(
    "GET", "/admin/organizations/{organization_id}/dunning", "Show an organization's terms of dunning",
    tag=_TAG, access=Access.OPERATOR, data=TermsView, identifiers=_ORGANIZATION,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def terms(call: Call[Nothing, Nothing]) -> Answer[TermsView]:
    """Shows its own rules, and whether it is never cut off."""
    found = await call.operate_within(call.identifier("organization_id"))
    return Answer(await _terms(call, found), "Terms shown.")


@endpoint(
    "PUT", "/admin/organizations/{organization_id}/dunning", "Set an organization's rules of dunning",
    tag=_TAG, access=Access.OPERATOR, body=PolicyInput, data=TermsView, identifiers=_ORGANIZATION,
    refusals=(problems.NOT_FOUND, problems.DUNNING_RULES),
)  # fmt: skip
async def set_own(call: Call[PolicyInput, Nothing]) -> Answer[TermsView]:
    """Replaces what holds for it over its plan's rules; an empty body takes it away."""
    found = await call.operate_within(call.identifier("organization_id"))
    actor = ledger.operator(call.user_id)
    await rules.set_own(call.session, found, call.body.layer(), actor=actor, now=call.now)
    return Answer(await _terms(call, found), "Rules set.")


@endpoint(
    "PUT", "/admin/organizations/{organization_id}/dunning/exemption", "Never cut an organization off",
    tag=_TAG, access=Access.OPERATOR, body=ExemptInput, data=TermsView, identifiers=_ORGANIZATION,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def exempt(call: Call[ExemptInput, Nothing]) -> Answer[TermsView]:
    """It is reminded and charged as before. A null `reason` ends the exemption; grace then begins anew."""
    found = await call.operate_within(call.identifier("organization_id"))
    actor = ledger.operator(call.user_id)
    if call.body.reason is None:
        await rules.end_exemption(call.session, found, actor=actor, wall=call.now)
        return Answer(await _terms(call, found), "Exemption ended.")
    await rules.exempt(
        call.session, found, because=call.body.reason, until=call.body.until, actor=actor, wall=call.now
    )
    return Answer(await _terms(call, found), "Exempt.")


async def _enter(call: Call[PauseCaseInput, Nothing] | Call[Nothing, Nothing]) -> UUID:
    """Enter the case's organization, so that its rows can be written; return the case's id."""
    case_id = call.uuid("case_id")
    found = await call.session.scalar(
        select(Organization.public_id)
        .join(DunningCase, DunningCase.organization_id == Organization.id)
        .where(DunningCase.id == case_id)
    )
    if found is None:
        raise Refusal(problems.NOT_FOUND)
    await call.operate_within(found)
    return case_id


async def _shown(
    call: Call[PauseCaseInput, Nothing] | Call[Nothing, Nothing], case_id: UUID
) -> CaseWithSteps:
    found = await read_case(call.session, case_id)
    if found is None:
        raise Refusal(problems.NOT_FOUND)
    return found


async def _terms(
    call: Call[Nothing, Nothing] | Call[PolicyInput, Nothing] | Call[ExemptInput, Nothing], found: UUID
) -> TermsView:
    standing = await rules.standing(call.session, found)
    return TermsView(
        policy=dict(standing.own),
        exempt_because=standing.exempt_because,
        exempt_until=standing.exempt_until,
    )


def _after(cursor: str | None) -> UUID | None:
    try:
        return ids.decode("dun", cursor) if cursor is not None else None
    except ids.MalformedIdError as error:
        raise Refusal(problems.CURSOR_INVALID) from error


ENDPOINTS: Endpoints = (
    list_cases, foretell, show, pause, resume, house, set_house, set_for_plan, terms, set_own, exempt,
)  # fmt: skip
