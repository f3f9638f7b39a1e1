"""What the HTTP API needs: idempotency without leases, and the operator's narrow look at everything."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    # An answer is written in the transaction of its effect, under an advisory lock: nothing is ever "under way".
    op.execute("DELETE FROM idempotent_requests WHERE status IS NULL OR answer IS NULL")
    op.drop_column("idempotent_requests", "locked_until")
    op.alter_column("idempotent_requests", "status", existing_type=sa.Integer(), nullable=False)
    op.alter_column(
        "idempotent_requests", "answer", existing_type=sa.dialects.postgresql.JSONB(), nullable=False
    )

    # Each asks again who is asking: the role farebox_app alone opens nothing.
    op.execute(
        """
        CREATE FUNCTION farebox_operator_organizations(p_user uuid, p_search text, p_after uuid, p_limit int)
        RETURNS TABLE (id uuid, public_id text, name text, state text, test_mode boolean, created_at timestamptz,
                       members bigint, active_keys bigint, plan text)
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
            SELECT o.id, o.public_id::text, o.name::text, o.state::text, o.test_mode, o.created_at,
                   (SELECT count(*) FROM memberships m WHERE m.organization_id = o.id),
                   (SELECT count(*) FROM api_keys k WHERE k.organization_id = o.id AND k.state = 'active'),
                   (SELECT v.code::text FROM subscriptions s JOIN plan_versions v ON v.id = s.plan_version_id
                    WHERE s.organization_id = o.id AND s.state = 'active')
            FROM organizations o
            WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = p_user AND u.is_operator)
              AND (p_search IS NULL OR strpos(lower(o.name), lower(p_search)) > 0 OR o.public_id = p_search)
              AND (p_after IS NULL OR o.id < p_after)
            ORDER BY o.id DESC
            LIMIT p_limit
        $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION farebox_operator_sync(p_user uuid, p_limit int)
        RETURNS TABLE (gateway text, public_id text, name text, edge_revision bigint, applied_revision bigint,
                       attempts int, last_error text, next_attempt_at timestamptz, applied_at timestamptz)
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
            SELECT g.code::text, o.public_id::text, o.name::text, o.edge_revision,
                   COALESCE(a.applied_revision, 0), COALESCE(a.attempts, 0), a.last_error::text,
                   a.next_attempt_at, a.applied_at
            FROM organizations o CROSS JOIN gateways g
            LEFT JOIN gateway_organizations a ON a.gateway_id = g.id AND a.organization_id = o.id
            WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = p_user AND u.is_operator)
              AND (COALESCE(a.applied_revision, 0) < o.edge_revision OR COALESCE(a.attempts, 0) > 0)
            ORDER BY COALESCE(a.attempts, 0) DESC, o.id
            LIMIT p_limit
        $$
        """
    )
    for signature in (
        "farebox_operator_organizations(uuid, text, uuid, int)",
        "farebox_operator_sync(uuid, int)",
    ):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO farebox_app")
