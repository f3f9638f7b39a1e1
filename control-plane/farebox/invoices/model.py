"""Invoices as they are stored. A finalized one is immutable, and the database holds the sums."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Numeric,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Invoice(Base):
    """One invoice: a subscription's period (`kind` `period`), held single by a unique key.

    Amounts are minor units of `currency`. `snapshot` holds everything a later reader needs to re-derive it:
    price, rounding, tax, time zone, test clock, billable rule, quantities and exclusions by reason.
    `parked`: over the safety bound, waits for a person. `credits_minor` was paid by credits when it was
    finalized, `paid_minor` by payments, `credited_minor` is what credit notes took off what was open;
    `open_minor` is what is left (`farebox.invoices.settlement` changes it).
    """

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("subscription_id", "period_start", "kind"),
        UniqueConstraint("issuer", "number"),
        CheckConstraint("subtotal_minor + tax_minor = total_minor", name="total"),
        CheckConstraint(
            "state IN ('draft', 'parked', 'finalized', 'paid', 'overdue', 'void', 'uncollectible')",
            name="state",
        ),
        CheckConstraint("credits_minor >= 0", name="credits_minor"),
        CheckConstraint("paid_minor >= 0", name="paid_minor"),
        CheckConstraint("credited_minor >= 0", name="credited_minor"),
        CheckConstraint(
            "credits_minor + paid_minor + credited_minor <= greatest(total_minor, 0)", name="settled"
        ),
        CheckConstraint("collection IN ('automatic', 'send_invoice')", name="collection"),
        CheckConstraint("(state IN ('draft', 'parked')) = (number IS NULL)", name="numbered"),
        Index("ix_invoices_organization_id_created_at", "organization_id", "created_at", "id"),
        Index("ix_invoices_due_at", "due_at", postgresql_where=text("state IN ('finalized', 'overdue')")),
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
    credits_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    paid_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    credited_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    open_minor: Mapped[int | None] = mapped_column(
        BigInteger,
        Computed(
            "CASE WHEN total_minor <= 0 THEN 0 "
            "ELSE total_minor - credits_minor - credited_minor - paid_minor END",
            persisted=True,
        ),
    )
    terms_days: Mapped[int] = mapped_column(server_default="14")
    collection: Mapped[str] = mapped_column(server_default="automatic")
    paid_at: Mapped[datetime | None]
    disputed_at: Mapped[datetime | None]


class InvoiceLine(Base):
    """One line: a charge of the period, a dated correction of an earlier one (`of_period_id`), what a minimum
    adds or a maximum takes off, a discount, or the tax that the prices above it hold.
    """

    __tablename__ = "invoice_lines"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint(
            "kind IN ('charge', 'correction', 'minimum', 'maximum', 'discount', 'included_tax')", name="kind"
        ),
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


class InvoiceTax(Base):
    """One rate of tax on an invoice: `rate` per cent of `base_minor`, rounded once. `reverse_charge` and
    `exempt` say why nothing is levied.
    """

    __tablename__ = "invoice_taxes"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint("kind IN ('levied', 'reverse_charge', 'exempt')", name="kind"),
        CheckConstraint("kind = 'levied' OR amount_minor = 0", name="amount"),
        Index("ix_invoice_taxes_organization_id", "organization_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    position: Mapped[int]
    kind: Mapped[str]
    name: Mapped[str]
    country: Mapped[str] = mapped_column(String(2))
    region: Mapped[str] = mapped_column(String(10), server_default="")
    rate: Mapped[Decimal] = mapped_column(Numeric(9, 6))
    inclusive: Mapped[bool] = mapped_column(Boolean)
    base_minor: Mapped[int] = mapped_column(BigInteger)
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class PeriodTally(Base):
    """What invoices have billed of a period, by meter (decimal strings), and whether to count it once more.

    `touches` grows with each change of its usage, `counted` is what it was at the last count: a change during
    a count is not forgotten; `corrections` is how many of an operator's corrections it took in. A period is
    counted once more after its invoice in any case.
    """

    __tablename__ = "period_tallies"
    __table_args__ = (
        Index("ix_period_tallies_organization_id", "organization_id"),
        Index("ix_period_tallies_touched", "organization_id", postgresql_where=text("touches > counted")),
    )

    period_id: Mapped[UUID] = mapped_column(ForeignKey("billing_periods.id"), primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    billed: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    touches: Mapped[int] = mapped_column(BigInteger, server_default="1")
    counted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    corrections: Mapped[int] = mapped_column(server_default="0")


class InvoiceNumber(Base):
    """The next invoice number of an issuer, taken inside the finalizing transaction: no gaps."""

    __tablename__ = "invoice_numbers"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    next_number: Mapped[int] = mapped_column(BigInteger, server_default="1")
