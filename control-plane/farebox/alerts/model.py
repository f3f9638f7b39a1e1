"""A customer's spending cap, his thresholds, and which of them a period has passed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class SpendingCap(Base):
    """The most that a period's charges may come to, before tax; the gateways refuse what lies beyond."""

    __tablename__ = "spending_caps"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="amount_minor"),)

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    actor: Mapped[str] = mapped_column(String(100))
    set_at: Mapped[datetime]


class AlertThreshold(Base):
    """Tell the customer when `value` is reached: percent of the quota, percent of the cap, or minor units."""

    __tablename__ = "alert_thresholds"
    __table_args__ = (
        UniqueConstraint("organization_id", "kind", "value"),
        CheckConstraint("kind IN ('quota_percent', 'cap_percent', 'amount')", name="kind"),
        CheckConstraint("value > 0", name="value"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    kind: Mapped[str] = mapped_column(String(20))
    value: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class AlertFiring(Base):
    """A threshold that a period passed: the row is what keeps it from being told twice."""

    __tablename__ = "alert_firings"

    threshold_id: Mapped[UUID] = mapped_column(
        ForeignKey("alert_thresholds.id", ondelete="CASCADE"), primary_key=True
    )
    period_id: Mapped[UUID] = mapped_column(ForeignKey("billing_periods.id"), primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    fired_at: Mapped[datetime]
