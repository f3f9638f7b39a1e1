"""The catalogue of add-ons, and which subscription has how many of which, from when to when."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class AddOn(Base):
    """A named offer beside the plans, such as `more-requests`. `public` ones can be chosen by owners."""

    __tablename__ = "add_ons"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str]
    public: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class AddOnVersion(Base):
    """What one piece costs and adds; frozen once published, as a plan's version is.

    `charges` is the rating language, for one piece. `quota_units` are added to a plan's quota for each piece;
    `limits` take the place of the plan's limits of the same name; `entitlements` go over the plan's.
    """

    __tablename__ = "add_on_versions"
    __table_args__ = (
        UniqueConstraint("add_on_id", "version"),
        CheckConstraint("state IN ('draft', 'published', 'withdrawn')", name="state"),
        CheckConstraint("(state = 'draft') = (published_at IS NULL)", name="published_at"),
        CheckConstraint("quota_units >= 0", name="quota_units"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    add_on_id: Mapped[UUID] = mapped_column(ForeignKey("add_ons.id"))
    version: Mapped[int]
    code: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(server_default="draft")
    currency: Mapped[str] = mapped_column(String(3))
    charges: Mapped[list[Any]]
    limits: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    quota_units: Mapped[int] = mapped_column(BigInteger, server_default="0")
    entitlements: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    published_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class SubscriptionAddOn(Base):
    """`quantity` pieces of an add-on on a subscription, `from_at` included, `to_at` excluded (the
    organization's time). A change of quantity ends one row and begins another.
    """

    __tablename__ = "subscription_add_ons"
    __table_args__ = (
        CheckConstraint("quantity BETWEEN 1 AND 100000", name="quantity"),
        CheckConstraint("to_at >= from_at", name="order"),
        Index("ix_subscription_add_ons_subscription_id", "subscription_id"),
        Index("ix_subscription_add_ons_organization_id", "organization_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    add_on_version_id: Mapped[UUID] = mapped_column(ForeignKey("add_on_versions.id"))
    quantity: Mapped[int]
    from_at: Mapped[datetime]
    to_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
