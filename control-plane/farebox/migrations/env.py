"""Alembic's entry: runs on the connection that `farebox.migrations` hands over."""

from alembic import context
from sqlalchemy import text

from farebox.tables import metadata

connection = context.config.attributes["connection"]
connection.execute(text("SET lock_timeout = '5s'"))
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
