"""The members' endpoints of their spending cap and thresholds."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.alerts import service
from farebox.alerts.caps import units_within
from farebox.alerts.service import Kind, Threshold
from farebox.billing.fields import MoneyView, money
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Input, Instant, Nothing, View
from farebox.money import MINOR_DIGITS, Money
from farebox.organizations.permissions import Permission
from farebox.problems import Refusal
from farebox.subscriptions import ledger
from farebox.subscriptions.present import present
from farebox.web import Answer

_MOST_THRESHOLDS = 20
_CAP = "/billing/spending-cap"


class CapInput(Input):
    """The most that a period may come to before tax, in the plan's currency."""

    amount: Annotated[
        str,
        StringConstraints(pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,3})?$"),
        Field(description="Major units, a decimal string.", examples=["50.00"]),
    ]


class CapView(View):
    """The cap, and what it comes to at the gateways."""

    cap: MoneyView | None
    units: Annotated[
        int | None, Field(description="Units that it lets through in a full period; null: it stops nothing.")
    ]


class ThresholdInput(Input):
    """Percent of the quota, percent of the cap, or an amount in minor units of the plan's currency."""

    kind: Kind
    value: Annotated[int, Field(ge=1, le=10**12)]


class ThresholdsInput(Input):
    """All the thresholds that there shall be."""

    thresholds: Annotated[list[ThresholdInput], Field(max_length=_MOST_THRESHOLDS)]


class ThresholdView(View):
    """A threshold and when it was last passed."""

    kind: Kind
    value: int
    fired_at: Instant | None


class ThresholdsView(View):
    """The organization's thresholds."""

    thresholds: list[ThresholdView]


@endpoint(
    "GET", _CAP, "Show the spending cap", tag="Billing", permission=Permission.VIEW_BILLING, data=CapView
)
async def get_cap(call: Call[Nothing, Nothing]) -> Answer[CapView]:
    """Shows the cap and how many units it lets through on the present plan."""
    cap = await service.cap_of(call.session, call.organization_id)
    if cap is None:
        return Answer(CapView(cap=None, units=None), "There is no cap.")
    stands = await present(call.session, call.organization_id, wall=call.now)
    units = units_within(stands.charges, cap) if stands.currency == cap.currency else None
    return Answer(CapView(cap=money(cap), units=units), "Cap shown.")


@endpoint(
    "PUT", _CAP, "Set the spending cap",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=CapInput, data=CapView,
    refusals=(problems.CAP_TOO_LOW,),
)  # fmt: skip
async def put_cap(call: Call[CapInput, Nothing]) -> Answer[CapView]:
    """From here on the quota is hard: the gateways refuse what would cost more than the cap in a period."""
    stands = await present(call.session, call.organization_id, wall=call.now)
    amount, digits = Decimal(call.body.amount), MINOR_DIGITS[stands.currency]
    minor = amount.scaleb(digits)
    if minor != minor.to_integral_value():
        field = {"field": "amount", "problem": f"{stands.currency} has {digits} digits behind the point"}
        raise Refusal(problems.INVALID_REQUEST, details={"fields": [field]})
    cap = Money(stands.currency, int(minor))
    if not cap.minor:
        raise Refusal(problems.CAP_TOO_LOW)
    units = await service.set_cap(
        call.session,
        call.organization_id,
        cap,
        charges=stands.charges,
        actor=ledger.user(call.user_id),
        now=call.now,
    )
    return Answer(CapView(cap=money(cap), units=units), "Cap set.")


@endpoint(
    "DELETE", _CAP, "Take the spending cap away",
    tag="Billing", permission=Permission.CHANGE_PLAN, data=CapView,
)  # fmt: skip
async def delete_cap(call: Call[Nothing, Nothing]) -> Answer[CapView]:
    """The plan's own quota holds again."""
    await service.drop_cap(call.session, call.organization_id)
    return Answer(CapView(cap=None, units=None), "There is no cap any more.")


@endpoint(
    "GET", "/billing/alerts", "List the alert thresholds",
    tag="Billing", permission=Permission.VIEW_BILLING, data=ThresholdsView,
)  # fmt: skip
async def get_thresholds(call: Call[Nothing, Nothing]) -> Answer[ThresholdsView]:
    """Each tells once in a period that it was passed."""
    return Answer(await _thresholds(call.session, call.organization_id), "Thresholds listed.")


@endpoint(
    "PUT", "/billing/alerts", "Set the alert thresholds",
    tag="Billing", permission=Permission.VIEW_BILLING, body=ThresholdsInput, data=ThresholdsView,
)  # fmt: skip
async def put_thresholds(call: Call[ThresholdsInput, Nothing]) -> Answer[ThresholdsView]:
    """Takes the whole list: what is not in it is taken away, what stays keeps what it has told already."""
    wanted = [Threshold(each.kind, each.value) for each in call.body.thresholds]
    await service.set_thresholds(call.session, call.organization_id, wanted, now=call.now)
    return Answer(await _thresholds(call.session, call.organization_id), "Thresholds set.")


async def _thresholds(session: AsyncSession, organization_id: UUID) -> ThresholdsView:
    found = await service.thresholds(session, organization_id)
    return ThresholdsView(
        thresholds=[
            ThresholdView(kind=each.threshold.kind, value=each.threshold.value, fired_at=each.fired_at)
            for each in found
        ]
    )


ENDPOINTS: Endpoints = (get_cap, put_cap, delete_cap, get_thresholds, put_thresholds)
