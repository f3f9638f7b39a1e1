"""Migrations: the schema's history, the roles, and the two calls that make a database ours.

Run as the owner role with its own URL. Every migration takes its locks within `lock_timeout`, so a waiting
migration never queues the whole service behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

OWNER: Final = "farebox_owner"
APP: Final = "farebox_app"
WORKER: Final = "farebox_worker"
ROLES: Final = (OWNER, APP, WORKER)


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One URL for each role; `postgresql://…` with the password inside."""

    owner: str
    app: str
    worker: str


def bootstrap(superuser_url: str, *, database: str, passwords: Mapping[str, str]) -> DatabaseUrls:
    """Create the three roles and the database if they are missing, and set the roles' passwords.

    `superuser_url` is used here and never kept. None of the roles is superuser or may bypass row security.
    """
    with _connect(superuser_url, autocommit=True) as connection:
        for role in ROLES:
            exists = connection.scalar(
                sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}
            )
            verb = "ALTER" if exists else "CREATE"
            password = passwords[role].replace("'", "''")
            connection.exec_driver_sql(
                f"{verb} ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD '{password}'"
            )
        if not connection.scalar(
            sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": database}
        ):
            connection.exec_driver_sql(
                f"CREATE DATABASE \"{database}\" OWNER {OWNER} ENCODING 'UTF8' TEMPLATE template0"
            )
    url = make_url(superuser_url)
    return DatabaseUrls(
        *(
            url.set(username=role, password=passwords[role], database=database).render_as_string(
                hide_password=False
            )
            for role in ROLES
        )
    )


def upgrade(owner_url: str) -> None:
    """Bring the schema to the newest revision. Safe to run twice and from two places at once."""
    with _connect(owner_url) as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(hashtext('farebox migrations'))"))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
        connection.execute(sa.text("SELECT pg_advisory_unlock(hashtext('farebox migrations'))"))


def pending(owner_url: str) -> bool:
    """Tell whether the database lacks a migration."""
    with _connect(owner_url) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current != ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _connect(url: str, *, autocommit: bool = False) -> "_Connection":
    return _Connection(url, autocommit=autocommit)


class _Connection:
    """A synchronous connection for start-up work, closed with its engine."""

    def __init__(self, url: str, *, autocommit: bool) -> None:
        self._engine = sa.create_engine(
            make_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool
        )
        if autocommit:
            self._engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def __enter__(self) -> sa.Connection:
        self._connection = self._engine.connect()
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._engine.dispose()
