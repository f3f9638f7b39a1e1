"""The endpoints of credits: operators give them, an organization's managers see what is left."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.billing.fields import MoneyView, money
from farebox.credits import service
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Future, Input, Instant, Nothing, View
from farebox.money import Money
from farebox.organizations import test_clock
from farebox.organizations.permissions import Permission
from farebox.plans.service import Currency
from farebox.subscriptions import ledger
from farebox.web import Answer, invalid

_PATH = "/admin/organizations/{organization_id}/credits"
_IDS = {"organization_id": "org"}
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00]*$"), Field(examples=["sorry"])
]


class GrantInput(Input):
    """Credit to give."""

    kind: Annotated[
        Literal["prepaid", "promotional"], Field(description="Bought (paid elsewhere), or given.")
    ]
    amount_minor: Annotated[int, Field(ge=1, le=10**12, description="Minor units (cents).")]
    currency: Currency
    expires_at: Annotated[
        Future | None, Field(description="In the organization's own time; left out: never.")
    ] = None
    reason: Reason


class GrantView(View):
    """A grant and what is left of it."""

    id: Annotated[str, Field(examples=["crd_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    kind: Literal["prepaid", "promotional", "balance"]
    amount: MoneyView
    remaining: MoneyView
    expires_at: Instant | None
    granted_at: Instant
    source: str


class GrantsView(View):
    """The organization's grants, the newest first, and what is left in each currency."""

    items: list[GrantView]
    left: list[MoneyView]


@endpoint(
    "GET", "/billing/credits", "List credits",
    tag="Billing", permission=Permission.VIEW_BILLING, data=GrantsView,
)  # fmt: skip
async def list_mine(call: Call[Nothing, Nothing]) -> Answer[GrantsView]:
    """Shows what was granted and what is left; credits pay invoices when those are finalized."""
    return Answer(await shown(call.session, call.organization_id), "Credits listed.")


@endpoint(
    "GET", _PATH, "List an organization's credits",
    tag="Operators", access=Access.OPERATOR, data=GrantsView, identifiers=_IDS,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def list_theirs(call: Call[Nothing, Nothing]) -> Answer[GrantsView]:
    """Shows what was granted and what is left."""
    found = await call.operate_within(call.identifier("organization_id"))
    return Answer(await shown(call.session, found), "Credits listed.")


@endpoint(
    "POST", _PATH, "Give an organization credit",
    tag="Operators", access=Access.OPERATOR, body=GrantInput, data=GrantsView, status=201, identifiers=_IDS,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def give(call: Call[GrantInput, Nothing]) -> Answer[GrantsView]:
    """Pays invoices of periods that end by its expiry, from the next one that is finalized."""
    found = await call.operate_within(call.identifier("organization_id"))
    body, now = call.body, (await test_clock.time_of(call.session, found)).at(call.now)
    if body.expires_at is not None and body.expires_at <= now:
        raise invalid("expires_at", "must lie in the future of the organization's own time")
    await service.grant(
        call.session,
        found,
        kind=body.kind,
        amount=Money(body.currency, body.amount_minor),
        expires_at=body.expires_at,
        source=f"{ledger.operator(call.user_id)}: {body.reason}",
        now=now,
    )
    return Answer(await shown(call.session, found), "Credit given.")


@endpoint(
    "DELETE", _PATH + "/{grant_id}", "Take the rest of a grant away",
    tag="Operators", access=Access.OPERATOR, data=GrantsView, identifiers=_IDS | {"grant_id": "crd"},
    refusals=(problems.NOT_FOUND, problems.STILL_IN_USE),
)  # fmt: skip
async def take(call: Call[Nothing, Nothing]) -> Answer[GrantsView]:
    """Expires it at once. What it paid stays paid; a balance is the customer's own and stays."""
    found = await call.operate_within(call.identifier("organization_id"))
    now = (await test_clock.time_of(call.session, found)).at(call.now)
    await service.write_off(call.session, found, call.uuid("grant_id"), now=now)
    return Answer(await shown(call.session, found), "Credit taken away.")


async def shown(session: AsyncSession, organization_id: UUID) -> GrantsView:
    """Show what an organization has."""
    left = await service.left(session, organization_id)
    return GrantsView(
        items=[
            GrantView(
                id=ids.encode("crd", each.id),
                kind=each.kind,
                amount=money(Money(each.currency, each.amount_minor)),
                remaining=money(Money(each.currency, each.remaining_minor)),
                expires_at=each.expires_at,
                granted_at=each.granted_at,
                source=each.source,
            )
            for each in await service.grants(session, organization_id)
        ],
        left=[money(Money(currency, minor)) for currency, minor in sorted(left.items())],
    )


ENDPOINTS: Endpoints = (list_mine, list_theirs, give, take)
