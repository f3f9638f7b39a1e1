"""Several gateways with several nodes: what each node says, and what is accepted before it is enforced.

`gateway_organizations.applied_revision` goes on meaning enforced: on every node. What a gateway's Admin API has
taken, and not every node has been seen to have, is `accepted_revision`.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"
INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column("gateways", sa.Column("error", sa.String(), nullable=True))
    op.add_column("gateways", sa.Column("error_since", INSTANT, nullable=True))
    op.add_column("gateways", sa.Column("answered_at", INSTANT, nullable=True))
    op.add_column("gateways", sa.Column("marker", sa.String(), nullable=True))
    accepted = sa.Column("accepted_revision", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("gateway_organizations", accepted)
    op.add_column("gateway_organizations", sa.Column("accepted_at", INSTANT, nullable=True))
    op.execute(
        "UPDATE gateway_organizations SET accepted_revision = applied_revision, accepted_at = applied_at"
    )
    op.create_index(
        "ix_gateway_organizations_unproven",
        "gateway_organizations",
        ["gateway_id", "organization_id"],
        postgresql_where=sa.text("accepted_revision > applied_revision"),
    )
    op.create_table(
        "gateway_nodes",
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("optional", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("answered_at", INSTANT, nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("error_since", INSTANT, nullable=True),
        sa.Column("status", postgresql.JSONB(), nullable=True),
        sa.Column("drift", postgresql.JSONB(), nullable=True),
        sa.Column("drift_at", INSTANT, nullable=True),
        sa.Column("drift_since", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["gateway_id"], ["gateways.id"], name=op.f("fk_gateway_nodes_gateway_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("gateway_id", "code", name=op.f("pk_gateway_nodes")),
    )
    op.execute("GRANT SELECT ON gateway_nodes TO farebox_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_nodes TO farebox_worker")
    op.execute("ALTER TABLE gateway_nodes ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE gateway_nodes FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY operator ON gateway_nodes FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    op.execute("CREATE POLICY worker ON gateway_nodes TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute("CREATE POLICY owner ON gateway_nodes TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(
        """
        CREATE FUNCTION farebox_gateway_figures()
        RETURNS TABLE (gateway text, node text, silent_seconds float8, differences bigint)
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
            SELECT g.code, '', COALESCE(extract(epoch FROM now() - g.error_since), 0)::float8, 0::bigint
            FROM gateways g
            UNION ALL
            SELECT g.code, n.code, COALESCE(extract(epoch FROM now() - n.error_since), 0)::float8,
                   CASE WHEN n.drift_since IS NULL THEN 0
                        ELSE (SELECT COALESCE(sum(each.value::bigint), 0) FROM jsonb_each_text(n.drift->'drift') each)
                             + (n.drift->>'unconfirmed')::bigint END
            FROM gateway_nodes n JOIN gateways g ON g.id = n.gateway_id
        $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION farebox_gateway_figures() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION farebox_gateway_figures() TO farebox_app, farebox_worker")
