"""Who writes to a gateway: kept until he says that he has stopped, so that a successor knows to wait."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("gateways", sa.Column("writer", sa.String(), nullable=True))
