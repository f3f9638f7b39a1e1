"""Work that must follow a change, written in the change's own transaction.

A row names a job and its payload. The worker's relay leases rows, and the job's own transaction completes
them: at least once, never zero. The insert notifies the channel `farebox_outbox`, which only hurries the
relay; a lost notification costs a poll.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, bindparam, insert, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base

CHANNEL: Final = "farebox_outbox"


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of work. Each has a heading in `docs/jobs.md`."""

    name: str


GATEWAY_SYNC: Final = Job("gateway.sync")
"""Payload: none. The organization's desired state changed; reconcile it at every gateway."""
GATEWAY_CATALOGUE: Final = Job("gateway.catalogue")
"""Payload: none. Routes, upstreams or plan versions changed; reconcile them at every gateway."""
SEND_MAIL: Final = Job("mail.send")
"""Payload: `template`, `to`, `context`."""
KEY_CREATED: Final = Job("key.created")
"""Payload: `key`, its public id. A key was issued; its organization is told."""
KEY_LEAKED: Final = Job("key.leaked")
"""Payload: `key`, its public id. A key was reported as leaked and is revoked; its organization is told."""
INVOICE_ISSUED: Final = Job("invoice.issued")
"""Payload: `invoice`, its id (`inv_…`). An invoice that asks for money, or gives some back, was finalized."""
INVOICE_COLLECT: Final = Job("invoice.collect")
"""Payload: `invoice`, its id (`inv_…`). Charge what is open with the organization's payment method."""
INVOICE_OVERDUE: Final = Job("invoice.overdue")
"""Payload: `invoice` (`inv_…`), `suspends_at` (RFC 3339) or null. An invoice is overdue: remind."""
TRIAL_ENDING: Final = Job("subscription.trial_ending")
"""Payload: `subscription` (`sub_…`). A trial ends in three days: remind."""
SUBSCRIPTION_CHANGED: Final = Job("subscription.changed")
"""Payload: `subscription` (`sub_…`), `from` (null at its start), `to`, `transition`, `cause`."""
USAGE_THRESHOLD: Final = Job("usage.threshold")
"""Payload: `organization` (`org_…`), `threshold` (`kind`, `value`), `period_start`, `used`, `of`."""

PAYMENT_CUSTOMER: Final = Job("payment.customer")
"""Payload: none. An organization was made; make it known to the payment provider."""
PAYMENT_SUCCEEDED: Final = Job("payment.succeeded")
"""Payload: `payment`, its public id. Money arrived."""
PAYMENT_FAILED: Final = Job("payment.failed")
"""Payload: `payment`, its public id. An attempt to get money failed."""
CREDIT_NOTE_REFUND: Final = Job("credit_note.refund")
"""Payload: `credit_note`, its id (`cn_…`). Refund what it planned; what cannot be becomes balance."""


class OutboxRow(Base):
    """One piece of work to follow; kept a while after it is done, for operators."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_open", "available_at", "id", postgresql_where=text("done_at IS NULL")),
        Index("ix_outbox_organization_id", "organization_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job: Mapped[str]
    organization_id: Mapped[UUID | None]
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    available_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    leased_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    last_error: Mapped[str | None]
    done_at: Mapped[datetime | None]


_WRITE: Final = (
    insert(OutboxRow.__table__)  # type: ignore[arg-type]
    .values({name: bindparam(name) for name in ("job", "organization_id", "payload")})
    .inline()
)


async def enqueue(
    session: AsyncSession,
    job: Job,
    *,
    organization: UUID | None = None,
    payload: dict[str, Any] | None = None,
) -> None:
    """Write the row beside the change. `payload` must be plain JSON and hold no secret."""
    await session.execute(
        _WRITE, {"job": job.name, "organization_id": organization, "payload": payload or {}}
    )
