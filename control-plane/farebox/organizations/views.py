"""The endpoints of organizations."""

from typing import Annotated, Literal

from pydantic import Field

from farebox import problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Input, Instant, Metadata, Name, Nothing, View
from farebox.organizations import service
from farebox.organizations.fields import TimeZone
from farebox.organizations.model import Organization
from farebox.organizations.permissions import Permission, Role
from farebox.users import service as users
from farebox.web import Answer, invalid

TAG = "Organizations"


class OrganizationInput(Input):
    """Another organization of the caller's."""

    name: Annotated[Name, Field(examples=["Analytical Engines"])]
    time_zone: Annotated[TimeZone, Field(description="Billing periods begin at midnight there.")] = "UTC"
    metadata: Annotated[Metadata, Field(default_factory=dict)]


class OrganizationChange(Input):
    """What to change; what is left out stays."""

    name: Name | None = None
    metadata: Annotated[Metadata | None, Field(description="Replaces all metadata.")] = None


class OrganizationView(View):
    """An organization, and the caller's role in it."""

    id: Annotated[str, Field(examples=["org_4f7q2kx81k"])]
    name: str
    state: Literal["active", "suspended", "closed"]
    role: Role
    time_zone: str
    test_mode: Annotated[bool, Field(description="Whether it may have a test clock.")]
    metadata: dict[str, str]
    created_at: Instant


class OrganizationEntry(View):
    """An organization in the caller's list."""

    id: str
    name: str
    state: Literal["active", "suspended"]
    role: Role


class OrganizationsView(View):
    """The caller's organizations."""

    items: list[OrganizationEntry]


def _shown(organization: Organization, role: Role) -> OrganizationView:
    return OrganizationView.model_validate(
        {
            "id": f"org_{organization.public_id}",
            "name": organization.name,
            "state": organization.state,
            "role": role,
            "time_zone": organization.time_zone,
            "test_mode": organization.test_mode,
            "metadata": organization.extra,
            "created_at": organization.created_at,
        }
    )


@endpoint(
    "GET", "/organization", "Show the organization",
    tag=TAG, permission=Permission.VIEW_ORGANIZATION, data=OrganizationView,
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[OrganizationView]:
    """Shows the organization that the token carries."""
    organization = await service.get(call.session, call.organization_id)
    return Answer(_shown(organization, call.role), "Organization shown.")


@endpoint(
    "PATCH", "/organization", "Change the organization",
    tag=TAG, permission=Permission.EDIT_ORGANIZATION, body=OrganizationChange, data=OrganizationView,
)  # fmt: skip
async def change(call: Call[OrganizationChange, Nothing]) -> Answer[OrganizationView]:
    """Changes its name or metadata. The time zone is fixed by the running subscription."""
    given = call.body.model_fields_set
    if not given:
        raise invalid("(body)", "changes nothing; send name or metadata")
    organization = await service.get(call.session, call.organization_id)
    if call.body.name is not None:
        organization.name = call.body.name
    if call.body.metadata is not None:
        organization.extra = call.body.metadata
    await call.session.flush()
    return Answer(_shown(organization, call.role), "Organization changed.")


@endpoint(
    "GET", "/organizations", "List your organizations",
    tag=TAG, access=Access.USER, data=OrganizationsView,
)  # fmt: skip
async def list_mine(call: Call[Nothing, Nothing]) -> Answer[OrganizationsView]:
    """Lists every organization that the user belongs to, with his role; at most 20, so on one page."""
    entries = [
        OrganizationEntry.model_validate(
            {"id": f"org_{one.public_id}", "name": one.name, "state": one.state, "role": one.role}
        )
        for one in await service.of_user(call.session, call.user_id)
    ]
    return Answer(OrganizationsView(items=entries), "Organizations listed.")


@endpoint(
    "POST", "/organizations", "Make another organization",
    tag=TAG, access=Access.USER, body=OrganizationInput, data=OrganizationView, status=201,
    refusals=(problems.TOO_MANY_ORGANIZATIONS,),
)  # fmt: skip
async def make(call: Call[OrganizationInput, Nothing]) -> Answer[OrganizationView]:
    """Makes an organization with you as its owner, on the free plan. Switch to it to act in it."""
    await users.get(call.session, call.user_id)
    organization = await service.found(
        call.session,
        owner=call.user_id,
        name=call.body.name,
        time_zone=call.body.time_zone,
        metadata=call.body.metadata,
        now=call.now,
    )
    await call.session.refresh(organization)
    return Answer(_shown(organization, Role.OWNER), "Organization made.")


ENDPOINTS: Endpoints = (show, change, list_mine, make)
