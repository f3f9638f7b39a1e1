"""The endpoints of the choice who collects: Farebox, or a subscription that Stripe manages."""

from typing import Annotated, Literal

from pydantic import Field

from farebox import ids, problems
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Input, Instant, Nothing, View
from farebox.organizations.permissions import Permission
from farebox.payments.managed import choosing
from farebox.payments.managed.model import StripeSubscription
from farebox.payments.views import TAG, till
from farebox.web import Answer

Collector = Literal["farebox", "stripe_subscription"]


class CollectionInput(Input):
    """Who is to collect."""

    collector: Annotated[Collector, Field(examples=["stripe_subscription"])]


class CollectionView(View):
    """Who collects. `state` is the Stripe subscription's: `wanted`, `running`, or `leaving`."""

    collector: Collector
    state: Annotated[str | None, Field(description="Null where Farebox collects.")]
    subscription_id: Annotated[str | None, Field(description="Stripe's id.", examples=["sub_1"])]
    status: Annotated[str | None, Field(description="Stripe's own word for it.", examples=["active"])]
    problem: Annotated[str | None, Field(description="Why it has not begun.", examples=[None])]
    since: Instant | None


def _shown(row: StripeSubscription | None) -> CollectionView:
    if row is None:
        return CollectionView(
            collector="farebox", state=None, subscription_id=None, status=None, problem=None, since=None
        )
    return CollectionView(
        collector="farebox" if row.state == "leaving" else "stripe_subscription",
        state=row.state,
        subscription_id=row.provider_id,
        status=row.status,
        problem=row.problem,
        since=row.started_at,
    )


@endpoint(
    "GET", "/billing/collection", "Show who collects",
    tag=TAG, permission=Permission.VIEW_BILLING, data=CollectionView,
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[CollectionView]:
    """Shows whether Farebox or a subscription at Stripe asks for the organization's money."""
    return Answer(_shown(await choosing.live(call.session, call.organization_id)), "Collection shown.")


@endpoint(
    "PUT", "/billing/collection", "Choose who collects",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, body=CollectionInput, data=CollectionView,
    refusals=(problems.NO_PAYMENT_METHOD, problems.COLLECTED_BY_STRIPE, problems.PAYMENTS_UNAVAILABLE),
)  # fmt: skip
async def choose(call: Call[CollectionInput, Nothing]) -> Answer[CollectionView]:
    """Has a subscription at Stripe collect from the next period on, the plan's flat charge in advance, or has
    Farebox collect again. Invoices are ours either way.
    """
    organization, now = call.organization_id, call.now
    if call.body.collector == "farebox":
        return Answer(_shown(await choosing.leave(call.session, organization, now=now)), "Farebox collects.")
    till(call).providers.elements()
    actor = f"user {ids.encode('user', call.user_id)}"
    row = await choosing.choose(call.session, organization, actor=actor, now=now)
    return Answer(_shown(row), "A subscription at Stripe collects.")


ENDPOINTS: Endpoints = (show, choose)
