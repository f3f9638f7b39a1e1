"""Credit grants and their entries, as they are stored. Entries never change; the database keeps the sums."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class CreditGrant(Base):
    """Credit in one currency, in minor units. `remaining_minor` is the sum of its entries (a trigger keeps
    it).

    `expires_at` (the organization's time): a grant pays invoices of periods that end by then. `source` says
    where it came from, such as `invoice inv_…`, `payment pay_…`, `operator usr_…`.
    """

    __tablename__ = "credit_grants"
    __table_args__ = (
        CheckConstraint("kind IN ('prepaid', 'promotional', 'balance')", name="kind"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("remaining_minor BETWEEN 0 AND amount_minor", name="remaining"),
        Index("ix_credit_grants_organization_id", "organization_id"),
        Index(
            "ix_credit_grants_left",
            "organization_id",
            "currency",
            postgresql_where=text("remaining_minor > 0"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    kind: Mapped[str]
    currency: Mapped[str] = mapped_column(String(3))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    remaining_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    expires_at: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(String(200))
    granted_at: Mapped[datetime]


class CreditEntry(Base):
    """One movement: `grant` and `return` add, `burn` and `expire` take. `invoice_id`: what it paid."""

    __tablename__ = "credit_entries"
    __table_args__ = (
        CheckConstraint(
            "CASE kind WHEN 'grant' THEN amount_minor > 0 WHEN 'return' THEN amount_minor > 0 "
            "WHEN 'burn' THEN amount_minor < 0 WHEN 'expire' THEN amount_minor < 0 ELSE false END",
            name="kind",
        ),
        CheckConstraint("(kind IN ('burn', 'return')) = (invoice_id IS NOT NULL)", name="invoice_id"),
        Index("ix_credit_entries_organization_id", "organization_id"),
        Index("ix_credit_entries_invoice_id", "invoice_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("credit_grants.id"))
    kind: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    at: Mapped[datetime]
