"""The endpoints of coupons: operators offer and withdraw them, an organization's owner redeems a code."""

from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.billing.fields import MoneyView, money
from farebox.coupons import service
from farebox.coupons.model import Coupon
from farebox.coupons.service import Offer
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Empty, Future, Input, Instant, Name, Nothing, PlanCode, View
from farebox.invoices.rating import plain
from farebox.money import Money
from farebox.organizations import test_clock
from farebox.organizations.permissions import Permission
from farebox.plans.service import Currency
from farebox.web import Answer, invalid

_THEIRS = "/admin/organizations/{organization_id}/coupons"
_IDS = {"organization_id": "org"}
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$"), Field(examples=["WELCOME"])]


class CouponInput(Input):
    """A coupon to offer: `percent`, or `amount_minor` with `currency`."""

    code: Code
    name: Name
    percent: Annotated[
        str | None, StringConstraints(pattern=r"^(100|[1-9]?[0-9](\.[0-9]{1,4})?)$"), Field(examples=["10"])
    ] = None
    amount_minor: Annotated[int | None, Field(ge=1, le=10**12)] = None
    currency: Currency | None = None
    periods: Annotated[int | None, Field(ge=1, le=1200, description="Left out: for ever.")] = None
    plans: Annotated[list[PlanCode] | None, Field(min_length=1, max_length=50)] = None
    max_redemptions: Annotated[int | None, Field(ge=1, le=10**9)] = None
    redeem_by: Future | None = None

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if (self.percent is None) == (self.amount_minor is None):
            raise ValueError("give either percent or amount_minor")
        if (self.amount_minor is None) != (self.currency is None):
            raise ValueError("amount_minor and currency go together")
        if self.percent is not None and Decimal(self.percent) == 0:
            raise ValueError("percent lies above 0")
        return self


class CouponView(View):
    """A coupon on offer, or withdrawn."""

    code: str
    name: str
    state: Literal["active", "archived"]
    percent: str | None
    amount: MoneyView | None
    periods: int | None
    plans: list[str] | None
    max_redemptions: int | None
    redeem_by: Instant | None
    redeemed: int


class CouponsView(View):
    """Every coupon, the newest first."""

    items: list[CouponView]


class RedeemInput(Input):
    """Which coupon to redeem."""

    code: Code


class RedemptionView(View):
    """A coupon that the organization has."""

    code: str
    name: str
    percent: str | None
    amount: MoneyView | None
    periods_left: Annotated[int | None, Field(description="Null: for ever.")]
    plans: list[str] | None
    redeemed_at: Instant


class RedemptionsView(View):
    """The organization's coupons that are not used up, in the order in which they apply."""

    items: list[RedemptionView]


@endpoint("GET", "/admin/coupons", "List coupons", tag="Operators", access=Access.OPERATOR, data=CouponsView)
async def list_offered(call: Call[Nothing, Nothing]) -> Answer[CouponsView]:
    """Withdrawn ones too, each with how often it was redeemed."""
    return Answer(await every(call.session), "Coupons listed.")


@endpoint(
    "POST", "/admin/coupons", "Offer a coupon",
    tag="Operators", access=Access.OPERATOR, body=CouponInput, data=CouponsView, status=201,
)  # fmt: skip
async def offer(call: Call[CouponInput, Nothing]) -> Answer[CouponsView]:
    """A code is used once for good: who redeemed it keeps its terms."""
    await put_on_offer(call.session, call.body)
    return Answer(await every(call.session), f"{call.body.code} is on offer.")


@endpoint(
    "DELETE", "/admin/coupons/{coupon}", "Withdraw a coupon",
    tag="Operators", access=Access.OPERATOR, data=Empty, refusals=(problems.COUPON_UNKNOWN,),
)  # fmt: skip
async def withdraw(call: Call[Nothing, Nothing]) -> Answer[Empty]:
    """Nobody redeems it any more; who has it keeps it."""
    await service.withdraw(call.session, call.request.match_info["coupon"])
    return Answer(Empty(), "Coupon withdrawn.")


@endpoint(
    "POST", _THEIRS, "Redeem a coupon for an organization",
    tag="Operators", access=Access.OPERATOR, body=RedeemInput, data=RedemptionsView, identifiers=_IDS,
    refusals=(problems.NOT_FOUND, problems.COUPON_UNKNOWN, problems.COUPON_USED),
)  # fmt: skip
async def redeem_for(call: Call[RedeemInput, Nothing]) -> Answer[RedemptionsView]:
    """As its owner could."""
    found = await call.operate_within(call.identifier("organization_id"))
    now = (await test_clock.time_of(call.session, found)).at(call.now)
    await service.redeem(call.session, found, call.body.code, at=now)
    return Answer(await held(call.session, found), "Coupon redeemed.")


@endpoint(
    "GET", "/billing/coupons", "List the organization's coupons",
    tag="Billing", permission=Permission.VIEW_BILLING, data=RedemptionsView,
)  # fmt: skip
async def list_held(call: Call[Nothing, Nothing]) -> Answer[RedemptionsView]:
    """Those that are not used up."""
    return Answer(await held(call.session, call.organization_id), "Coupons listed.")


@endpoint(
    "POST", "/billing/coupons", "Redeem a coupon",
    tag="Billing", permission=Permission.CHANGE_PLAN, body=RedeemInput, data=RedemptionsView,
    refusals=(problems.COUPON_UNKNOWN, problems.COUPON_USED),
)  # fmt: skip
async def redeem(call: Call[RedeemInput, Nothing]) -> Answer[RedemptionsView]:
    """It applies from the running period's invoice on."""
    now = (await test_clock.time_of(call.session, call.organization_id)).at(call.now)
    await service.redeem(call.session, call.organization_id, call.body.code, at=now)
    return Answer(await held(call.session, call.organization_id), "Coupon redeemed.")


async def put_on_offer(session: AsyncSession, wanted: CouponInput) -> None:
    """Write a coupon. Raises `Refusal` 422 for a code that is taken."""
    amount = None
    if wanted.currency is not None and wanted.amount_minor is not None:
        amount = Money(wanted.currency, wanted.amount_minor)
    made = Offer(
        code=wanted.code,
        name=wanted.name,
        percent=None if wanted.percent is None else Decimal(wanted.percent),
        amount=amount,
        periods=wanted.periods,
        plans=None if wanted.plans is None else tuple(wanted.plans),
        max_redemptions=wanted.max_redemptions,
        redeem_by=wanted.redeem_by,
    )
    try:
        async with session.begin_nested():
            await service.offer(session, made)
    except IntegrityError as error:
        raise invalid("code", "is taken; a coupon's code is used once") from error


async def every(session: AsyncSession) -> CouponsView:
    """Show every coupon."""
    found = await service.offered(session)
    return CouponsView(items=[_view(coupon, times) for coupon, times in found])


async def held(session: AsyncSession, organization_id: UUID) -> RedemptionsView:
    """Show what an organization has."""
    found = await service.held(session, [organization_id])
    return RedemptionsView(
        items=[
            RedemptionView(
                code=each.code,
                name=each.name,
                percent=None if each.percent is None else plain(each.percent),
                amount=None if each.amount is None else money(each.amount),
                periods_left=each.periods_left,
                plans=None if each.plans is None else list(each.plans),
                redeemed_at=each.redeemed_at,
            )
            for each in found.get(organization_id, ())
        ]
    )


def _view(coupon: Coupon, redeemed: int) -> CouponView:
    amount = None
    if coupon.currency is not None and coupon.amount_minor is not None:
        amount = money(Money(coupon.currency, coupon.amount_minor))
    return CouponView(
        code=coupon.code,
        name=coupon.name,
        state=coupon.state,
        percent=None if coupon.percent is None else plain(coupon.percent),
        amount=amount,
        periods=coupon.periods,
        plans=coupon.plans,
        max_redemptions=coupon.max_redemptions,
        redeem_by=coupon.redeem_by,
        redeemed=redeemed,
    )


ENDPOINTS: Endpoints = (list_offered, offer, withdraw, redeem_for, list_held, redeem)
