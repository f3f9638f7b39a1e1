"""Which plan version an organization is on, and the billing periods that follow from it.

A change of plan ends one subscription and starts another at the same instant. The usage line names the
subscription, so every unit belongs to exactly one, whatever the edges' clocks said in between.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base
from farebox.subscriptions.states import STATES

_NEXT_TRANSITION: Final = (
    "CASE WHEN state = 'ended' THEN NULL ELSE LEAST(cancel_at, change_at, "
    "CASE WHEN state = 'paused' THEN resume_at END, "
    "CASE WHEN state = 'trialing' THEN trial_ends_at END) END"
)


class Subscription(Base):
    """One plan version for one organization from `started_at` to `ended_at` (in the organization's time).

    `time_zone` and `anchor_day` (1 to 31) are fixed at the start; all period edges come from
    `farebox.subscriptions.periods`. The usage line's `sub` is `public_id`. `state` changes by the named
    transitions of `farebox.subscriptions.states` alone. What happens by itself stands in `trial_ends_at`,
    `cancel_at`, `change_at` (to `next_plan_version_id`) and `resume_at`; `next_transition_at` is the first.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
        CheckConstraint("(change_at IS NULL) = (next_plan_version_id IS NULL)", name="change"),
        CheckConstraint("state <> 'paused' OR paused_at IS NOT NULL", name="paused"),
        CheckConstraint("trial_ends_at > started_at", name="trial"),
        CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_day"),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="ended_at"),
        CheckConstraint("ended_at >= started_at", name="ended_after_start"),
        Index(
            "uq_subscriptions_organization_id_running",
            "organization_id",
            unique=True,
            postgresql_where=text("state <> 'ended'"),
        ),
        Index(
            "ix_subscriptions_next_transition_at",
            "next_transition_at",
            postgresql_where=text("next_transition_at IS NOT NULL"),
        ),
        Index("ix_subscriptions_plan_version_id", "plan_version_id"),
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
    trial_ends_at: Mapped[datetime | None]
    cancel_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    resume_at: Mapped[datetime | None]
    resumed_at: Mapped[datetime | None]
    change_at: Mapped[datetime | None]
    next_plan_version_id: Mapped[UUID | None] = mapped_column(ForeignKey("plan_versions.id"))
    next_transition_at: Mapped[datetime | None] = mapped_column(Computed(_NEXT_TRANSITION, persisted=True))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class BillingPeriod(Base):
    """One period of a subscription, `starts_at` included, `ends_at` excluded, in the organization's time.

    The row is made when the period begins. A first period also takes what lies before its start, a last one
    what lies after its end: clocks of edges differ, and no unit may fall between. `billed_units` is what
    invoices have billed of this period so far, corrections included. Periods of the kinds `trial` and
    `paused` (the subscription was paused when it began) owe nothing.
    """

    __tablename__ = "billing_periods"
    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_at"),
        CheckConstraint("state IN ('open', 'invoiced')", name="state"),
        CheckConstraint("kind IN ('regular', 'trial', 'paused')", name="kind"),
        CheckConstraint("ends_at >= starts_at", name="order"),
        Index("ix_billing_periods_open", "ends_at", postgresql_where=text("state = 'open'")),
        Index("ix_billing_periods_organization_id", "organization_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(server_default="regular")
    is_first: Mapped[bool]
    is_last: Mapped[bool] = mapped_column(server_default=text("false"))
    state: Mapped[str] = mapped_column(server_default="open")
    billed_units: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class SubscriptionTransition(Base):
    """One change of state: which (`farebox.subscriptions.states`), why, by whom, and when in the
    organization's own time. Never changed.
    """

    __tablename__ = "subscription_transitions"
    __table_args__ = (Index("ix_subscription_transitions_organization_id", "organization_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    transition: Mapped[str] = mapped_column(String(40))
    from_state: Mapped[str | None] = mapped_column(String(20))
    to_state: Mapped[str] = mapped_column(String(20))
    cause: Mapped[str] = mapped_column(String(500))
    actor: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class LimitOverride(Base):
    """What an operator grants one organization in place of its plan's; null where the plan's holds.

    `limits` and `quota` have the form of `farebox_contract.plugins`; `entitlements` go over the plan's.
    """

    __tablename__ = "limit_overrides"

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    limits: Mapped[list[Any] | None]
    quota: Mapped[dict[str, Any] | None]
    entitlements: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    reason: Mapped[str] = mapped_column(String(500))
    actor: Mapped[str] = mapped_column(String(100))
    set_at: Mapped[datetime]
