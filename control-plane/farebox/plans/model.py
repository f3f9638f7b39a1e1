"""The catalogue: plans and their versions. Not tenant tables; a published version never changes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Plan(Base):
    """A named offer, such as `starter`. `public` plans are listed and can be chosen by owners."""

    __tablename__ = "plans"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str]
    public: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class PlanVersion(Base):
    """What a plan costs and allows: a consumer group at the gateway, named there by `code` (`starter-1`).

    `charges` is the rating language (`farebox.invoices.charges`); `limits` and `quota` have the form of
    `farebox_contract.plugins` (LIMITS, QUOTA); `without_counter` says what holds when counters are away.
    `entitlements` maps codes to true or false, numbers or texts; `meters` has the form of
    `farebox.plans.meters`.
    """

    __tablename__ = "plan_versions"
    __table_args__ = (
        UniqueConstraint("plan_id", "version"),
        CheckConstraint("state IN ('draft', 'published', 'withdrawn')", name="state"),
        CheckConstraint("without_counter IN ('open', 'closed')", name="without_counter"),
        CheckConstraint("trial_days BETWEEN 0 AND 730", name="trial_days"),
        CheckConstraint("(state = 'draft') = (published_at IS NULL)", name="published_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    version: Mapped[int]
    code: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(server_default="draft")
    currency: Mapped[str] = mapped_column(String(3))
    charges: Mapped[list[Any]]
    limits: Mapped[list[Any]]
    quota: Mapped[dict[str, Any] | None]
    without_counter: Mapped[str] = mapped_column(server_default="open")
    trial_days: Mapped[int] = mapped_column(server_default="0")
    entitlements: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    meters: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    published_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
