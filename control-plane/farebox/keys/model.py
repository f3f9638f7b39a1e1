"""API keys as they are stored: a digest and what is known of the key, never its text."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class ApiKey(Base):
    """An issued key: a credential at the gateway, named there by `public_id`.

    `digest` is the SHA-256 of the text in hexadecimal, `hint` its last four characters, for people to tell
    keys apart. `edge_revision` is the organization's revision at the key's last change: once a gateway has
    applied that revision, the change is enforced there.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        CheckConstraint("state IN ('active', 'revoked')", name="state"),
        CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
        Index("ix_api_keys_organization_id_created_at", "organization_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    public_id: Mapped[str] = mapped_column(String(10), unique=True)
    name: Mapped[str]
    environment: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(4))
    state: Mapped[str] = mapped_column(server_default="active")
    edge_revision: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime | None]
    extra: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    revoked_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    revoked_at: Mapped[datetime | None]
