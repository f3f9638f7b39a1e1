"""What we know of subscriptions that Stripe manages, and of the invoices that it makes of them.

Stripe's invoice is how money is asked for, never a document: ours is. Its amounts are kept to be compared.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class StripePrice(Base):
    """The price at Stripe that stands for a plan version's flat charge (minor units). Of no tenant."""

    __tablename__ = "stripe_prices"
    __table_args__ = (CheckConstraint("amount_minor >= 0", name="amount"),)

    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_versions.id"), primary_key=True)
    provider_id: Mapped[str] = mapped_column(String(200), unique=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    created_at: Mapped[datetime]


class StripeSubscription(Base):
    """An organization's wish to be collected by Stripe, and the subscription there.

    `wanted`: chosen, not there yet; `running`; `leaving`: given up here, not yet there; `ended`.
    `plan_version_id` is what it was last given the price of, `ending` whether it was last known to end with
    its period, `method` the card it was last given: each is what both sides agreed on, so that a difference
    tells who changed it. `status` is Stripe's own word; `problem` is why nothing happens. It collects our
    invoices that are finalized from `started_at` on.
    """

    __tablename__ = "stripe_subscriptions"
    __table_args__ = (
        CheckConstraint("state IN ('wanted', 'running', 'leaving', 'ended')", name="state"),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="ended_at"),
        CheckConstraint("state <> 'running' OR provider_id IS NOT NULL", name="running"),
        CheckConstraint("(provider_id IS NULL) = (started_at IS NULL)", name="started_at"),
        Index("ix_stripe_subscriptions_organization_id", "organization_id"),
        Index(
            "uq_stripe_subscriptions_live",
            "organization_id",
            unique=True,
            postgresql_where=text("state <> 'ended'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    provider_id: Mapped[str | None] = mapped_column(String(200), unique=True)
    plan_version_id: Mapped[UUID | None] = mapped_column(ForeignKey("plan_versions.id"))
    state: Mapped[str] = mapped_column(server_default="wanted")
    status: Mapped[str | None] = mapped_column(String(40))
    ending: Mapped[bool] = mapped_column(server_default=text("false"))
    method: Mapped[str | None] = mapped_column(String(200))
    problem: Mapped[str | None] = mapped_column(String(500))
    actor: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class StripeInvoice(Base):
    """An invoice that Stripe made of a managed subscription, as it was when we last looked.

    `advance_minor` is what it asks for the plan's flat charge, in advance, for the period until
    `advance_until`. `attempts` is how many failures were announced. `parked` says what a person must look at.
    """

    __tablename__ = "stripe_invoices"
    __table_args__ = (
        UniqueConstraint("provider_id"),
        CheckConstraint("state IN ('draft', 'open', 'paid', 'void', 'uncollectible')", name="state"),
        Index("ix_stripe_invoices_organization_id", "organization_id"),
        Index("ix_stripe_invoices_subscription_id", "subscription_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("stripe_subscriptions.id"))
    provider_id: Mapped[str] = mapped_column(String(200))
    state: Mapped[str]
    currency: Mapped[str] = mapped_column(String(3))
    due_minor: Mapped[int] = mapped_column(BigInteger)
    advance_minor: Mapped[int] = mapped_column(BigInteger)
    advance_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payments.id"))
    parked: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class StripeItem(Base):
    """One of our invoices, asked for through Stripe: at most once, whatever becomes of it.

    `placed`: committed, Stripe not asked yet; `put`: it is on Stripe's invoice `stripe_invoice`; `settled`:
    that was paid; `released`: Stripe gave up, our own collection takes over. `amount_minor` 0: Stripe asks
    for all of it already, as an advance that is unpaid.
    """

    __tablename__ = "stripe_items"
    __table_args__ = (
        UniqueConstraint("invoice_id"),
        CheckConstraint("amount_minor >= 0", name="amount"),
        CheckConstraint("state IN ('placed', 'put', 'settled', 'released')", name="state"),
        Index("ix_stripe_items_organization_id", "organization_id"),
        Index("ix_stripe_items_subscription_id", "subscription_id"),
        Index("ix_stripe_items_stripe_invoice", "stripe_invoice"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("stripe_subscriptions.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    stripe_invoice: Mapped[str | None] = mapped_column(String(200))
    provider_id: Mapped[str | None] = mapped_column(String(200), unique=True)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(server_default="placed")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
