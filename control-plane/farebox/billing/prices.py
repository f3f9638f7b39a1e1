"""The endpoints of prices: what the running period comes to, and what a number of units would cost.

Both show an invoice that is not written, drafted as the real ones are (`farebox.invoices.preview`).
"""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from farebox import problems
from farebox.billing.fields import CountView, MoneyView, count, money
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Input, Instant, Nothing, PlanCode, Units, View
from farebox.invoices import preview
from farebox.invoices.drafting import Line
from farebox.invoices.preview import Preview, Wish
from farebox.invoices.rating import RatingError, plain
from farebox.organizations.permissions import Permission
from farebox.plans import service as plans
from farebox.plans.views import LimitView, QuotaView
from farebox.problems import Refusal
from farebox.runtime import SETTINGS
from farebox.subscriptions import service as subscriptions
from farebox.subscriptions.present import Present, present
from farebox.subscriptions.terms import charges_of_a_full_period
from farebox.usage import meters
from farebox.web import Answer, invalid

TAG = "Billing"


class PricedLine(View):
    """A line as the invoice will have it."""

    kind: Annotated[str, Field(description="charge, minimum, maximum, discount, correction, included_tax.")]
    code: str
    description: str
    quantity: Annotated[str, Field(description="Priced units, a decimal; 1 for an amount.")]
    amount: MoneyView


class PricedTax(View):
    """A tax as the invoice will name it."""

    kind: str
    name: str
    rate: Annotated[str, Field(description="Per cent.")]
    inclusive: bool
    amount: MoneyView


class PriceView(View):
    """The sums of an invoice that is not written."""

    plan: str
    version: int
    meters: Annotated[dict[str, int], Field(description="Each meter's quantity, corrections included.")]
    lines: list[PricedLine]
    subtotal: MoneyView
    taxes: list[PricedTax]
    tax: MoneyView
    total: Annotated[MoneyView, Field(description="With tax.")]
    credits: Annotated[MoneyView, Field(description="What credits would pay of it now.")]
    due: MoneyView


class CalculateInput(Input):
    """Quantities of one full billing period, on a plan."""

    units: Units
    plan: Annotated[PlanCode | None, Field(description="Left out: the plan the organization is on.")] = None
    meters: Annotated[
        dict[str, Units],
        Field(description="Of the plan's other meters; left out: 0, and a request for each unit."),
    ] = Field(default_factory=dict)


class CalculationView(PriceView):
    """What a full period with these quantities would cost."""

    units: int


class CurrentBillView(PriceView):
    """The running period: its invoice if nothing more is used."""

    subscription: str
    plan_name: str
    limits: Annotated[list[LimitView], Field(description="As the gateways enforce them.")]
    quota: Annotated[QuotaView | None, Field(description="As the gateways enforce it.")]
    time_zone: str
    period_start: Instant
    period_end: Instant
    period_kind: Annotated[str, Field(description="regular, trial or paused; the last two owe nothing.")]
    billable: CountView
    excluded: dict[str, CountView]


@endpoint(
    "GET", "/billing/current", "Show the current bill",
    tag=TAG, permission=Permission.VIEW_BILLING, data=CurrentBillView, refusals=(problems.AMOUNT_TOO_LARGE,),
)  # fmt: skip
async def current(call: Call[Nothing, Nothing]) -> Answer[CurrentBillView]:
    """Drafts the running period's invoice from what it has used so far, as the invoice to come will be."""
    here = await present(call.session, call.organization_id, wall=call.now)
    found = await _drafted(call, here)
    term, quantities = found.metered.term, found.metered.quantities
    view = CurrentBillView(
        **_prices(found, here.plan, here.version),
        subscription=f"sub_{here.subscription}",
        plan_name=here.plan_name,
        limits=[LimitView.model_validate(limit) for limit in here.limits],
        quota=None if here.quota is None else QuotaView.model_validate(here.quota),
        time_zone=here.time_zone,
        period_start=term.starts_at,
        period_end=term.ends_at,
        period_kind=term.kind,
        billable=count(quantities.billable),
        excluded={reason: count(value) for reason, value in quantities.excluded.items()},
    )
    return Answer(view, "The running period so far.")


@endpoint(
    "POST", "/billing/calculate", "Calculate a price",
    tag=TAG, permission=Permission.VIEW_ORGANIZATION, body=CalculateInput, data=CalculationView, effect=False,
    refusals=(problems.UNKNOWN_PLAN, problems.AMOUNT_TOO_LARGE),
)  # fmt: skip
async def calculate(call: Call[CalculateInput, Nothing]) -> Answer[CalculationView]:
    """Says what a full period with these quantities would cost on a plan on offer, or on the present one.
    The organization's add-ons, coupons, taxes and credits are in it. Nothing is changed.
    """
    here = await present(call.session, call.organization_id, wall=call.now)
    wish, version = await _wish(call, here)
    known = {meters.REQUESTS, *(meter.code for meter in meters.parse(list(wish.meters)))}
    for name in call.body.meters:
        if name not in known:
            raise invalid(
                f"meters.{name}", f"is no meter of {wish.plan}; there are {', '.join(sorted(known))}"
            )
    quantities = {meters.REQUESTS: call.body.units, **dict.fromkeys(known - {meters.REQUESTS}, 0)}
    quantities |= {**call.body.meters, meters.UNITS: call.body.units}
    try:
        found = await preview.as_wished(
            call.session,
            call.organization_id,
            await _period(call, here),
            wish,
            quantities,
            issuer=call.request.app[SETTINGS].issuer,
            now=here.now,
        )
    except RatingError as error:
        raise Refusal(problems.AMOUNT_TOO_LARGE, str(error)) from error
    view = CalculationView(**_prices(found, wish.plan, version), units=call.body.units)
    total = view.total
    return Answer(view, f"{view.units:,} units on {wish.plan} come to {total.currency} {total.decimal}.")


async def _drafted(call: Call[Nothing, Nothing], here: Present) -> Preview:
    try:
        return await preview.so_far(
            call.session,
            call.organization_id,
            await _period(call, here),
            issuer=call.request.app[SETTINGS].issuer,
        )
    except RatingError as error:
        raise Refusal(problems.AMOUNT_TOO_LARGE, str(error)) from error


async def _period(call: Call[Any, Any], here: Present) -> Any:
    """Return the running period's id; right behind an edge its row is made first."""
    if here.period_id is not None:
        return here.period_id
    return (await subscriptions.running(call.session, call.organization_id, now=here.now)).period.id


async def _wish(call: Call[CalculateInput, Nothing], here: Present) -> tuple[Wish, int]:
    """Return what to price: add-ons go along to a plan in their currency, as they do on a change."""
    if call.body.plan is None:
        return Wish(here.plan, here.version_code, here.currency, here.charges, here.meters), here.version
    offer = await plans.offer(call.session, call.body.plan)
    own = replace(here.own, plan_charges=offer.charges)
    if offer.currency != here.currency:
        own = replace(own, pieces=())
    charges = charges_of_a_full_period(own)
    return Wish(offer.plan, offer.code, offer.currency, charges, offer.meters), offer.version


def _prices(found: Preview, plan: str, version: int) -> dict[str, Any]:
    draft = found.draft
    return {
        "plan": plan,
        "version": version,
        "meters": dict(found.metered.meters),
        "lines": [_line(line) for line in draft.lines],
        "subtotal": money(draft.subtotal),
        "taxes": [
            PricedTax(
                kind=each.tax.kind,
                name=each.tax.name,
                rate=plain(each.tax.rate),
                inclusive=each.tax.inclusive,
                amount=money(each.amount),
            )
            for each in draft.taxes
        ],
        "tax": money(draft.tax),
        "total": money(draft.total),
        "credits": money(found.credits),
        "due": money(found.due),
    }


def _line(line: Line) -> PricedLine:
    return PricedLine(
        kind=line.kind,
        code=line.code,
        description=line.description,
        quantity=plain(line.quantity),
        amount=money(line.amount),
    )


ENDPOINTS: Endpoints = (current, calculate)
