"""What the collector has read and what came of it.

Nodes, files, streams and segments say how far the logs were read and prove it; dimensions and rollups are
the usage itself. Only rollups and dimensions belong to tenants.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, Range
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Node(Base):
    """A gateway node with a usage log. A period closes once every active node has stood at its log's end
    later than the period's end plus grace: `read_to_end_at`, wall time. `last_error` says what hinders it.
    """

    __tablename__ = "nodes"
    __table_args__ = (CheckConstraint("state IN ('active', 'retired')", name="state"),)

    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(server_default="active")
    registered_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    reported_at: Mapped[datetime | None]
    read_to_end_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    retired_note: Mapped[str | None]
    last_error: Mapped[str | None]


class UsageFile(Base):
    """A log file by what it is, not by its name: device, inode and the SHA-256 of its first line.

    `read_offset` is committed together with what was read. `ended` files are rotated away and read whole.
    A file that was cut and went on keeps its first line: it is read again as the next `generation`, of which
    an earlier one had read what lies before `recounted_to`.
    """

    __tablename__ = "usage_files"
    __table_args__ = (
        UniqueConstraint("node_code", "fingerprint", "generation"),
        CheckConstraint("state IN ('open', 'ended')", name="state"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"))
    device: Mapped[int] = mapped_column(BigInteger)
    inode: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    generation: Mapped[int] = mapped_column(server_default="1")
    recounted_to: Mapped[int] = mapped_column(BigInteger, server_default="0")
    path: Mapped[str]
    read_offset: Mapped[int] = mapped_column(BigInteger, server_default="0")
    state: Mapped[str] = mapped_column(server_default="open")
    archived_as: Mapped[str | None]
    first_seen_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    ended_at: Mapped[datetime | None]


class UsageStream(Base):
    """How far one stream has been seen: its highest number and the open gaps below it."""

    __tablename__ = "usage_streams"
    __table_args__ = (PrimaryKeyConstraint("node", "boot", "worker"),)

    node: Mapped[str] = mapped_column(String(128))
    boot: Mapped[str] = mapped_column(String(32))
    worker: Mapped[int] = mapped_column(BigInteger)
    highest: Mapped[int] = mapped_column(BigInteger)
    gaps: Mapped[list[Range[int]]] = mapped_column(
        INT8MULTIRANGE, server_default=text("'{}'::int8multirange")
    )
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class UsageSegment(Base):
    """A stretch of a file with the SHA-256 of its bytes: what an invoice's proof rests on.

    The last segment of a file grows in place until it is `sealed`.
    """

    __tablename__ = "usage_segments"
    __table_args__ = (
        UniqueConstraint("file_id", "start_offset"),
        Index("ix_usage_segments_last_at", "last_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("usage_files.id"))
    start_offset: Mapped[int] = mapped_column(BigInteger)
    end_offset: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    lines: Mapped[int] = mapped_column(BigInteger)
    new_lines: Mapped[int] = mapped_column(BigInteger)
    duplicate_lines: Mapped[int] = mapped_column(BigInteger)
    quarantined_lines: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime | None]
    last_at: Mapped[datetime | None]
    sealed: Mapped[bool] = mapped_column(server_default=text("false"))


class UsageQuarantine(Base):
    """A line that could not be read: where it stands, why, and its first 4 KiB."""

    __tablename__ = "usage_quarantine"
    __table_args__ = (UniqueConstraint("file_id", "start_offset"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("usage_files.id"))
    start_offset: Mapped[int] = mapped_column(BigInteger)
    length: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    excerpt: Mapped[bytes] = mapped_column(LargeBinary)
    found_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class UsageDimension(Base):
    """One combination of what usage is counted by, as the lines said it (empty where they said nothing).

    `organization_id` and `subscription_id` are what the names resolved to; a line that names an unknown
    organization keeps its text and resolves to none, and so is still counted.
    """

    __tablename__ = "usage_dimensions"
    __table_args__ = (
        UniqueConstraint(
            "org",
            "sub",
            "key",
            "plan_group",
            "route",
            "method",
            "environment",
            "outcome",
            "status",
            name="uq_usage_dimensions",
        ),
        Index("ix_usage_dimensions_organization_id", "organization_id"),
        Index("ix_usage_dimensions_subscription_id", "subscription_id"),
        Index("ix_usage_dimensions_key", "key"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    organization_id: Mapped[UUID | None] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"))
    org: Mapped[str] = mapped_column(String(128))
    sub: Mapped[str] = mapped_column(String(128))
    key: Mapped[str] = mapped_column(String(128))
    plan_group: Mapped[str] = mapped_column(String(128))
    route: Mapped[str] = mapped_column(String(128))
    method: Mapped[str] = mapped_column(String(32), server_default="")
    environment: Mapped[str] = mapped_column(String(4))
    outcome: Mapped[str] = mapped_column(String(20))
    status: Mapped[int]


class UsageRollup(Base):
    """Usage of one dimension in one bucket of 15 minutes, which divides every time zone's midnight.

    `bucket` is the start of the quarter hour in the organization's time (its test clock applied), in Unix
    seconds. `microseconds` is the sum of the requests' durations, `max_units` the most units of one request.
    """

    __tablename__ = "usage_rollups"
    __table_args__ = (
        PrimaryKeyConstraint("dimension_id", "bucket"),
        Index("ix_usage_rollups_organization_id_bucket", "organization_id", "bucket"),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    dimension_id: Mapped[int] = mapped_column(BigInteger)
    bucket: Mapped[int] = mapped_column(BigInteger)
    organization_id: Mapped[UUID | None]
    requests: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(BigInteger)
    bytes_in: Mapped[int] = mapped_column(BigInteger)
    bytes_out: Mapped[int] = mapped_column(BigInteger)
    microseconds: Mapped[int] = mapped_column(BigInteger)
    max_units: Mapped[int] = mapped_column(BigInteger, server_default="0")


class UsageStatement(Base):
    """What the metering had read when a period was closed: nodes, streams, gaps, quarantine, segments.

    Written once per closing run and shared by its invoices; `digest` is the SHA-256 of the canonical JSON.
    """

    __tablename__ = "usage_statements"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    taken_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    body: Mapped[dict[str, Any]]
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class UsageCorrection(Base):
    """An entry by which an operator corrects or backfills a period's usage; never changed, only reversed.

    `quantity` (not 0) is added to `meter` in the period that holds `at` (the organization's time). `actor` is
    who made it. An entry that `reverses` another has its quantity with the other sign.
    """

    __tablename__ = "usage_corrections"
    __table_args__ = (
        CheckConstraint("quantity <> 0", name="quantity"),
        UniqueConstraint("reverses"),
        Index("ix_usage_corrections_organization_id", "organization_id"),
        Index("ix_usage_corrections_period_id", "period_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    period_id: Mapped[UUID] = mapped_column(ForeignKey("billing_periods.id"))
    meter: Mapped[str] = mapped_column(String(40), server_default="units")
    quantity: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(String(500))
    actor: Mapped[str] = mapped_column(String(100))
    reverses: Mapped[UUID | None] = mapped_column(ForeignKey("usage_corrections.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
