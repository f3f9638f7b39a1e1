"""Taxes, discounts, credits and settlement of invoices; which invoiced periods must be counted again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"

CURRENT = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"
TENANT_TABLES = {
    "invoice_taxes": "SELECT",
    "billing_profiles": "SELECT, INSERT, UPDATE",
    "credit_grants": "SELECT, INSERT",
    "credit_entries": "SELECT, INSERT",
    "coupon_redemptions": "SELECT",
    "period_tallies": "SELECT, INSERT, UPDATE",
}
CATALOGUE = ("issuers", "tax_rates", "coupons")
INSTANT = postgresql.TIMESTAMP(timezone=True)


def protect(table: str, app_verbs: str) -> None:
    mine = f"organization_id = {CURRENT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO farebox_app USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY operator ON {table} FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT {app_verbs} ON {table} TO farebox_app")
    verbs = "SELECT, INSERT" if table == "credit_entries" else "SELECT, INSERT, UPDATE, DELETE"
    op.execute(f"GRANT {verbs} ON {table} TO farebox_worker")


def catalogue(table: str, visible_to_all: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY everybody ON {table} FOR SELECT TO farebox_app USING ({visible_to_all})")
    op.execute(
        f"CREATE POLICY operator ON {table} TO farebox_app USING ({IS_OPERATOR}) WITH CHECK ({IS_OPERATOR})"
    )
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO farebox_app")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO farebox_worker")


def upgrade() -> None:
    widen_invoices()
    make_tables()
    for table, verbs in TENANT_TABLES.items():
        protect(table, verbs)
    catalogue("issuers", "true")
    catalogue("tax_rates", "true")
    catalogue("coupons", "false")
    guard_invoices()
    keep_credits()
    op.execute("INSERT INTO issuers (code, legal_name) VALUES ('Farebox', 'Farebox')")
    op.execute(
        "INSERT INTO period_tallies (period_id, organization_id) "
        "SELECT id, organization_id FROM billing_periods WHERE state = 'invoiced'"
    )


def widen_invoices() -> None:
    for name in ("credits_minor", "paid_minor", "credited_minor"):
        op.add_column("invoices", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
        op.create_check_constraint(op.f(f"ck_invoices_{name}"), "invoices", f"{name} >= 0")
    op.add_column(
        "invoices",
        sa.Column(
            "open_minor",
            sa.BigInteger(),
            sa.Computed(
                "CASE WHEN total_minor <= 0 THEN 0 "
                "ELSE total_minor - credits_minor - credited_minor - paid_minor END",
                persisted=True,
            ),
            nullable=True,
        ),
    )
    op.create_check_constraint(
        op.f("ck_invoices_settled"),
        "invoices",
        "credits_minor + paid_minor + credited_minor <= greatest(total_minor, 0)",
    )
    op.add_column("invoices", sa.Column("terms_days", sa.Integer(), server_default="14", nullable=False))
    op.add_column(
        "invoices", sa.Column("collection", sa.String(), server_default="automatic", nullable=False)
    )
    op.create_check_constraint(
        op.f("ck_invoices_collection"), "invoices", "collection IN ('automatic', 'send_invoice')"
    )
    op.add_column("invoices", sa.Column("paid_at", INSTANT, nullable=True))
    op.add_column("invoices", sa.Column("disputed_at", INSTANT, nullable=True))
    op.drop_constraint(op.f("ck_invoices_state"), "invoices")
    op.create_check_constraint(
        op.f("ck_invoices_state"),
        "invoices",
        "state IN ('draft', 'parked', 'finalized', 'paid', 'overdue', 'void', 'uncollectible')",
    )
    op.create_index(
        "ix_invoices_due_at",
        "invoices",
        ["due_at"],
        postgresql_where=sa.text("state IN ('finalized', 'overdue')"),
    )
    op.drop_constraint(op.f("ck_invoice_lines_kind"), "invoice_lines")
    op.create_check_constraint(
        op.f("ck_invoice_lines_kind"),
        "invoice_lines",
        "kind IN ('charge', 'correction', 'minimum', 'maximum', 'discount', 'included_tax')",
    )
    # Collecting settles invoices in the tenant's own transaction; the guard lets nothing else change.
    op.execute(
        "GRANT UPDATE (state, paid_minor, credited_minor, paid_at, disputed_at) ON invoices TO farebox_app"
    )


def organization() -> sa.Column[object]:
    return sa.Column("organization_id", sa.Uuid(), nullable=False)


def of_organization(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["organization_id"], ["organizations.id"], name=op.f(f"fk_{table}_organization_id")
    )


def created(name: str = "created_at") -> sa.Column[object]:
    return sa.Column(name, INSTANT, server_default=sa.text("now()"), nullable=False)


def make_tables() -> None:
    op.create_table(
        "invoice_taxes",
        sa.Column("id", sa.Uuid(), nullable=False),
        organization(),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("region", sa.String(length=10), server_default="", nullable=False),
        sa.Column("rate", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("inclusive", sa.Boolean(), nullable=False),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('levied', 'reverse_charge', 'exempt')", name=op.f("ck_invoice_taxes_kind")
        ),
        sa.CheckConstraint("kind = 'levied' OR amount_minor = 0", name=op.f("ck_invoice_taxes_amount")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_invoice_taxes_invoice_id")),
        of_organization("invoice_taxes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_taxes")),
        sa.UniqueConstraint("invoice_id", "position", name=op.f("uq_invoice_taxes_invoice_id_position")),
    )
    op.create_index("ix_invoice_taxes_organization_id", "invoice_taxes", ["organization_id"])
    op.create_table(
        "billing_profiles",
        organization(),
        sa.Column("legal_name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=True),
        *(
            sa.Column(name, sa.String(length=200), nullable=True)
            for name in ("line1", "line2", "city", "region", "postal_code")
        ),
        sa.Column("country", sa.String(length=2), nullable=True),
        sa.Column("tax_id", sa.String(length=40), nullable=True),
        sa.Column("language", sa.String(length=35), server_default="en", nullable=False),
        sa.Column("net_days", sa.Integer(), nullable=True),
        sa.Column("collection", sa.String(), server_default="automatic", nullable=False),
        sa.Column("tax_exempt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        created(),
        created("updated_at"),
        sa.CheckConstraint("country ~ '^[A-Z]{2}$'", name=op.f("ck_billing_profiles_country")),
        sa.CheckConstraint("net_days BETWEEN 0 AND 365", name=op.f("ck_billing_profiles_net_days")),
        sa.CheckConstraint(
            "collection IN ('automatic', 'send_invoice')", name=op.f("ck_billing_profiles_collection")
        ),
        of_organization("billing_profiles"),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_billing_profiles")),
    )
    op.create_table(
        "issuers",
        sa.Column("code", sa.String(length=100), nullable=False),
        sa.Column("legal_name", sa.String(length=200), nullable=False),
        *(
            sa.Column(name, sa.String(length=200), nullable=True)
            for name in ("line1", "line2", "city", "region", "postal_code")
        ),
        sa.Column("country", sa.String(length=2), nullable=True),
        sa.Column("tax_id", sa.String(length=40), nullable=True),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("number_prefix", sa.String(length=20), server_default="FB-", nullable=False),
        sa.CheckConstraint("country ~ '^[A-Z]{2}$'", name=op.f("ck_issuers_country")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_issuers")),
    )
    op.create_table(
        "tax_rates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("region", sa.String(length=10), server_default="", nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("rate", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("inclusive", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("valid_from", INSTANT, nullable=False),
        created(),
        sa.CheckConstraint("country ~ '^[A-Z]{2}$'", name=op.f("ck_tax_rates_country")),
        sa.CheckConstraint("rate BETWEEN 0 AND 100", name=op.f("ck_tax_rates_rate")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_rates")),
        sa.UniqueConstraint(
            "country",
            "region",
            "name",
            "valid_from",
            name=op.f("uq_tax_rates_country_region_name_valid_from"),
        ),
    )
    op.create_table(
        "credit_grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        organization(),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("remaining_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("granted_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "kind IN ('prepaid', 'promotional', 'balance')", name=op.f("ck_credit_grants_kind")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_credit_grants_amount")),
        sa.CheckConstraint(
            "remaining_minor BETWEEN 0 AND amount_minor", name=op.f("ck_credit_grants_remaining")
        ),
        of_organization("credit_grants"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_grants")),
    )
    op.create_index("ix_credit_grants_organization_id", "credit_grants", ["organization_id"])
    op.create_index(
        "ix_credit_grants_left", "credit_grants", ["organization_id", "currency"],
        postgresql_where=sa.text("remaining_minor > 0"),
    )  # fmt: skip
    op.create_table(
        "credit_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        organization(),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "CASE kind WHEN 'grant' THEN amount_minor > 0 WHEN 'return' THEN amount_minor > 0 "
            "WHEN 'burn' THEN amount_minor < 0 WHEN 'expire' THEN amount_minor < 0 ELSE false END",
            name=op.f("ck_credit_entries_kind"),
        ),
        sa.CheckConstraint(
            "(kind IN ('burn', 'return')) = (invoice_id IS NOT NULL)",
            name=op.f("ck_credit_entries_invoice_id"),
        ),
        sa.ForeignKeyConstraint(["grant_id"], ["credit_grants.id"], name=op.f("fk_credit_entries_grant_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_credit_entries_invoice_id")),
        of_organization("credit_entries"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_entries")),
    )
    op.create_index("ix_credit_entries_organization_id", "credit_entries", ["organization_id"])
    op.create_index("ix_credit_entries_invoice_id", "credit_entries", ["invoice_id"])
    op.create_table(
        "coupons",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(), server_default="active", nullable=False),
        sa.Column("percent", sa.Numeric(precision=7, scale=4), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("periods", sa.Integer(), nullable=True),
        sa.Column("plans", postgresql.JSONB(), nullable=True),
        sa.Column("max_redemptions", sa.Integer(), nullable=True),
        sa.Column("redeem_by", INSTANT, nullable=True),
        created(),
        sa.CheckConstraint("state IN ('active', 'archived')", name=op.f("ck_coupons_state")),
        sa.CheckConstraint(
            "(percent IS NULL) <> (amount_minor IS NULL) AND (amount_minor IS NULL) = (currency IS NULL)",
            name=op.f("ck_coupons_value"),
        ),
        sa.CheckConstraint("percent > 0 AND percent <= 100", name=op.f("ck_coupons_percent")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_coupons_amount")),
        sa.CheckConstraint("periods > 0", name=op.f("ck_coupons_periods")),
        sa.CheckConstraint("max_redemptions > 0", name=op.f("ck_coupons_max_redemptions")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupons")),
        sa.UniqueConstraint("code", name=op.f("uq_coupons_code")),
    )
    op.create_table(
        "coupon_redemptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        organization(),
        sa.Column("coupon_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("percent", sa.Numeric(precision=7, scale=4), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("periods_left", sa.Integer(), nullable=True),
        sa.Column("plans", postgresql.JSONB(), nullable=True),
        sa.Column("redeemed_at", INSTANT, nullable=False),
        sa.CheckConstraint("periods_left >= 0", name=op.f("ck_coupon_redemptions_periods_left")),
        sa.ForeignKeyConstraint(["coupon_id"], ["coupons.id"], name=op.f("fk_coupon_redemptions_coupon_id")),
        of_organization("coupon_redemptions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_redemptions")),
        sa.UniqueConstraint(
            "organization_id", "coupon_id", name=op.f("uq_coupon_redemptions_organization_id_coupon_id")
        ),
    )
    op.create_index("ix_coupon_redemptions_coupon_id", "coupon_redemptions", ["coupon_id"])
    op.create_table(
        "period_tallies",
        sa.Column("period_id", sa.Uuid(), nullable=False),
        organization(),
        sa.Column("billed", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("touches", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("counted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("corrections", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["period_id"], ["billing_periods.id"], name=op.f("fk_period_tallies_period_id")
        ),
        of_organization("period_tallies"),
        sa.PrimaryKeyConstraint("period_id", name=op.f("pk_period_tallies")),
    )
    op.create_index("ix_period_tallies_organization_id", "period_tallies", ["organization_id"])
    op.create_index(
        "ix_period_tallies_touched",
        "period_tallies",
        ["organization_id"],
        postgresql_where=sa.text("touches > counted"),
    )


def guard_invoices() -> None:
    # A generated column has no value yet where a BEFORE trigger looks, so it is left out of the comparison.
    op.execute(
        """
        CREATE OR REPLACE FUNCTION farebox_guard_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE free CONSTANT text[] := ARRAY['state', 'paid_minor', 'credited_minor', 'paid_at', 'disputed_at',
                                              'open_minor'];
        BEGIN
            IF OLD.number IS NULL THEN
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            END IF;
            IF TG_OP = 'UPDATE' AND NEW.state NOT IN ('draft', 'parked')
               AND to_jsonb(NEW) - free = to_jsonb(OLD) - free THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'invoice % is finalized and never changes', OLD.number USING ERRCODE = 'check_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON invoice_taxes "
        "FOR EACH ROW EXECUTE FUNCTION farebox_guard_invoice_line()"
    )
    op.execute(
        """
        CREATE OR REPLACE FUNCTION farebox_check_invoice_sum() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE line_sum bigint; tax_sum bigint;
        BEGIN
            IF NEW.number IS NULL THEN RETURN NULL; END IF;
            SELECT COALESCE(sum(amount_minor), 0) INTO line_sum FROM invoice_lines WHERE invoice_id = NEW.id;
            IF line_sum <> NEW.subtotal_minor THEN
                RAISE EXCEPTION 'invoice %: lines sum to %, subtotal is %', NEW.number, line_sum, NEW.subtotal_minor
                    USING ERRCODE = 'check_violation';
            END IF;
            SELECT COALESCE(sum(amount_minor), 0) INTO tax_sum FROM invoice_taxes WHERE invoice_id = NEW.id;
            IF tax_sum <> NEW.tax_minor THEN
                RAISE EXCEPTION 'invoice %: taxes sum to %, tax is %', NEW.number, tax_sum, NEW.tax_minor
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    # Which invoiced periods the given stretches of buckets fall into: their usage changed after the invoice.
    op.execute(
        """
        CREATE FUNCTION farebox_touch_periods(p_dimensions bigint[], p_first bigint[], p_last bigint[])
        RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS $$
            INSERT INTO period_tallies AS r (period_id, organization_id)
            SELECT DISTINCT p.id, p.organization_id
            FROM unnest(p_dimensions, p_first, p_last) AS t(dimension, first_bucket, last_bucket)
            JOIN usage_dimensions d ON d.id = t.dimension
            JOIN billing_periods p ON p.subscription_id = d.subscription_id AND p.state = 'invoiced'
             AND (p.is_first OR t.last_bucket >= extract(epoch FROM p.starts_at))
             AND (p.is_last OR t.first_bucket < extract(epoch FROM p.ends_at))
            ORDER BY p.id
            ON CONFLICT (period_id) DO UPDATE SET touches = r.touches + 1
        $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION farebox_touch_periods(bigint[], bigint[], bigint[]) FROM PUBLIC")
    op.execute(
        "GRANT EXECUTE ON FUNCTION farebox_touch_periods(bigint[], bigint[], bigint[]) "
        "TO farebox_app, farebox_worker"
    )


def keep_credits() -> None:
    # What is left of a grant is the sum of its entries, whoever writes them.
    op.execute(
        """
        CREATE FUNCTION farebox_apply_credit_entry() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            UPDATE credit_grants SET remaining_minor = remaining_minor + NEW.amount_minor
            WHERE id = NEW.grant_id AND organization_id = NEW.organization_id;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'credit entry without its grant' USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER apply AFTER INSERT ON credit_entries "
        "FOR EACH ROW EXECUTE FUNCTION farebox_apply_credit_entry()"
    )
    op.execute(
        """
        CREATE FUNCTION farebox_guard_credit_entry() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'credit entries never change' USING ERRCODE = 'check_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON credit_entries "
        "FOR EACH ROW EXECUTE FUNCTION farebox_guard_credit_entry()"
    )
    # The count of a coupon's redemptions spans all tenants, so it is taken here, one redemption at a time.
    op.execute(
        """
        CREATE FUNCTION farebox_redeem_coupon(p_id uuid, p_organization uuid, p_code text, p_at timestamptz)
        RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE c coupons%ROWTYPE; taken bigint;
        BEGIN
            SELECT * INTO c FROM coupons WHERE code = p_code FOR NO KEY UPDATE;
            IF NOT FOUND OR c.state <> 'active' OR c.redeem_by <= p_at THEN RETURN 'unknown'; END IF;
            IF EXISTS (SELECT FROM coupon_redemptions
                       WHERE coupon_id = c.id AND organization_id = p_organization) THEN
                RETURN 'redeemed';
            END IF;
            SELECT count(*) INTO taken FROM coupon_redemptions WHERE coupon_id = c.id;
            IF taken >= c.max_redemptions THEN RETURN 'exhausted'; END IF;
            INSERT INTO coupon_redemptions (id, organization_id, coupon_id, code, name, percent, amount_minor,
                                            currency, periods_left, plans, redeemed_at)
            VALUES (p_id, p_organization, c.id, c.code, c.name, c.percent, c.amount_minor, c.currency,
                    c.periods, c.plans, p_at);
            RETURN 'ok';
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION farebox_redeem_coupon(uuid, uuid, text, timestamptz) FROM PUBLIC")
    op.execute(
        "GRANT EXECUTE ON FUNCTION farebox_redeem_coupon(uuid, uuid, text, timestamptz) "
        "TO farebox_app, farebox_worker"
    )
