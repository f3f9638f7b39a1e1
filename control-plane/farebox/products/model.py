"""Products, routes and upstreams as rows: the definition whole, and what it refers to as foreign keys.

Says nothing of how a gateway holds them. The operator's tables, no tenant's.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Upstream(Base):
    """Where an API really lives; `definition` is an `UpstreamSpec`. `managed_by`: the file that made it."""

    __tablename__ = "upstreams"

    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    definition: Mapped[dict[str, Any]]
    managed_by: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Product(Base):
    """A named offer of routes; `definition` is a `ProductSpec`."""

    __tablename__ = "products"

    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    definition: Mapped[dict[str, Any]]
    upstream_code: Mapped[str | None] = mapped_column(ForeignKey("upstreams.code"))
    release_upstream_code: Mapped[str | None] = mapped_column(ForeignKey("upstreams.code"))
    managed_by: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Route(Base):
    """A metered route; `definition` is a `RouteSpec`."""

    __tablename__ = "routes"

    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    definition: Mapped[dict[str, Any]]
    product_code: Mapped[str | None] = mapped_column(ForeignKey("products.code"))
    upstream_code: Mapped[str | None] = mapped_column(ForeignKey("upstreams.code"))
    release_upstream_code: Mapped[str | None] = mapped_column(ForeignKey("upstreams.code"))
    managed_by: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
