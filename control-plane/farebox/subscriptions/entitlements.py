"""The endpoints of entitlements: what the organization has beside requests, and whether it has one."""

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from farebox import problems
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Nothing, View
from farebox.organizations.permissions import Permission
from farebox.problems import Refusal
from farebox.subscriptions.present import present
from farebox.subscriptions.terms import Entitlement, entitlements_of
from farebox.web import Answer

Value = bool | int | float | str
_NAME: Final = re.compile(r"[a-zA-Z0-9_.\-]{1,64}")


class EntitlementView(View):
    """An entitlement, its value with its type, and what says so."""

    name: Annotated[str, Field(examples=["seats"])]
    type: Literal["boolean", "number", "text"]
    value: Value
    source: Annotated[str, Field(description="`plan`, an add-on's version, or `override`.")]


class EntitlementsView(View):
    """Everything that the organization has."""

    items: list[EntitlementView]


class CheckView(View):
    """Whether the organization has an entitlement: not where nothing says so, nor at false, 0 or no text."""

    name: str
    granted: bool
    value: Value | None


@endpoint(
    "GET", "/entitlements", "List entitlements",
    tag="Plans", permission=Permission.VIEW_ORGANIZATION, data=EntitlementsView,
)  # fmt: skip
async def list_entitlements(call: Call[Nothing, Nothing]) -> Answer[EntitlementsView]:
    """What the plan gives, what add-ons put over it, and over both what an operator grants."""
    stands = await present(call.session, call.organization_id, wall=call.now)
    return Answer(
        EntitlementsView(items=[_view(each) for each in entitlements_of(stands.own)]), "Entitlements listed."
    )


@endpoint(
    "GET", "/entitlements/{name}", "Check an entitlement",
    tag="Plans", permission=Permission.VIEW_ORGANIZATION, data=CheckView,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def check(call: Call[Nothing, Nothing]) -> Answer[CheckView]:
    """A name that nothing grants is answered too: it is not granted."""
    name = call.request.match_info["name"]
    if not _NAME.fullmatch(name):
        raise Refusal(problems.NOT_FOUND)
    stands = await present(call.session, call.organization_id, wall=call.now)
    value = {each.name: each.value for each in entitlements_of(stands.own)}.get(name)
    return Answer(CheckView(name=name, granted=bool(value), value=value), "Entitlement checked.")


def _view(found: Entitlement) -> EntitlementView:
    kind: Literal["boolean", "number", "text"] = "number"
    if isinstance(found.value, bool):
        kind = "boolean"
    elif isinstance(found.value, str):
        kind = "text"
    return EntitlementView(name=found.name, type=kind, value=found.value, source=found.source)


ENDPOINTS: Endpoints = (list_entitlements, check)
