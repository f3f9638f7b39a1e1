"""Remembers the answers to POST requests that carried an `Idempotency-Key`.

`scope` is who asked (a user, or an address before log-in) and where. An answer that showed a secret is kept
without it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, PrimaryKeyConstraint, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class IdempotentRequest(Base):
    """A request under way (`status` null) or answered. Kept for 24 hours."""

    __tablename__ = "idempotent_requests"
    __table_args__ = (
        PrimaryKeyConstraint("scope", "key"),
        Index("ix_idempotent_requests_created_at", "created_at"),
    )

    scope: Mapped[str] = mapped_column(String(200))
    key: Mapped[str] = mapped_column(String(255))
    request_digest: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    locked_until: Mapped[datetime]
