"""Credit notes as they are stored. They never change, and the database holds that none credits too much."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class CreditNote(Base):
    """A credit note on one invoice. Its amounts are below zero, so that an invoice and its notes sum up.

    What became of the amount, above zero: `taken_off_minor` of what was open, `returned_minor` to the credits
    that had paid, `balance_minor` to the balance, `refund_minor` to be refunded (`CreditNoteRefund` says how
    that went).
    """

    __tablename__ = "credit_notes"
    __table_args__ = (
        UniqueConstraint("issuer", "number"),
        CheckConstraint("subtotal_minor + tax_minor = total_minor", name="total"),
        CheckConstraint("total_minor < 0", name="negative"),
        CheckConstraint(
            "taken_off_minor >= 0 AND returned_minor >= 0 AND balance_minor >= 0 AND refund_minor >= 0 AND "
            "taken_off_minor + returned_minor + balance_minor + refund_minor = -total_minor",
            name="effect",
        ),
        Index("ix_credit_notes_organization_id_issued_at", "organization_id", "issued_at", "id"),
        Index("ix_credit_notes_invoice_id", "invoice_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    issuer: Mapped[str]
    number: Mapped[str]
    currency: Mapped[str] = mapped_column(String(3))
    reason: Mapped[str] = mapped_column(String(500))
    subtotal_minor: Mapped[int] = mapped_column(BigInteger)
    tax_minor: Mapped[int] = mapped_column(BigInteger)
    total_minor: Mapped[int] = mapped_column(BigInteger)
    taken_off_minor: Mapped[int] = mapped_column(BigInteger)
    returned_minor: Mapped[int] = mapped_column(BigInteger)
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    refund_minor: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(100))
    issued_at: Mapped[datetime]


class CreditNoteLine(Base):
    """What a credit note takes back of one line; `position` is the line's on the invoice."""

    __tablename__ = "credit_note_lines"
    __table_args__ = (
        UniqueConstraint("credit_note_id", "position"),
        Index("ix_credit_note_lines_organization_id", "organization_id"),
        Index("ix_credit_note_lines_invoice_line_id", "invoice_line_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    credit_note_id: Mapped[UUID] = mapped_column(ForeignKey("credit_notes.id"))
    invoice_line_id: Mapped[UUID] = mapped_column(ForeignKey("invoice_lines.id"))
    position: Mapped[int]
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class CreditNoteTax(Base):
    """What a credit note takes back of one tax; rate and name are those of the invoice's tax."""

    __tablename__ = "credit_note_taxes"
    __table_args__ = (
        UniqueConstraint("credit_note_id", "position"),
        Index("ix_credit_note_taxes_organization_id", "organization_id"),
        Index("ix_credit_note_taxes_invoice_tax_id", "invoice_tax_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    credit_note_id: Mapped[UUID] = mapped_column(ForeignKey("credit_notes.id"))
    invoice_tax_id: Mapped[UUID] = mapped_column(ForeignKey("invoice_taxes.id"))
    position: Mapped[int]
    base_minor: Mapped[int] = mapped_column(BigInteger)
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class CreditNoteRefund(Base):
    """A refund that a credit note asks for: `planned`, `refunded`, or `balance` if it could not be made."""

    __tablename__ = "credit_note_refunds"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("state IN ('planned', 'refunded', 'balance')", name="state"),
        Index("ix_credit_note_refunds_organization_id", "organization_id"),
    )

    credit_note_id: Mapped[UUID] = mapped_column(ForeignKey("credit_notes.id"), primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(server_default="planned")
    refund_id: Mapped[UUID | None]
    updated_at: Mapped[datetime]


class CreditNoteNumber(Base):
    """The next credit note number of an issuer, taken in the transaction that issues: no gaps."""

    __tablename__ = "credit_note_numbers"

    issuer: Mapped[str] = mapped_column(primary_key=True)
    next_number: Mapped[int] = mapped_column(BigInteger, server_default="1")
