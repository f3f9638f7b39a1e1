"""Operators through the API: they see all tenants, act within one at a time, and write the catalogue.

`app.operator_id` is set for a transaction by a function that asks whether the user is one, as
`app.organization_id` is set by a function that asks for a membership. Nothing else opens these policies.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

TENANT_TABLES = (
    "organizations", "memberships", "test_clock_offsets", "api_keys", "subscriptions", "billing_periods",
    "gateway_organizations", "usage_dimensions", "usage_rollups", "invoices", "invoice_lines",
)  # fmt: skip
CATALOGUE = {
    "plans": "INSERT, UPDATE, DELETE",
    "plan_versions": "INSERT, UPDATE, DELETE",
    "upstreams": "INSERT, UPDATE, DELETE",
    "routes": "INSERT, UPDATE, DELETE",
    "gateways": "UPDATE",
}
IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"


def upgrade() -> None:
    for table in TENANT_TABLES:
        op.execute(f"CREATE POLICY operator ON {table} FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    for table, verbs in CATALOGUE.items():
        op.execute(f"GRANT {verbs} ON {table} TO farebox_app")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY everybody ON {table} FOR SELECT TO farebox_app USING (true)")
        op.execute(
            f"CREATE POLICY operator ON {table} TO farebox_app USING ({IS_OPERATOR}) WITH CHECK ({IS_OPERATOR})"
        )
        op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
        op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")

    op.execute(
        """
        CREATE FUNCTION farebox_enter_operator(p_user uuid) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE found_operator boolean;
        BEGIN
            SELECT EXISTS (SELECT FROM users u WHERE u.id = p_user AND u.is_operator) INTO found_operator;
            PERFORM set_config('app.operator_id', CASE WHEN found_operator THEN p_user::text ELSE '' END, true);
            RETURN found_operator;
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION farebox_operator_enter_organization(p_user uuid, p_public_id text) RETURNS uuid
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE found_organization uuid;
        BEGIN
            SELECT o.id INTO found_organization FROM organizations o
            WHERE o.public_id = p_public_id
              AND EXISTS (SELECT FROM users u WHERE u.id = p_user AND u.is_operator);
            PERFORM set_config('app.organization_id', COALESCE(found_organization::text, ''), true);
            RETURN found_organization;
        END $$
        """
    )
    for signature in ("farebox_enter_operator(uuid)", "farebox_operator_enter_organization(uuid, text)"):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO farebox_app")
