"""Usage by method and its greatest units, for meters; corrections of usage by an operator."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"

CURRENT = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"
DIMENSION = ["org", "sub", "key", "plan_group", "route", "method", "environment", "outcome", "status"]


def upgrade() -> None:
    op.add_column(
        "usage_dimensions", sa.Column("method", sa.String(length=32), server_default="", nullable=False)
    )
    op.drop_constraint("uq_usage_dimensions", "usage_dimensions", type_="unique")
    op.create_unique_constraint("uq_usage_dimensions", "usage_dimensions", DIMENSION)
    op.add_column(
        "usage_rollups", sa.Column("max_units", sa.BigInteger(), server_default="0", nullable=False)
    )

    op.create_table(
        "usage_corrections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("period_id", sa.Uuid(), nullable=False),
        sa.Column("meter", sa.String(length=40), server_default="units", nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("reverses", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_usage_corrections_quantity")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_usage_corrections_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_usage_corrections_subscription_id")
        ),
        sa.ForeignKeyConstraint(
            ["period_id"], ["billing_periods.id"], name=op.f("fk_usage_corrections_period_id")
        ),
        sa.ForeignKeyConstraint(
            ["reverses"], ["usage_corrections.id"], name=op.f("fk_usage_corrections_reverses")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_corrections")),
        sa.UniqueConstraint("reverses", name=op.f("uq_usage_corrections_reverses")),
    )
    op.create_index("ix_usage_corrections_organization_id", "usage_corrections", ["organization_id"])
    op.create_index("ix_usage_corrections_period_id", "usage_corrections", ["period_id"])
    op.execute("ALTER TABLE usage_corrections ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE usage_corrections FORCE ROW LEVEL SECURITY")
    condition = f"organization_id = {CURRENT}"
    op.execute(
        f"CREATE POLICY tenant ON usage_corrections TO farebox_app USING ({condition}) WITH CHECK ({condition})"
    )
    op.execute(f"CREATE POLICY operator ON usage_corrections FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    op.execute("CREATE POLICY worker ON usage_corrections TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute("CREATE POLICY owner ON usage_corrections TO farebox_owner USING (true) WITH CHECK (true)")
    # Entries, not states: a wrong one is reversed by another. Only operators write them.
    op.execute("GRANT SELECT, INSERT ON usage_corrections TO farebox_app, farebox_worker")
    op.execute(
        f"CREATE POLICY written_by_operators ON usage_corrections AS RESTRICTIVE FOR INSERT TO farebox_app "
        f"WITH CHECK ({IS_OPERATOR})"
    )
