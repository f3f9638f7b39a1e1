"""The verbs of coupons: offer one, redeem one by its code, and what a billing run asks of redemptions."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.coupons.model import Coupon, CouponRedemption
from farebox.money import Money
from farebox.problems import Refusal

_REDEEM: Final = text("SELECT farebox_redeem_coupon(:id, :organization, :code, :at)")
MOST_COUPONS: Final = 500
_USE: Final = text(
    "UPDATE coupon_redemptions r SET periods_left = r.periods_left - t.times "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS int[])) AS t(id, times) "
    "WHERE r.id = t.id AND r.periods_left IS NOT NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A coupon to offer: `percent` or `amount`; `periods` None: for ever; `plans` None: all of them."""

    code: str
    name: str
    percent: Decimal | None = None
    amount: Money | None = None
    periods: int | None = None
    plans: tuple[str, ...] | None = None
    max_redemptions: int | None = None
    redeem_by: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a coupon without one clear value."""
        if (self.percent is None) == (self.amount is None):
            raise ValueError("a coupon takes off a percentage or an amount, one of the two")
        if self.percent is not None and not 0 < self.percent <= 100:
            raise ValueError(f"a percentage lies above 0 and up to 100, not at {self.percent}")
        if self.amount is not None and self.amount.minor <= 0:
            raise ValueError(f"an amount is above zero, not {self.amount}")
        if any(bound is not None and bound < 1 for bound in (self.periods, self.max_redemptions)):
            raise ValueError("periods and redemptions are 1 or more; leave them out for no bound")


@dataclass(frozen=True, slots=True)
class Redemption:
    """A coupon that an organization holds. `periods_left` None: for ever."""

    id: UUID
    code: str
    name: str
    percent: Decimal | None
    amount: Money | None
    periods_left: int | None
    plans: tuple[str, ...] | None
    redeemed_at: datetime

    def holds(self, *, plan: str, currency: str, ends_at: datetime, used: int = 0) -> bool:
        """Whether it applies to a period of the plan that ends then; `used` periods are to be taken off."""
        return (
            (self.periods_left is None or self.periods_left > used)
            and (self.plans is None or plan in self.plans)
            and (self.amount is None or self.amount.currency == currency)
            and self.redeemed_at < ends_at
        )


async def offer(session: AsyncSession, coupon: Offer) -> UUID:
    """Write a coupon; returns its id. Needs an operator's session or the worker's."""
    coupon_id = ids.uuid7()
    await session.execute(
        insert(Coupon),
        {
            "id": coupon_id,
            "code": coupon.code,
            "name": coupon.name,
            "percent": coupon.percent,
            "amount_minor": None if coupon.amount is None else coupon.amount.minor,
            "currency": None if coupon.amount is None else coupon.amount.currency,
            "periods": coupon.periods,
            "plans": None if coupon.plans is None else list(coupon.plans),
            "max_redemptions": coupon.max_redemptions,
            "redeem_by": coupon.redeem_by,
        },
    )
    return coupon_id


async def offered(session: AsyncSession) -> list[tuple[Coupon, int]]:
    """Return every coupon with how often it was redeemed, the newest first. For who sees all tenants."""
    times = (
        select(func.count())
        .select_from(CouponRedemption)
        .where(CouponRedemption.coupon_id == Coupon.id)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(Coupon, times).order_by(Coupon.created_at.desc(), Coupon.id.desc()).limit(MOST_COUPONS)
    )
    return [(row[0], row[1]) for row in rows]


async def withdraw(session: AsyncSession, code: str) -> None:
    """Have nobody redeem it any more; who has it keeps it. Raises `Refusal` 404."""
    withdrawn = await session.scalar(
        update(Coupon).where(Coupon.code == code).values(state="archived").returning(Coupon.id)
    )
    if withdrawn is None:
        raise Refusal(problems.COUPON_UNKNOWN)


async def redeem(session: AsyncSession, organization_id: UUID, code: str, *, at: datetime) -> UUID:
    """Redeem a coupon for an organization; returns the redemption's id. Of many at once no more succeed than
    the coupon allows. Raises `Refusal`: 404 for a code that is no offer now, 409 if it was redeemed before or
    is used up.
    """
    redemption_id = ids.uuid7()
    values = {"id": redemption_id, "organization": organization_id, "code": code, "at": at}
    outcome = await session.scalar(_REDEEM, values)
    if outcome == "unknown":
        raise Refusal(problems.COUPON_UNKNOWN)
    if outcome != "ok":
        raise Refusal(problems.COUPON_USED)
    return redemption_id


async def held(session: AsyncSession, organizations: Sequence[UUID]) -> Mapping[UUID, tuple[Redemption, ...]]:
    """Return each organization's redemptions that are not used up, in the order of redemption."""
    rows = await session.scalars(
        select(CouponRedemption)
        .where(
            CouponRedemption.organization_id.in_(list(organizations)),
            CouponRedemption.periods_left.is_distinct_from(0),
        )
        .order_by(CouponRedemption.redeemed_at, CouponRedemption.id)
    )
    found: defaultdict[UUID, list[Redemption]] = defaultdict(list)
    for row in rows:
        amount = None if row.currency is None else Money(row.currency, row.amount_minor or 0)
        plans = None if row.plans is None else tuple(row.plans)
        found[row.organization_id].append(
            Redemption(
                row.id, row.code, row.name, row.percent, amount, row.periods_left, plans, row.redeemed_at
            )
        )
    return {organization: tuple(redemptions) for organization, redemptions in found.items()}


async def use(session: AsyncSession, redemptions: Sequence[UUID]) -> None:
    """Take a period off each redemption, as often as it is named. Needs the worker's role."""
    times = Counter(redemptions)
    if times:
        await session.execute(_USE, {"ids": list(times), "times": list(times.values())})
