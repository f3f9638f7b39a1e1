"""The endpoints of add-ons: the catalogue, and what an organization has of it."""

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.add_ons import service
from farebox.add_ons.model import AddOn, AddOnVersion
from farebox.add_ons.service import AddOnInput
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Empty, Input, Instant, Nothing, PlanCode, View
from farebox.organizations.permissions import Permission
from farebox.plans.views import LimitView
from farebox.web import Answer


class AddOnView(View):
    """An add-on on offer; the price is of one piece."""

    code: Annotated[str, Field(examples=["more-requests"])]
    version: str
    name: str
    currency: str
    charges: list[dict[str, Any]]
    limits: list[LimitView]
    quota_units: Annotated[int, Field(description="Units that each piece adds to the plan's quota.")]
    entitlements: dict[str, bool | int | float | str]


class AddOnsView(View):
    """The add-ons on offer."""

    items: list[AddOnView]


class PiecesInput(Input):
    """How many pieces of which add-on there shall be."""

    add_on: PlanCode
    quantity: Annotated[int, Field(ge=0, le=100_000, description="0 takes it off.")]


class PiecesView(View):
    """What a subscription has of an add-on."""

    add_on: str
    version: str
    name: str
    quantity: int
    from_at: Instant


class HadView(View):
    """The add-ons of the running subscription."""

    items: list[PiecesView]


@endpoint("GET", "/add-ons", "List the add-ons on offer", tag="Plans", access=Access.PUBLIC, data=AddOnsView)
async def list_add_ons(call: Call[Nothing, Nothing]) -> Answer[AddOnsView]:
    """Lists what can be had beside a plan."""
    found = await service.offered(call.session)
    return Answer(AddOnsView(items=[_view(*each) for each in found]), "Add-ons listed.")


@endpoint(
    "POST", "/admin/add-ons", "Publish the next version of an add-on",
    tag="Operators", access=Access.OPERATOR, body=AddOnInput, data=AddOnView, status=201,
)  # fmt: skip
async def publish(call: Call[AddOnInput, Nothing]) -> Answer[AddOnView]:
    """Makes the add-on if it is new. Who has pieces of an older version keeps them at its price."""
    version = await service.publish(call.session, call.body, now=call.now)
    add_on = await call.session.get_one(AddOn, version.add_on_id)
    return Answer(_view(add_on, version), f"{version.code} published.")


@endpoint(
    "DELETE", "/admin/add-ons/{add_on}", "Withdraw an add-on",
    tag="Operators", access=Access.OPERATOR, data=Empty, refusals=(problems.UNKNOWN_ADD_ON,),
)  # fmt: skip
async def withdraw(call: Call[Nothing, Nothing]) -> Answer[Empty]:
    """Offers it no more. Who has pieces keeps them."""
    await service.withdraw(call.session, call.request.match_info["add_on"])
    return Answer(Empty(), "Add-on withdrawn.")


@endpoint(
    "GET", "/billing/subscription/add-ons", "List the subscription's add-ons",
    tag="Billing", permission=Permission.VIEW_BILLING, data=HadView,
)  # fmt: skip
async def list_had(call: Call[Nothing, Nothing]) -> Answer[HadView]:
    """Lists what the running subscription has, each with its quantity."""
    return Answer(await _had(call.session, call), "Add-ons listed.")


@endpoint(
    "PUT", "/billing/subscription/add-ons", "Set how many pieces of an add-on there are",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=PiecesInput, data=HadView,
    refusals=(problems.UNKNOWN_ADD_ON, problems.SUBSCRIPTION_STATE),
)  # fmt: skip
async def put(call: Call[PiecesInput, Nothing]) -> Answer[HadView]:
    """From now on. What the pieces add to limits and quota holds at the gateways within a second or so."""
    await service.put(call.session, call.organization_id, call.body.add_on, call.body.quantity, wall=call.now)
    return Answer(await _had(call.session, call), "Add-ons set.")


async def _had(session: AsyncSession, call: Call[Any, Any]) -> HadView:
    return HadView(
        items=[
            PiecesView(
                add_on=each.code,
                version=each.version,
                name=each.name,
                quantity=each.quantity,
                from_at=each.from_at,
            )
            for each in await service.had_by(session, call.organization_id)
        ]
    )


def _view(add_on: AddOn, version: AddOnVersion) -> AddOnView:
    return AddOnView(
        code=add_on.code,
        version=version.code,
        name=add_on.name,
        currency=version.currency,
        charges=version.charges,
        limits=[LimitView.model_validate(limit) for limit in version.limits],
        quota_units=version.quota_units,
        entitlements=version.entitlements,
    )


ENDPOINTS: Endpoints = (list_add_ons, publish, withdraw, list_had, put)
