"""The endpoints of usage corrections: operators enter and reverse them, an organization's managers see."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from farebox import ids, problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Future, Input, Instant, Name, Nothing, View
from farebox.organizations.permissions import Permission
from farebox.pagination import PageQuery, PageView
from farebox.problems import Refusal
from farebox.usage import corrections
from farebox.usage.corrections import MOST_QUANTITY
from farebox.usage.measuring import Correction
from farebox.usage.meters import UNITS
from farebox.web import Answer

_Reason = Annotated[Name, Field(description="Why; it stands on the invoice.", examples=["outage of 3 March"])]
_ORGANIZATION = {"organization_id": "org"}


class CorrectionInput(Input):
    """A correction to enter."""

    at: Annotated[Future, Field(description="A time in the period, in the organization's own time.")]
    quantity: Annotated[
        int, Field(ge=-MOST_QUANTITY, le=MOST_QUANTITY, description="Added to what was metered; not 0.")
    ]
    meter: Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,39}$")] = UNITS
    reason: _Reason


class ReversalInput(Input):
    """Why an entry is reversed."""

    reason: _Reason


class CorrectionView(View):
    """A dated entry; never changed, only reversed by another."""

    id: Annotated[str, Field(examples=["cor_01kaj3m9x2e8r9v0c7w1q5t4yz"])]
    at: Instant
    meter: str
    quantity: int
    reason: str
    actor: str
    reverses: str | None
    created_at: Instant


def _view(entry: Correction) -> CorrectionView:
    return CorrectionView(
        id=ids.encode("cor", entry.id),
        at=entry.at,
        meter=entry.meter,
        quantity=entry.quantity,
        reason=entry.reason,
        actor=entry.actor,
        reverses=None if entry.reverses is None else ids.encode("cor", entry.reverses),
        created_at=entry.created_at,
    )


def _actor(user: UUID) -> str:
    return f"operator {ids.encode('user', user)}"


@endpoint(
    "POST", "/admin/organizations/{organization_id}/usage-corrections", "Correct usage",
    tag="Operators", access=Access.OPERATOR, body=CorrectionInput, data=CorrectionView, status=201,
    identifiers=_ORGANIZATION, refusals=(problems.NOT_FOUND, problems.USAGE_BELOW_ZERO),
)  # fmt: skip
async def correct(call: Call[CorrectionInput, Nothing]) -> Answer[CorrectionView]:
    """Adds a dated, named entry to a period's metered usage, or takes some away. In a period that is invoiced
    already, the difference goes onto the next invoice.
    """
    organization_id = await call.operate_within(call.identifier("organization_id"))
    entry = await corrections.enter(
        call.session,
        organization_id,
        at=call.body.at,
        quantity=call.body.quantity,
        meter=call.body.meter,
        reason=call.body.reason,
        actor=_actor(call.user_id),
        now=call.now,
    )
    return Answer(_view(entry), "Usage corrected.")


@endpoint(
    "POST", "/admin/organizations/{organization_id}/usage-corrections/{correction_id}/reverse",
    "Reverse a usage correction",
    tag="Operators", access=Access.OPERATOR, body=ReversalInput, data=CorrectionView, status=201,
    identifiers={**_ORGANIZATION, "correction_id": "cor"},
    refusals=(problems.NOT_FOUND, problems.CORRECTION_REVERSED, problems.USAGE_BELOW_ZERO),
)  # fmt: skip
async def reverse(call: Call[ReversalInput, Nothing]) -> Answer[CorrectionView]:
    """Enters the same quantity with the other sign. The first entry stays as it is."""
    organization_id = await call.operate_within(call.identifier("organization_id"))
    entry = await corrections.reverse(
        call.session,
        organization_id,
        call.uuid("correction_id"),
        reason=call.body.reason,
        actor=_actor(call.user_id),
        now=call.now,
    )
    return Answer(_view(entry), "Correction reversed.")


@endpoint(
    "GET", "/billing/usage-corrections", "List usage corrections",
    tag="Billing", permission=Permission.VIEW_BILLING, query=PageQuery, data=PageView[CorrectionView],
    refusals=(problems.CURSOR_INVALID,),
)  # fmt: skip
async def entries(call: Call[Nothing, PageQuery]) -> Answer[PageView[CorrectionView]]:
    """Lists what operators have added to the organization's metered usage or taken from it, newest first."""
    try:
        after = ids.decode("cor", call.query.cursor) if call.query.cursor is not None else None
    except ids.MalformedIdError as error:
        raise Refusal(problems.CURSOR_INVALID) from error
    limit = call.query.limit
    found = await corrections.entries(call.session, call.organization_id, limit=limit + 1, after=after)
    following = ids.encode("cor", found[limit - 1].id) if len(found) > limit else None
    return Answer(
        PageView[CorrectionView](items=[_view(entry) for entry in found[:limit]], next_cursor=following),
        "Usage corrections listed.",
    )


ENDPOINTS: Endpoints = (correct, reverse, entries)
