"""Invoices as they are stored. A finalized one is immutable, and the database holds the sums."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Invoice(Base):
    """One invoice: a subscription's period (`kind` `period`), held single by a unique key.

    Amounts are minor units of `currency`. `snapshot` holds everything a later reader needs to re-derive it:
    price, rounding, tax, time zone, test clock, billable rule, quantities and exclusions by reason.
    `parked`: over the safety bound, waits for a person.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("subscription_id", "period_start", "kind"),
        UniqueConstraint("issuer", "number"),
        CheckConstraint("subtotal_minor + tax_minor = total_minor", name="total"),
        CheckConstraint("state IN ('draft', 'parked', 'finalized', 'paid', 'overdue', 'void')", name="state"),
        CheckConstraint("(state IN ('draft', 'parked')) = (number IS NULL)", name="numbered"),
        Index("ix_invoices_organization_id_created_at", "organization_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    period_id: Mapped[UUID] = mapped_column(ForeignKey("billing_periods.id"))
    kind: Mapped[str] = mapped_column(String(20), server_default="period")
    state: Mapped[str] = mapped_column(server_default="draft")
    issuer: Mapped[str]
    number: Mapped[str | None]
    currency: Mapped[str] = mapped_column(String(3))
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    subtotal_minor: Mapped[int] = mapped_column(BigInteger)
    tax_minor: Mapped[int] = mapped_column(BigInteger)
    total_minor: Mapped[int] = mapped_column(BigInteger)
    snapshot: Mapped[dict[str, Any]]
    statement_id: Mapped[UUID] = mapped_column(ForeignKey("usage_statements.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    finalized_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]


class InvoiceLine(Base):
    """One line: a charge of the period, or a dated correction of an earlier one (`of_period_id`)."""

    __tablename__ = "invoice_lines"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint("kind IN ('charge', 'correction')", name="kind"),
        CheckConstraint("(kind = 'correction') = (of_period_id IS NOT NULL)", name="of_period_id"),
        Index("ix_invoice_lines_organization_id", "organization_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20), server_default="charge")
    charge_code: Mapped[str]
    description: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(Numeric(24, 6))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[dict[str, Any]]
    of_period_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing_periods.id"))


class InvoiceNumber(Base):
    """The next invoice number of an issuer, taken inside the finalizing transaction: no gaps."""

    __tablename__ = "invoice_numbers"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    next_number: Mapped[int] = mapped_column(BigInteger, server_default="1")
