"""Payments, refunds, disputes and the inbox of webhooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"

CURRENT = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"
TENANT_TABLES = {
    "payments": "SELECT, INSERT, UPDATE",
    "payment_allocations": "SELECT, INSERT, UPDATE",
    "refunds": "SELECT, INSERT, UPDATE",
    "disputes": "SELECT",
    "provider_customers": "SELECT, INSERT",
    "payment_methods": "SELECT, INSERT, UPDATE",
    "stripe_subscriptions": "SELECT, INSERT, UPDATE",
    "stripe_invoices": "SELECT",
    "stripe_items": "SELECT",
}
OF_NO_TENANT = ("webhook_events", "reconciliation_reports", "stripe_prices")


def protect(table: str, verbs: str) -> None:
    condition = f"organization_id = {CURRENT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO farebox_app USING ({condition}) WITH CHECK ({condition})")
    op.execute(f"CREATE POLICY operator ON {table} FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT {verbs} ON {table} TO farebox_app")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO farebox_worker")


def upgrade() -> None:
    make_tables()
    make_tables_of_managed()
    for table, verbs in TENANT_TABLES.items():
        protect(table, verbs)
    for table in OF_NO_TENANT:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO farebox_worker")
    # The web process may put an event into the inbox, and can neither read it nor change one.
    op.execute(
        """
        CREATE FUNCTION farebox_receive_webhook(p_provider text, p_event text, p_kind text, p_body bytea,
                                                p_at timestamptz) RETURNS boolean
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            INSERT INTO webhook_events (provider, event_id, kind, body, signature_verified, received_at,
                                        next_attempt_at)
            VALUES (p_provider, p_event, p_kind, p_body, true, p_at, p_at)
            ON CONFLICT (provider, event_id) DO NOTHING;
            RETURN FOUND;
        END $$
        """
    )
    signature = "farebox_receive_webhook(text, text, text, bytea, timestamptz)"
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO farebox_app, farebox_worker")


def make_tables() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=True),
        sa.Column("checkout_id", sa.String(length=200), nullable=True),
        sa.Column("idempotency_key", sa.String(length=100), nullable=False),
        sa.Column("request_key", sa.String(length=300), nullable=True),
        sa.Column("flow", sa.String(length=20), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(), server_default="created", nullable=False),
        sa.Column("failure_code", sa.String(length=100), nullable=True),
        sa.Column("failure_reason", sa.String(length=500), nullable=True),
        sa.Column("action_url", sa.String(length=2000), nullable=True),
        sa.Column("charge_id", sa.String(length=200), nullable=True),
        sa.Column("postal_check", sa.String(length=20), nullable=True),
        sa.Column("parked", sa.String(length=500), nullable=True),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("succeeded_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'succeeded') = (succeeded_at IS NOT NULL)", name=op.f("ck_payments_succeeded_at")
        ),
        sa.CheckConstraint(
            "flow IN ('charge', 'intent', 'checkout', 'subscription', 'manual')",
            name=op.f("ck_payments_flow"),
        ),
        sa.CheckConstraint("provider IN ('stripe', 'paystack', 'manual')", name=op.f("ck_payments_provider")),
        sa.CheckConstraint(
            "state IN ('created', 'processing', 'requires_action', 'succeeded', 'failed', 'canceled')",
            name=op.f("ck_payments_state"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payments_amount")),
        sa.CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name=op.f("ck_payments_refunded")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_payments_invoice_id")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_payments_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_payments_idempotency_key")),
        sa.UniqueConstraint(
            "organization_id", "request_key", name=op.f("uq_payments_organization_id_request_key")
        ),
        sa.UniqueConstraint("provider", "checkout_id", name=op.f("uq_payments_provider_checkout_id")),
        sa.UniqueConstraint("provider", "provider_id", name=op.f("uq_payments_provider_provider_id")),
    )
    op.create_index("ix_payments_invoice_id", "payments", ["invoice_id"], unique=False)
    op.create_index(
        "ix_payments_live",
        "payments",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('created', 'processing', 'requires_action')"),
    )
    op.create_index(
        "ix_payments_organization_id_created_at",
        "payments",
        ["organization_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "uq_payments_live_invoice",
        "payments",
        ["invoice_id"],
        unique=True,
        postgresql_where=sa.text(
            "invoice_id IS NOT NULL AND state IN ('created', 'processing', 'requires_action')"
        ),
    )
    op.create_table(
        "payment_allocations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("grant_id", sa.Uuid(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reversed_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(invoice_id IS NULL) = (grant_id IS NOT NULL)", name=op.f("ck_payment_allocations_place")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_allocations_amount")),
        sa.CheckConstraint(
            "reversed_minor BETWEEN 0 AND amount_minor", name=op.f("ck_payment_allocations_reversed")
        ),
        sa.ForeignKeyConstraint(
            ["grant_id"], ["credit_grants.id"], name=op.f("fk_payment_allocations_grant_id")
        ),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoices.id"], name=op.f("fk_payment_allocations_invoice_id")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_payment_allocations_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("fk_payment_allocations_payment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_allocations")),
    )
    op.create_index("ix_payment_allocations_invoice_id", "payment_allocations", ["invoice_id"], unique=False)
    op.create_index(
        "ix_payment_allocations_organization_id", "payment_allocations", ["organization_id"], unique=False
    )
    op.create_index("ix_payment_allocations_payment_id", "payment_allocations", ["payment_id"], unique=False)
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=True),
        sa.Column("idempotency_key", sa.String(length=100), nullable=False),
        sa.Column("request_key", sa.String(length=300), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reopens", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), server_default="created", nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("failure_reason", sa.String(length=500), nullable=True),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('created', 'processing', 'succeeded', 'failed', 'canceled')",
            name=op.f("ck_refunds_state"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_amount")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_refunds_organization_id")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_refunds_idempotency_key")),
        sa.UniqueConstraint(
            "organization_id", "request_key", name=op.f("uq_refunds_organization_id_request_key")
        ),
        sa.UniqueConstraint("provider", "provider_id", name=op.f("uq_refunds_provider_provider_id")),
    )
    op.create_index(
        "ix_refunds_live",
        "refunds",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('created', 'processing')"),
    )
    op.create_index("ix_refunds_organization_id", "refunds", ["organization_id"], unique=False)
    op.create_index("ix_refunds_payment_id", "refunds", ["payment_id"], unique=False)
    op.create_table(
        "disputes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("opened_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('open', 'won', 'lost')", name=op.f("ck_disputes_state")),
        sa.CheckConstraint("withdrawn_minor BETWEEN 0 AND amount_minor", name=op.f("ck_disputes_withdrawn")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_disputes_organization_id")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_disputes_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
        sa.UniqueConstraint("provider", "provider_id", name=op.f("uq_disputes_provider_provider_id")),
    )
    op.create_index("ix_disputes_organization_id", "disputes", ["organization_id"], unique=False)
    op.create_index("ix_disputes_payment_id", "disputes", ["payment_id"], unique=False)
    op.create_table(
        "provider_customers",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_provider_customers_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "provider", name=op.f("pk_provider_customers")),
        sa.UniqueConstraint(
            "provider", "provider_id", name=op.f("uq_provider_customers_provider_provider_id")
        ),
    )
    op.create_table(
        "payment_methods",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=False),
        sa.Column("brand", sa.String(length=40), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("exp_month", sa.Integer(), nullable=False),
        sa.Column("exp_year", sa.Integer(), nullable=False),
        sa.Column("postal_check", sa.String(length=20), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("removed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_payment_methods_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_methods")),
        sa.UniqueConstraint(
            "organization_id",
            "provider",
            "provider_id",
            name=op.f("uq_payment_methods_organization_id_provider_provider_id"),
        ),
    )
    op.create_index(
        "ix_payment_methods_organization_id", "payment_methods", ["organization_id"], unique=False
    )
    op.create_index(
        "uq_payment_methods_default",
        "payment_methods",
        ["organization_id"],
        unique=True,
        postgresql_where=sa.text("is_default AND removed_at IS NULL"),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature_verified", sa.Boolean(), nullable=False),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("state", sa.String(), server_default="received", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("error", sa.String(length=1000), nullable=True),
        sa.Column("done_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('received', 'done', 'ignored', 'parked')", name=op.f("ck_webhook_events_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
        sa.UniqueConstraint("provider", "event_id", name=op.f("uq_webhook_events_provider_event_id")),
    )
    op.create_index(
        "ix_webhook_events_open",
        "webhook_events",
        ["next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'received'"),
    )
    op.create_table(
        "reconciliation_reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("window_start", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("window_end", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("compared", sa.Integer(), nullable=False),
        sa.Column("repaired", sa.Integer(), nullable=False),
        sa.Column("parked", sa.Integer(), nullable=False),
        sa.Column("differences", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_reports")),
        sa.UniqueConstraint(
            "provider",
            "window_start",
            "window_end",
            name=op.f("uq_reconciliation_reports_provider_window_start_window_end"),
        ),
    )
    op.create_index(
        "ix_reconciliation_reports_created_at", "reconciliation_reports", ["created_at"], unique=False
    )


def make_tables_of_managed() -> None:
    op.create_table(
        "stripe_prices",
        sa.Column("plan_version_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_stripe_prices_amount")),
        sa.ForeignKeyConstraint(
            ["plan_version_id"], ["plan_versions.id"], name=op.f("fk_stripe_prices_plan_version_id")
        ),
        sa.PrimaryKeyConstraint("plan_version_id", name=op.f("pk_stripe_prices")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_stripe_prices_provider_id")),
    )
    op.create_table(
        "stripe_subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=True),
        sa.Column("plan_version_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(), server_default="wanted", nullable=False),
        sa.Column("status", sa.String(length=40), nullable=True),
        sa.Column("ending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("method", sa.String(length=200), nullable=True),
        sa.Column("problem", sa.String(length=500), nullable=True),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(provider_id IS NULL) = (started_at IS NULL)", name=op.f("ck_stripe_subscriptions_started_at")
        ),
        sa.CheckConstraint(
            "(state = 'ended') = (ended_at IS NOT NULL)", name=op.f("ck_stripe_subscriptions_ended_at")
        ),
        sa.CheckConstraint(
            "state <> 'running' OR provider_id IS NOT NULL", name=op.f("ck_stripe_subscriptions_running")
        ),
        sa.CheckConstraint(
            "state IN ('wanted', 'running', 'leaving', 'ended')", name=op.f("ck_stripe_subscriptions_state")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_stripe_subscriptions_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["plan_version_id"], ["plan_versions.id"], name=op.f("fk_stripe_subscriptions_plan_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_subscriptions")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_stripe_subscriptions_provider_id")),
    )
    op.create_index(
        "ix_stripe_subscriptions_organization_id", "stripe_subscriptions", ["organization_id"], unique=False
    )
    op.create_index(
        "uq_stripe_subscriptions_live",
        "stripe_subscriptions",
        ["organization_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_table(
        "stripe_invoices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("provider_id", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("due_minor", sa.BigInteger(), nullable=False),
        sa.Column("advance_minor", sa.BigInteger(), nullable=False),
        sa.Column("advance_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("parked", sa.String(length=500), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'open', 'paid', 'void', 'uncollectible')",
            name=op.f("ck_stripe_invoices_state"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_stripe_invoices_organization_id")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_stripe_invoices_payment_id")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["stripe_subscriptions.id"], name=op.f("fk_stripe_invoices_subscription_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_invoices")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_stripe_invoices_provider_id")),
    )
    op.create_index(
        "ix_stripe_invoices_organization_id", "stripe_invoices", ["organization_id"], unique=False
    )
    op.create_index(
        "ix_stripe_invoices_subscription_id", "stripe_invoices", ["subscription_id"], unique=False
    )
    op.create_table(
        "stripe_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("stripe_invoice", sa.String(length=200), nullable=True),
        sa.Column("provider_id", sa.String(length=200), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(), server_default="placed", nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('placed', 'put', 'settled', 'released')", name=op.f("ck_stripe_items_state")
        ),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_stripe_items_amount")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_stripe_items_invoice_id")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_stripe_items_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["stripe_subscriptions.id"], name=op.f("fk_stripe_items_subscription_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_items")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_stripe_items_invoice_id")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_stripe_items_provider_id")),
    )
    op.create_index("ix_stripe_items_organization_id", "stripe_items", ["organization_id"], unique=False)
    op.create_index("ix_stripe_items_stripe_invoice", "stripe_items", ["stripe_invoice"], unique=False)
    op.create_index("ix_stripe_items_subscription_id", "stripe_items", ["subscription_id"], unique=False)
