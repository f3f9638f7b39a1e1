"""Row security, grants and the two narrow look-ups that log-in needs.

Every tenant table shows `farebox_app` the rows of `app.organization_id` alone, and nothing when that is not
set. `farebox_worker` works for all tenants and sees all. The owner, whom FORCE binds too, has a policy for
migrations and for the look-ups that run as it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TENANT_TABLES = (
    "memberships", "test_clock_offsets", "api_keys", "subscriptions", "billing_periods", "gateway_organizations",
    "usage_dimensions", "usage_rollups", "invoices", "invoice_lines",
)  # fmt: skip
CURRENT = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
APP_GRANTS = {
    "users": "SELECT, INSERT, UPDATE",
    "email_verifications": "SELECT, INSERT, UPDATE",
    "organizations": "SELECT, INSERT, UPDATE",
    "memberships": "SELECT, INSERT, UPDATE, DELETE",
    "test_clock_offsets": "SELECT",
    "api_keys": "SELECT, INSERT, UPDATE",
    "plans": "SELECT",
    "plan_versions": "SELECT",
    "subscriptions": "SELECT, INSERT, UPDATE",
    "billing_periods": "SELECT, INSERT, UPDATE",
    "gateways": "SELECT",
    "gateway_organizations": "SELECT",
    "upstreams": "SELECT",
    "routes": "SELECT",
    "nodes": "SELECT",
    "usage_dimensions": "SELECT",
    "usage_rollups": "SELECT",
    "usage_statements": "SELECT",
    "invoices": "SELECT",
    "invoice_lines": "SELECT",
    "outbox": "SELECT, INSERT",
    "idempotent_requests": "SELECT, INSERT, UPDATE, DELETE",
}


def protect(table: str, condition: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO farebox_app USING ({condition}) WITH CHECK ({condition})")
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")


def upgrade() -> None:
    op.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    op.execute("GRANT USAGE ON SCHEMA public TO farebox_app, farebox_worker")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO farebox_worker")
    op.execute("REVOKE ALL ON alembic_version FROM farebox_worker")
    op.execute("GRANT SELECT ON alembic_version TO farebox_app, farebox_worker")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO farebox_app, farebox_worker")
    op.execute(
        "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO farebox_worker', current_database()); END $$"
    )
    for table, verbs in APP_GRANTS.items():
        op.execute(f"GRANT {verbs} ON {table} TO farebox_app")

    protect("organizations", f"id = {CURRENT}")
    for table in TENANT_TABLES:
        protect(table, f"organization_id = {CURRENT}")
    protect("outbox", f"organization_id IS NULL OR organization_id = {CURRENT}")

    op.execute(
        """
        CREATE FUNCTION farebox_enter(p_organization uuid, p_user uuid) RETURNS text
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE found_role text;
        BEGIN
            SELECT m.role INTO found_role
            FROM memberships m JOIN organizations o ON o.id = m.organization_id
            WHERE m.organization_id = p_organization AND m.user_id = p_user AND o.state <> 'closed';
            PERFORM set_config('app.organization_id', CASE WHEN found_role IS NULL THEN '' ELSE p_organization::text END, true);
            RETURN found_role;
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION farebox_memberships_of(p_user uuid)
        RETURNS TABLE (organization_id uuid, public_id text, name text, state text, role text)
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
            SELECT o.id, o.public_id::text, o.name::text, o.state::text, m.role::text
            FROM memberships m JOIN organizations o ON o.id = m.organization_id
            WHERE m.user_id = p_user AND o.state <> 'closed'
            ORDER BY m.created_at, o.id
        $$
        """
    )
    for signature in ("farebox_enter(uuid, uuid)", "farebox_memberships_of(uuid)"):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO farebox_app")
