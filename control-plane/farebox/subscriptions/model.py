"""Which plan version an organization is on, and the billing periods that follow from it.

A change of plan ends one subscription and starts another at the same instant. The usage line names the
subscription, so every unit belongs to exactly one, whatever the edges' clocks said in between.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Subscription(Base):
    """One plan version for one organization from `started_at` to `ended_at` (in the organization's time).

    `time_zone` and `anchor_day` (1 to 31) are fixed at the start; all period edges come from
    `farebox.subscriptions.periods`. The usage line's `sub` is `public_id`.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'ended')", name="state"),
        CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_day"),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="ended_at"),
        CheckConstraint("ended_at >= started_at", name="ended_after_start"),
        Index(
            "uq_subscriptions_organization_id_active",
            "organization_id",
            unique=True,
            postgresql_where=text("state = 'active'"),
        ),
        Index("ix_subscriptions_organization_id", "organization_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    public_id: Mapped[str] = mapped_column(String(10), unique=True)
    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_versions.id"))
    previous_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"))
    state: Mapped[str] = mapped_column(server_default="active")
    time_zone: Mapped[str]
    anchor_day: Mapped[int] = mapped_column(server_default="1")
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class BillingPeriod(Base):
    """One period of a subscription, `starts_at` included, `ends_at` excluded, in the organization's time.

    The row is made when the period begins. A first period also takes what lies before its start, a last one
    what lies after its end: clocks of edges differ, and no unit may fall between. `billed_units` is what
    invoices have billed of this period so far, corrections included.
    """

    __tablename__ = "billing_periods"
    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_at"),
        CheckConstraint("state IN ('open', 'invoiced')", name="state"),
        CheckConstraint("ends_at >= starts_at", name="order"),
        Index("ix_billing_periods_open", "ends_at", postgresql_where=text("state = 'open'")),
        Index("ix_billing_periods_organization_id", "organization_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    is_first: Mapped[bool]
    is_last: Mapped[bool] = mapped_column(server_default=text("false"))
    state: Mapped[str] = mapped_column(server_default="open")
    billed_units: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
