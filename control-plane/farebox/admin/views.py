"""The endpoints of operators: every organization, and what the gateways have not caught up with.

They read through two functions of the database that ask again whether the user is an operator.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import text

from farebox import ids, problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Instant, Nothing, QueryInput, View
from farebox.gateways import health
from farebox.gateways.health import GatewayHealth
from farebox.pagination import PageQuery, PageView
from farebox.problems import Refusal
from farebox.web import Answer

TAG = "Operators"
_ORGANIZATIONS: Final = text(
    "SELECT * FROM farebox_operator_organizations(:user, CAST(:search AS text), CAST(:after AS uuid), :limit)"
)
_SYNC: Final = text("SELECT * FROM farebox_operator_sync(:user, :limit)")


class OrganizationsQuery(PageQuery):
    """Which organizations to list."""

    search: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00]*$")] | None,
        Field(description="Part of the name, or a public id."),
    ] = None


class SyncQuery(QueryInput):
    """How many to show."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class OrganizationRow(View):
    """An organization as operators see it."""

    id: str
    name: str
    state: Literal["active", "suspended", "closed"]
    test_mode: bool
    plan: Annotated[str | None, Field(description="The plan version it is on.", examples=["starter-1"])]
    members: int
    active_keys: int
    created_at: Instant


class SyncRow(View):
    """An organization that a gateway has not caught up with, or failed at."""

    gateway: str
    organization: str
    name: str
    state: Literal["lagging", "failed"]
    revision: Annotated[int, Field(description="What should hold.")]
    applied_revision: Annotated[int, Field(description="What the gateway has.")]
    attempts: int
    last_error: str | None
    next_attempt_at: Instant | None
    applied_at: Instant | None


class SyncGateway(View):
    """A gateway, or a node of one, that does not answer or has not its plans and routes."""

    gateway: str
    node: Annotated[str | None, Field(description="Null: the gateway's Admin API.")]
    error: str
    since: Instant | None


class SyncView(View):
    """Failures first, then what lags; and gateways and nodes that are in trouble themselves."""

    items: list[SyncRow]
    gateways: list[SyncGateway]


@endpoint(
    "GET", "/admin/organizations", "List all organizations",
    tag=TAG, access=Access.OPERATOR, query=OrganizationsQuery, data=PageView[OrganizationRow],
    refusals=(problems.CURSOR_INVALID,),
)  # fmt: skip
async def list_organizations(call: Call[Nothing, OrganizationsQuery]) -> Answer[PageView[OrganizationRow]]:
    """Lists every organization, the newest first."""
    query = call.query
    try:
        after = ids.decode("after", query.cursor) if query.cursor is not None else None
    except ids.MalformedIdError as error:
        raise Refusal(problems.CURSOR_INVALID) from error
    search = query.search.removeprefix("org_") if query.search else None
    values = {"user": call.user_id, "search": search, "after": after, "limit": query.limit + 1}
    rows = (await call.session.execute(_ORGANIZATIONS, values)).all()
    items = [
        OrganizationRow(
            id=f"org_{row.public_id}",
            name=row.name,
            state=row.state,
            test_mode=row.test_mode,
            plan=row.plan,
            members=row.members,
            active_keys=row.active_keys,
            created_at=row.created_at,
        )
        for row in rows[: query.limit]
    ]
    following = ids.encode("after", rows[query.limit - 1].id) if len(rows) > query.limit else None
    return Answer(PageView[OrganizationRow](items=items, next_cursor=following), "Organizations listed.")


@endpoint(
    "GET", "/admin/sync", "Show what the gateways have not caught up with",
    tag=TAG, access=Access.OPERATOR, query=SyncQuery, data=SyncView,
)  # fmt: skip
async def sync(call: Call[Nothing, SyncQuery]) -> Answer[SyncView]:
    """Shows failed and lagging organizations of every gateway. Empty: everything sold is enforced."""
    rows = await call.session.execute(_SYNC, {"user": call.user_id, "limit": call.query.limit})
    items = [
        SyncRow(
            gateway=row.gateway,
            organization=f"org_{row.public_id}",
            name=row.name,
            state="failed" if row.attempts else "lagging",
            revision=row.edge_revision,
            applied_revision=row.applied_revision,
            attempts=row.attempts,
            last_error=row.last_error,
            next_attempt_at=row.next_attempt_at,
            applied_at=row.applied_at,
        )
        for row in rows
    ]
    troubled = _troubled(await health.read(call.session))
    message = "Nothing waits." if not items else f"{len(items)} wait."
    return Answer(SyncView(items=items, gateways=troubled), message)


def _troubled(gateways: Sequence[GatewayHealth]) -> list[SyncGateway]:
    found = []
    for each in gateways:
        if (error := each.error or each.catalogue_error) is not None:
            found.append(SyncGateway(gateway=each.code, node=None, error=error, since=each.error_since))
        found += [
            SyncGateway(gateway=each.code, node=node.code, error=node.error, since=node.error_since)
            for node in each.nodes
            if node.error is not None
        ]
    return found


ENDPOINTS: Endpoints = (list_organizations, sync)
