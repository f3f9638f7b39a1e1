"""API keys as they are stored: a digest and what is known of the key, never its text."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class ApiKey(Base):
    """An API key: a credential at the gateway, named there by `public_id`, or by `digest` if it was imported.

    `digest` is the SHA-256 of the text in hexadecimal, `hint` its last four characters, for people to tell
    keys apart (empty if an imported one came without). `edge_revision` is the organization's revision at the
    key's last change: once a gateway has applied that revision, the change is enforced there. `scopes` and
    `cidrs` absent: nothing is restricted. A rotated key names its successor in `replaced_by`, and the
    successor it in `replaces`.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
        CheckConstraint("state IN ('active', 'revoked')", name="state"),
        CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest"),
        CheckConstraint("origin IN ('issued', 'imported')", name="origin"),
        CheckConstraint("revoked_reason IN ('revoked', 'rotated', 'leaked')", name="revoked_reason"),
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
    scopes: Mapped[list[Any] | None]
    cidrs: Mapped[list[Any] | None]
    origin: Mapped[str] = mapped_column(server_default="issued")
    replaced_by: Mapped[UUID | None] = mapped_column(
        ForeignKey("api_keys.id", deferrable=True, initially="DEFERRED")
    )
    replaces: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    revoked_reason: Mapped[str | None]
    leak_source: Mapped[str | None] = mapped_column(String(500))
