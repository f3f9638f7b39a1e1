"""The endpoint of plans: what is on offer, to anybody."""

from typing import Annotated, Any, Literal

from pydantic import Field

from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Nothing, View
from farebox.plans import service
from farebox.plans.service import Offer
from farebox.web import Answer


class LimitView(View):
    """At most `requests` in each `window` seconds."""

    name: str
    requests: int
    window: int


class QuotaView(View):
    """Units in a billing period. Hard: requests beyond it are refused. Soft: they are billed as overage."""

    units: int
    kind: Literal["hard", "soft"]


class PlanView(View):
    """A plan on offer, in its newest version."""

    code: Annotated[str, Field(examples=["starter"])]
    name: str
    version: int
    currency: str
    charges: Annotated[
        list[dict[str, Any]], Field(description="How a period is priced; see docs/billing.md.")
    ]
    limits: list[LimitView]
    quota: QuotaView | None
    trial_days: Annotated[int, Field(description="Free days for who never had a trial; 0: none.")]
    entitlements: Annotated[
        dict[str, bool | int | float | str], Field(description="What the plan allows beside requests.")
    ]
    meters: Annotated[list[dict[str, Any]], Field(description="What charges measure; see docs/metering.md.")]


class PlansView(View):
    """The plans on offer."""

    items: list[PlanView]


def plan_view(offer: Offer) -> PlanView:
    """Show an offer."""
    return PlanView(
        code=offer.plan,
        name=offer.name,
        version=offer.version,
        currency=offer.currency,
        charges=offer.charges,
        limits=[LimitView.model_validate(limit) for limit in offer.limits],
        quota=QuotaView.model_validate(offer.quota) if offer.quota is not None else None,
        trial_days=offer.trial_days,
        entitlements=offer.entitlements,
        meters=offer.meters,
    )


@endpoint("GET", "/plans", "List the plans on offer", tag="Plans", access=Access.PUBLIC, data=PlansView)
async def list_plans(call: Call[Nothing, Nothing]) -> Answer[PlansView]:
    """Lists what an owner can choose: prices, limits and quotas."""
    return Answer(
        PlansView(items=[plan_view(offer) for offer in await service.offers(call.session)]), "Plans listed."
    )


ENDPOINTS: Endpoints = (list_plans,)
