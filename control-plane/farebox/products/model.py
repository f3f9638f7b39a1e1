"""Routes that are sold and the upstreams they lead to. Says nothing of how a gateway holds them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, text
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base


class Upstream(Base):
    """Where an API really lives. `nodes` maps `host:port` to a weight."""

    __tablename__ = "upstreams"

    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    nodes: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Route(Base):
    """A metered route. `code` is the route's id at the gateway and the usage line's `route`."""

    __tablename__ = "routes"

    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    upstream_code: Mapped[str] = mapped_column(ForeignKey("upstreams.code"))
    uris: Mapped[list[Any]]
    methods: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    hosts: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    units: Mapped[int] = mapped_column(server_default="1")
    upstream_units: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
