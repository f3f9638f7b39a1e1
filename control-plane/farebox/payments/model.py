"""Payments as they are stored: what we asked a provider for, what came of it, and where the money went.

No card data is ever here: a payment method is the provider's id with what may be shown (brand, last four
digits, expiry). The inbox of webhooks and the reports of reconciliation are of no tenant.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base

LIVE = "state IN ('created', 'processing', 'requires_action')"


class Payment(Base):
    """One attempt to get an amount (minor units). The row is committed before the provider is asked.

    `idempotency_key` is what the provider knows the attempt by; `request_key` is the caller's, so that his
    retry finds the first attempt. With an invoice, at most one attempt is live. `checkout_id` is a hosted
    page's session, whose payment (`provider_id`) exists only once somebody pays. `parked` says why a person
    must look: what the provider has is not what we asked for.
    """

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("provider", "provider_id"),
        UniqueConstraint("provider", "checkout_id"),
        UniqueConstraint("idempotency_key"),
        UniqueConstraint("organization_id", "request_key"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded"),
        CheckConstraint("provider IN ('stripe', 'paystack', 'manual')", name="provider"),
        CheckConstraint(
            "state IN ('created', 'processing', 'requires_action', 'succeeded', 'failed', 'canceled')",
            name="state",
        ),
        CheckConstraint("flow IN ('charge', 'intent', 'checkout', 'subscription', 'manual')", name="flow"),
        CheckConstraint("(state = 'succeeded') = (succeeded_at IS NOT NULL)", name="succeeded_at"),
        Index("ix_payments_organization_id_created_at", "organization_id", "created_at", "id"),
        Index("ix_payments_invoice_id", "invoice_id"),
        Index(
            "uq_payments_live_invoice",
            "invoice_id",
            unique=True,
            postgresql_where=text(f"invoice_id IS NOT NULL AND {LIVE}"),
        ),
        Index("ix_payments_live", "updated_at", postgresql_where=text(LIVE)),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    provider: Mapped[str] = mapped_column(String(20))
    provider_id: Mapped[str | None] = mapped_column(String(200))
    checkout_id: Mapped[str | None] = mapped_column(String(200))
    idempotency_key: Mapped[str] = mapped_column(String(100))
    request_key: Mapped[str | None] = mapped_column(String(300))
    flow: Mapped[str] = mapped_column(String(20))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    refunded_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(server_default="created")
    failure_code: Mapped[str | None] = mapped_column(String(100))
    failure_reason: Mapped[str | None] = mapped_column(String(500))
    action_url: Mapped[str | None] = mapped_column(String(2000))
    charge_id: Mapped[str | None] = mapped_column(String(200))
    postal_check: Mapped[str | None] = mapped_column(String(20))
    parked: Mapped[str | None] = mapped_column(String(500))
    note: Mapped[str | None] = mapped_column(String(500))
    actor: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    succeeded_at: Mapped[datetime | None]


class PaymentAllocation(Base):
    """Where a payment's money went: to an invoice, or to the organization's balance (`grant_id`).

    `reversed_minor` came back out of it by refunds and chargebacks.
    """

    __tablename__ = "payment_allocations"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("reversed_minor BETWEEN 0 AND amount_minor", name="reversed"),
        CheckConstraint("(invoice_id IS NULL) = (grant_id IS NOT NULL)", name="place"),
        Index("ix_payment_allocations_organization_id", "organization_id"),
        Index("ix_payment_allocations_payment_id", "payment_id"),
        Index("ix_payment_allocations_invoice_id", "invoice_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"))
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    grant_id: Mapped[UUID | None] = mapped_column(ForeignKey("credit_grants.id"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    reversed_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    at: Mapped[datetime]


class Refund(Base):
    """Money that goes back. Committed before the provider is asked, like a payment.

    `reopens`: the invoices that the payment had settled are open again by it. It is false for a refund that
    follows a credit note, whose invoice owes nothing.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("provider", "provider_id"),
        UniqueConstraint("idempotency_key"),
        UniqueConstraint("organization_id", "request_key"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint(
            "state IN ('created', 'processing', 'succeeded', 'failed', 'canceled')", name="state"
        ),
        Index("ix_refunds_organization_id", "organization_id"),
        Index("ix_refunds_payment_id", "payment_id"),
        Index("ix_refunds_live", "updated_at", postgresql_where=text("state IN ('created', 'processing')")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"))
    provider: Mapped[str] = mapped_column(String(20))
    provider_id: Mapped[str | None] = mapped_column(String(200))
    idempotency_key: Mapped[str] = mapped_column(String(100))
    request_key: Mapped[str | None] = mapped_column(String(300))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    reopens: Mapped[bool]
    state: Mapped[str] = mapped_column(server_default="created")
    reason: Mapped[str] = mapped_column(String(500))
    failure_reason: Mapped[str | None] = mapped_column(String(500))
    actor: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Dispute(Base):
    """A chargeback. `withdrawn_minor` is what the provider has taken back of it so far."""

    __tablename__ = "disputes"
    __table_args__ = (
        UniqueConstraint("provider", "provider_id"),
        CheckConstraint("state IN ('open', 'won', 'lost')", name="state"),
        CheckConstraint("withdrawn_minor BETWEEN 0 AND amount_minor", name="withdrawn"),
        Index("ix_disputes_organization_id", "organization_id"),
        Index("ix_disputes_payment_id", "payment_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"))
    provider: Mapped[str] = mapped_column(String(20))
    provider_id: Mapped[str] = mapped_column(String(200))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    withdrawn_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    currency: Mapped[str] = mapped_column(String(3))
    reason: Mapped[str] = mapped_column(String(100))
    state: Mapped[str]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class ProviderCustomer(Base):
    """The organization as a provider knows it."""

    __tablename__ = "provider_customers"
    __table_args__ = (UniqueConstraint("provider", "provider_id"),)

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    provider: Mapped[str] = mapped_column(String(20), primary_key=True)
    provider_id: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(320))
    created_at: Mapped[datetime]


class PaymentMethod(Base):
    """A saved card, as far as it may be shown. `provider_id` charges it, with our secret key alone.

    Paystack gives two organizations with one billing address the same id for the same card.
    """

    __tablename__ = "payment_methods"
    __table_args__ = (
        UniqueConstraint("organization_id", "provider", "provider_id"),
        Index("ix_payment_methods_organization_id", "organization_id"),
        Index(
            "uq_payment_methods_default",
            "organization_id",
            unique=True,
            postgresql_where=text("is_default AND removed_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    provider: Mapped[str] = mapped_column(String(20))
    provider_id: Mapped[str] = mapped_column(String(200))
    brand: Mapped[str] = mapped_column(String(40))
    last4: Mapped[str] = mapped_column(String(4))
    exp_month: Mapped[int]
    exp_year: Mapped[int]
    postal_check: Mapped[str | None] = mapped_column(String(20))
    is_default: Mapped[bool]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class WebhookEvent(Base):
    """The inbox: an event as it came, its signature checked, committed before the provider hears 200.

    `parked`: tried too often, or what it says and what we know do not fit; waits for a person.
    """

    __tablename__ = "webhook_events"
    __table_args__ = (
        UniqueConstraint("provider", "event_id"),
        CheckConstraint("state IN ('received', 'done', 'ignored', 'parked')", name="state"),
        Index("ix_webhook_events_open", "next_attempt_at", "id", postgresql_where=text("state = 'received'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    provider: Mapped[str] = mapped_column(String(20))
    event_id: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(100))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    signature_verified: Mapped[bool]
    received_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default="received")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime]
    error: Mapped[str | None] = mapped_column(String(1000))
    done_at: Mapped[datetime | None]


class ReconciliationReport(Base):
    """One comparison with a provider: `differences` is a list of what did not fit and what was done of it."""

    __tablename__ = "reconciliation_reports"
    __table_args__ = (
        UniqueConstraint("provider", "window_start", "window_end"),
        Index("ix_reconciliation_reports_created_at", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(String(20))
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    compared: Mapped[int]
    repaired: Mapped[int]
    parked: Mapped[int]
    differences: Mapped[list[Any]]
    created_at: Mapped[datetime]
