"""Gateways, what is to stand in them, and how far each has got. Says nothing of how it is pushed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Gateway(Base):
    """One gateway: an Admin API and a data plane. `catalogue_revision` counts changes of routes and plans.

    `writer` is the worker that holds its lock, or that died holding it: its last requests may still arrive.
    """

    __tablename__ = "gateways"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    catalogue_revision: Mapped[int] = mapped_column(BigInteger, server_default="1")
    applied_catalogue_revision: Mapped[int] = mapped_column(BigInteger, server_default="0")
    catalogue_error: Mapped[str | None]
    writer: Mapped[str | None]
    last_full_pass_at: Mapped[datetime | None]
    last_full_pass: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    error_since: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    marker: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class GatewayNode(Base):
    """One node of a gateway, as it was last seen. `drift` is the last report on it, `drift_since` when one
    with differences came after one without.
    """

    __tablename__ = "gateway_nodes"

    gateway_id: Mapped[UUID] = mapped_column(ForeignKey("gateways.id", ondelete="CASCADE"), primary_key=True)
    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    optional: Mapped[bool] = mapped_column(server_default=text("false"))
    answered_at: Mapped[datetime | None]
    error: Mapped[str | None]
    error_since: Mapped[datetime | None]
    status: Mapped[dict[str, Any] | None]
    drift: Mapped[dict[str, Any] | None]
    drift_at: Mapped[datetime | None]
    drift_since: Mapped[datetime | None]


class GatewayOrganization(Base):
    """How far one gateway has got with one organization. Absent: nothing has been applied yet.

    `accepted_revision` is what its Admin API has taken, `applied_revision` what all its nodes enforce.
    """

    __tablename__ = "gateway_organizations"
    __table_args__ = (
        Index("ix_gateway_organizations_failed", "next_attempt_at", postgresql_where=text("attempts > 0")),
        Index("ix_gateway_organizations_organization_id", "organization_id"),
        Index(
            "ix_gateway_organizations_unproven",
            "gateway_id",
            "organization_id",
            postgresql_where=text("accepted_revision > applied_revision"),
        ),
    )

    gateway_id: Mapped[UUID] = mapped_column(ForeignKey("gateways.id"), primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    applied_revision: Mapped[int] = mapped_column(BigInteger, server_default="0")
    applied_at: Mapped[datetime | None]
    accepted_revision: Mapped[int] = mapped_column(BigInteger, server_default="0")
    accepted_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    last_error: Mapped[str | None]
    next_attempt_at: Mapped[datetime | None]
