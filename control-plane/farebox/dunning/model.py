"""Cases of unpaid invoices with their steps, the rules they follow, and which trials were reminded of.

Instants are in the organization's own time, except `created_at`, `decided_at` and `set_at`: the wall's.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class DunningCase(Base):
    """What is done about one unpaid invoice. One that is paid and asks again is the next `round`.

    The schedule counts its days from `since`; grace begins anew at `warned_at`. `suspended_at` is set while
    this case keeps service from the organization. `next_step` and `suspends_at` are what was last decided.
    """

    __tablename__ = "dunning_cases"
    __table_args__ = (
        UniqueConstraint("invoice_id"),
        CheckConstraint("state IN ('open', 'paused', 'exhausted', 'resolved')", name="state"),
        CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved"),
        CheckConstraint("(state = 'paused') = (paused_because IS NOT NULL)", name="paused"),
        CheckConstraint("next_step IN ('remind', 'charge', 'suspend')", name="next_step"),
        Index("ix_dunning_cases_organization_id", "organization_id"),
        Index("ix_dunning_cases_next_step_at", "next_step_at", postgresql_where=text("state = 'open'")),
        Index("ix_dunning_cases_unresolved", "organization_id", postgresql_where=text("state <> 'resolved'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    state: Mapped[str] = mapped_column(server_default="open")
    round: Mapped[int] = mapped_column(server_default="1")
    opened_at: Mapped[datetime]
    since: Mapped[datetime]
    warned_at: Mapped[datetime]
    next_step: Mapped[str | None]
    next_step_at: Mapped[datetime | None]
    suspends_at: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]
    paused_because: Mapped[str | None] = mapped_column(String(500))
    paused_by: Mapped[str | None] = mapped_column(String(100))
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None] = mapped_column(String(40))
    decided_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class DunningStep(Base):
    """A step that was begun, done or passed over; the key holds each to once in a round."""

    __tablename__ = "dunning_steps"
    __table_args__ = (
        UniqueConstraint("case_id", "round", "kind", "number"),
        CheckConstraint("kind IN ('remind', 'charge', 'suspend')", name="kind"),
        CheckConstraint("state IN ('begun', 'done', 'skipped')", name="state"),
        CheckConstraint("number > 0", name="number"),
        Index("ix_dunning_steps_organization_id", "organization_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    case_id: Mapped[UUID] = mapped_column(ForeignKey("dunning_cases.id"))
    round: Mapped[int]
    kind: Mapped[str]
    number: Mapped[int]
    state: Mapped[str]
    planned_at: Mapped[datetime]
    at: Mapped[datetime]
    outcome: Mapped[str | None] = mapped_column(String(500))
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payments.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class DunningPolicy(Base):
    """The rules of a plan, or (without one) of the house. `policy` has the form of `dunning.policy`."""

    __tablename__ = "dunning_policies"
    __table_args__ = (
        UniqueConstraint("plan_id", postgresql_nulls_not_distinct=True),
        CheckConstraint("plan_id IS NOT NULL OR policy ?& ARRAY['retries', 'reminders', 'grace', "
                        "'suspend_after']", name="whole"),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    plan_id: Mapped[UUID | None] = mapped_column(ForeignKey("plans.id"))
    policy: Mapped[dict[str, Any]]
    actor: Mapped[str] = mapped_column(String(100))
    set_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class DunningTerms(Base):
    """What holds for one organization: rules over its plan's, and whether it is never cut off.

    `exempt_because` is set while it is exempt; `exempt_until` (its own time) ends that, None does not.
    """

    __tablename__ = "dunning_terms"
    __table_args__ = (CheckConstraint("exempt_until IS NULL OR exempt_because IS NOT NULL", name="exempt"),)

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    exempt_because: Mapped[str | None] = mapped_column(String(500))
    exempt_until: Mapped[datetime | None]
    actor: Mapped[str] = mapped_column(String(100))
    set_at: Mapped[datetime]


class TrialReminder(Base):
    """A trial whose end was told of: the row is what keeps it from being told twice."""

    __tablename__ = "trial_reminders"
    __table_args__ = (Index("ix_trial_reminders_organization_id", "organization_id"),)

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"), primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    told_at: Mapped[datetime]
