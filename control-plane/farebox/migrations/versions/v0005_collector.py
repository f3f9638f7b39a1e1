"""What the collector needs beside its first tables: generations of a file, and why a node does not advance.

A log that was cut keeps its first line, and so its identity, but not its bytes: it is read again from its
start as the next generation of the same file, and what lay before `recounted_to` was read already.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("last_error", sa.String(), nullable=True))
    op.add_column("usage_files", sa.Column("generation", sa.Integer(), server_default="1", nullable=False))
    op.add_column(
        "usage_files", sa.Column("recounted_to", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.drop_constraint("uq_usage_files_node_code_fingerprint", "usage_files")
    op.create_unique_constraint(
        "uq_usage_files_node_code_fingerprint_generation",
        "usage_files",
        ["node_code", "fingerprint", "generation"],
    )
