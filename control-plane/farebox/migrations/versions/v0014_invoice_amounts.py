"""Taxes, credits and settlement of invoices."""

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    pass
