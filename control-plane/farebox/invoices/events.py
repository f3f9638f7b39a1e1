"""What people did to invoices: one row for each act, which never changes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from farebox import ids
from farebox.db import Base
from farebox.invoices.model import Invoice

Verb = Literal["void", "write_off", "reopen", "credit"]


class InvoiceEvent(Base):
    """One act: `verb`, who (`operator user_…`), why, and what came of it."""

    __tablename__ = "invoice_events"
    __table_args__ = (
        CheckConstraint("verb IN ('void', 'write_off', 'reopen', 'credit')", name="verb"),
        Index("ix_invoice_events_organization_id", "organization_id"),
        Index("ix_invoice_events_invoice_id", "invoice_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    verb: Mapped[str] = mapped_column(String(20))
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(500))
    detail: Mapped[dict[str, Any]]
    at: Mapped[datetime]


async def note(
    session: AsyncSession,
    invoice: Invoice,
    verb: Verb,
    *,
    actor: str,
    reason: str,
    detail: Mapping[str, Any],
    now: datetime,
) -> None:
    """Write the act down, in the transaction that does it."""
    session.add(
        InvoiceEvent(
            id=ids.uuid7(),
            organization_id=invoice.organization_id,
            invoice_id=invoice.id,
            verb=verb,
            actor=actor,
            reason=reason,
            detail=dict(detail),
            at=now,
        )
    )
    await session.flush()


async def of_invoice(session: AsyncSession, invoice_id: UUID) -> Sequence[InvoiceEvent]:
    """Return what was done to an invoice, the oldest first."""
    found = await session.scalars(
        select(InvoiceEvent).where(InvoiceEvent.invoice_id == invoice_id).order_by(InvoiceEvent.id)
    )
    return found.all()
