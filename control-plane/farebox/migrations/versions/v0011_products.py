"""API products: upstreams and routes in full.

A definition is kept whole, as checked JSON; what it refers to stands beside it as a foreign key, so that the
database refuses to lose what a route leads to. `managed_by` names the declarative file that made a row.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE products (
            code varchar(64) CONSTRAINT pk_products PRIMARY KEY,
            definition jsonb NOT NULL,
            upstream_code varchar(64)
                CONSTRAINT fk_products_upstream_code REFERENCES upstreams (code),
            release_upstream_code varchar(64)
                CONSTRAINT fk_products_release_upstream_code REFERENCES upstreams (code),
            managed_by varchar(64),
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("ALTER TABLE products ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE products FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON products TO farebox_app, farebox_worker")
    op.execute("CREATE POLICY everybody ON products FOR SELECT TO farebox_app USING (true)")
    op.execute(
        f"CREATE POLICY operator ON products TO farebox_app USING ({IS_OPERATOR}) WITH CHECK ({IS_OPERATOR})"
    )
    op.execute("CREATE POLICY worker ON products TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute("CREATE POLICY owner ON products TO farebox_owner USING (true) WITH CHECK (true)")

    op.execute("ALTER TABLE upstreams ADD definition jsonb, ADD managed_by varchar(64)")
    op.execute(
        """
        UPDATE upstreams SET definition = jsonb_build_object('nodes', (
            SELECT jsonb_agg(jsonb_build_object('address', key, 'weight', value::int) ORDER BY key)
            FROM jsonb_each_text(nodes)))
        """
    )
    op.execute("ALTER TABLE upstreams ALTER definition SET NOT NULL, DROP nodes")

    op.execute(
        """
        ALTER TABLE routes ADD definition jsonb, ADD managed_by varchar(64),
            ADD product_code varchar(64)
                CONSTRAINT fk_routes_product_code REFERENCES products (code),
            ADD release_upstream_code varchar(64)
                CONSTRAINT fk_routes_release_upstream_code REFERENCES upstreams (code),
            ALTER upstream_code DROP NOT NULL
        """
    )
    op.execute(
        """
        UPDATE routes SET definition = jsonb_build_object('upstream', upstream_code, 'paths', uris,
            'methods', methods, 'hosts', hosts, 'units', units, 'upstream_units', upstream_units)
        """
    )
    op.execute(
        "ALTER TABLE routes ALTER definition SET NOT NULL, DROP uris, DROP methods, DROP hosts, DROP units, "
        "DROP upstream_units"
    )
