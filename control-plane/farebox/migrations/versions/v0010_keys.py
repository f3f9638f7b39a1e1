"""API keys with scopes, allow-lists, rotation, import and leak reports."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("scopes", postgresql.JSONB(), nullable=True))
    op.add_column("api_keys", sa.Column("cidrs", postgresql.JSONB(), nullable=True))
    op.add_column("api_keys", sa.Column("origin", sa.String(), server_default="issued", nullable=False))
    op.add_column("api_keys", sa.Column("replaced_by", sa.Uuid(), nullable=True))
    op.add_column("api_keys", sa.Column("replaces", sa.Uuid(), nullable=True))
    op.add_column("api_keys", sa.Column("revoked_reason", sa.String(), nullable=True))
    op.add_column("api_keys", sa.Column("leak_source", sa.String(length=500), nullable=True))
    op.create_foreign_key(
        op.f("fk_api_keys_replaced_by"), "api_keys", "api_keys", ["replaced_by"], ["id"],
        deferrable=True, initially="DEFERRED",
    )  # fmt: skip
    op.create_foreign_key(op.f("fk_api_keys_replaces"), "api_keys", "api_keys", ["replaces"], ["id"])
    op.create_check_constraint(op.f("ck_api_keys_origin"), "api_keys", "origin IN ('issued', 'imported')")
    op.create_check_constraint(
        op.f("ck_api_keys_revoked_reason"),
        "api_keys",
        "revoked_reason IN ('revoked', 'rotated', 'leaked')",
    )
    # Who used a key last is asked of its dimensions alone, not of all its organization's.
    op.create_index("ix_usage_dimensions_key", "usage_dimensions", ["key"])

    # Whoever holds the text of a key may have it revoked; the answer is the same whether there was one.
    op.execute(
        """
        CREATE FUNCTION farebox_report_leak(p_digest text, p_source text, p_at timestamptz) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE found_organization uuid; found_key text; new_revision bigint;
        BEGIN
            SELECT k.organization_id INTO found_organization FROM api_keys k
            WHERE k.digest = p_digest AND k.state = 'active';
            IF found_organization IS NULL THEN RETURN; END IF;
            -- The organization's row first, as everywhere: two changes of one organization take turns.
            UPDATE organizations SET edge_revision = edge_revision + 1 WHERE id = found_organization
            RETURNING edge_revision INTO new_revision;
            UPDATE api_keys SET state = 'revoked', edge_revision = new_revision, revoked_at = p_at,
                   revoked_reason = 'leaked', leak_source = p_source
            WHERE digest = p_digest AND state = 'active' RETURNING public_id INTO found_key;
            IF found_key IS NULL THEN RETURN; END IF;
            INSERT INTO outbox (job, organization_id, payload) VALUES
                ('gateway.sync', found_organization, '{}'::jsonb),
                ('key.leaked', found_organization, jsonb_build_object('key', found_key));
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION farebox_report_leak(text, text, timestamptz) FROM PUBLIC")
    op.execute(
        "GRANT EXECUTE ON FUNCTION farebox_report_leak(text, text, timestamptz) TO farebox_app, farebox_worker"
    )
