"""The tenant, who belongs to it, and its test clock."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Organization(Base):
    """A tenant: a consumer at the gateway, named there by `public_id`.

    `edge_revision` grows with every change that the gateway must learn of. `test_mode` allows a test clock.
    """

    __tablename__ = "organizations"
    __table_args__ = (CheckConstraint("state IN ('active', 'suspended', 'closed')", name="state"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(10), unique=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="active")
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    test_mode: Mapped[bool] = mapped_column(server_default=text("false"))
    edge_revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    extra: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    closed_at: Mapped[datetime | None]


class Membership(Base):
    """A user's role in an organization."""

    __tablename__ = "memberships"
    __table_args__ = (CheckConstraint("role IN ('owner', 'admin', 'member')", name="role"),)

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class TestClockOffset(Base):
    """From wall time `began_at` on, the organization's time runs `offset_ms` ahead of the wall."""

    __tablename__ = "test_clock_offsets"
    __table_args__ = (CheckConstraint("offset_ms >= 0", name="offset_ms"),)
    __test__ = False

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    began_at: Mapped[datetime] = mapped_column(primary_key=True)
    offset_ms: Mapped[int] = mapped_column(BigInteger)
