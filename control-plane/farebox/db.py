"""PostgreSQL: the engine, and the only place that commits.

A transaction is opened for one organization (row security then shows that tenant alone), or for none. No
network call belongs inside it. Three roles exist: the owner migrates, `farebox_app` serves one tenant at a
time, `farebox_worker` has policies of its own; a role that could pass row security by is refused.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec
from sqlalchemy import MetaData, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

ENTER_ORGANIZATION: Final = text("SELECT set_config('app.organization_id', :organization, true)")


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class UnsafeRoleError(RuntimeError):
    """The role in the database URL could pass row security by."""


class Base(DeclarativeBase):
    """The declarative base of all tables, with predictable constraint names."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
    }


class Database:
    """An engine and its sessions. Made by the process's start-up, closed by it."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """Prepare an engine for `url` (`postgresql://…`); nothing is connected yet."""
        self.engine: AsyncEngine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            json_serializer=_to_json,
            json_deserializer=msgspec.json.decode,
            connect_args={"server_settings": {"application_name": "farebox", "jit": "off"}, "timeout": 5},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def transaction(
        self, *, organization: UUID | None = None, dry_run: bool = False
    ) -> AsyncIterator[AsyncSession]:
        """Open a transaction for one tenant, or for none; commit at the end unless it is a dry run."""
        async with self._sessions() as session, session.begin() as transaction:
            if organization is not None:
                await enter_organization(session, organization)
            yield session
            if dry_run:
                await session.flush()
                await transaction.rollback()

    async def refuse_unsafe_role(self) -> None:
        """Raise `UnsafeRoleError` if the connected role is superuser or may bypass row security."""
        async with self.engine.connect() as connection:
            row = (
                await connection.execute(
                    text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
                )
            ).one()
        if row.rolsuper or row.rolbypassrls:
            raise UnsafeRoleError(
                f"the database role {row.rolname!r} is superuser or may bypass row security; "
                "use farebox_app for the web process and farebox_worker for the worker and collector"
            )

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


async def enter_organization(session: AsyncSession, organization: UUID) -> None:
    """Show the session this tenant's rows alone, until its transaction ends."""
    await session.execute(ENTER_ORGANIZATION, {"organization": str(organization)})
