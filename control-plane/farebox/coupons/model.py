"""Coupons and their redemptions, as they are stored."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Coupon(Base):
    """An offer: `percent`, or `amount_minor` of `currency`; `periods` None: for ever; `plans` None: all, else
    codes of plans. Only operators see coupons; a tenant redeems one by its code.
    """

    __tablename__ = "coupons"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'archived')", name="state"),
        CheckConstraint(
            "(percent IS NULL) <> (amount_minor IS NULL) AND (amount_minor IS NULL) = (currency IS NULL)",
            name="value",
        ),
        CheckConstraint("percent > 0 AND percent <= 100", name="percent"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("periods > 0", name="periods"),
        CheckConstraint("max_redemptions > 0", name="max_redemptions"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(server_default="active")
    percent: Mapped[Decimal | None] = mapped_column(Numeric(7, 4))
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(String(3))
    periods: Mapped[int | None]
    plans: Mapped[list[Any] | None]
    max_redemptions: Mapped[int | None]
    redeem_by: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class CouponRedemption(Base):
    """A coupon that an organization has, with its terms. `periods_left` None: for ever; 0: used up."""

    __tablename__ = "coupon_redemptions"
    __table_args__ = (
        UniqueConstraint("organization_id", "coupon_id"),
        CheckConstraint("periods_left >= 0", name="periods_left"),
        Index("ix_coupon_redemptions_coupon_id", "coupon_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    coupon_id: Mapped[UUID] = mapped_column(ForeignKey("coupons.id"))
    code: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(200))
    percent: Mapped[Decimal | None] = mapped_column(Numeric(7, 4))
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(String(3))
    periods_left: Mapped[int | None]
    plans: Mapped[list[Any] | None]
    redeemed_at: Mapped[datetime]
