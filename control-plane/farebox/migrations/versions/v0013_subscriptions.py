"""Every state of a subscription and what led to it; trials, add-ons, overrides, spending caps and alerts."""

from alembic import op

revision = "0013"
down_revision = "0012"

CURRENT = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"
TENANT_TABLES = {
    "subscription_transitions": "SELECT, INSERT",
    "subscription_add_ons": "SELECT, INSERT, UPDATE",
    "limit_overrides": "SELECT, INSERT, UPDATE, DELETE",
    "spending_caps": "SELECT, INSERT, UPDATE, DELETE",
    "alert_thresholds": "SELECT, INSERT, DELETE",
    "alert_firings": "SELECT",
}
CATALOGUE = ("add_ons", "add_on_versions")


def upgrade() -> None:
    widen_subscriptions()
    widen_plans()
    make_add_ons()
    make_tenant_tables()
    for table, verbs in TENANT_TABLES.items():
        protect(table, verbs)
    for table in CATALOGUE:
        protect_catalogue(table)
    op.execute(
        "CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON add_on_versions "
        "FOR EACH ROW EXECUTE FUNCTION farebox_guard_plan_version()"
    )
    show_operators_the_running_plan()


def protect(table: str, app_verbs: str) -> None:
    mine = f"organization_id = {CURRENT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO farebox_app USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY operator ON {table} FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT {app_verbs} ON {table} TO farebox_app")
    # What has happened is written once; nobody may change it afterwards.
    verbs = "SELECT, INSERT" if table == "subscription_transitions" else "SELECT, INSERT, UPDATE, DELETE"
    op.execute(f"GRANT {verbs} ON {table} TO farebox_worker")


def protect_catalogue(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY everybody ON {table} FOR SELECT TO farebox_app USING (true)")
    op.execute(
        f"CREATE POLICY operator ON {table} TO farebox_app USING ({IS_OPERATOR}) WITH CHECK ({IS_OPERATOR})"
    )
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO farebox_app, farebox_worker")


def widen_subscriptions() -> None:
    op.execute(
        """
        ALTER TABLE subscriptions
            ADD cancel_at timestamptz,
            ADD trial_ends_at timestamptz,
            ADD paused_at timestamptz,
            ADD resume_at timestamptz,
            ADD resumed_at timestamptz,
            ADD change_at timestamptz,
            ADD next_plan_version_id uuid
                CONSTRAINT fk_subscriptions_next_plan_version_id REFERENCES plan_versions (id),
            DROP CONSTRAINT ck_subscriptions_state,
            ADD CONSTRAINT ck_subscriptions_state CHECK (state IN
                ('trialing', 'active', 'past_due', 'suspended', 'paused', 'cancelled', 'ended')),
            ADD CONSTRAINT ck_subscriptions_change
                CHECK ((change_at IS NULL) = (next_plan_version_id IS NULL)),
            ADD CONSTRAINT ck_subscriptions_paused CHECK (state <> 'paused' OR paused_at IS NOT NULL),
            ADD CONSTRAINT ck_subscriptions_trial CHECK (trial_ends_at > started_at)
        """
    )
    # The next instant, in the organization's time, at which something happens by itself.
    op.execute(
        """
        ALTER TABLE subscriptions ADD next_transition_at timestamptz GENERATED ALWAYS AS (
            CASE WHEN state = 'ended' THEN NULL ELSE LEAST(
                cancel_at, change_at, CASE WHEN state = 'paused' THEN resume_at END,
                CASE WHEN state = 'trialing' THEN trial_ends_at END) END) STORED
        """
    )
    op.execute("DROP INDEX uq_subscriptions_organization_id_active")
    op.execute(
        "CREATE UNIQUE INDEX uq_subscriptions_organization_id_running ON subscriptions (organization_id) "
        "WHERE state <> 'ended'"
    )
    op.execute(
        "CREATE INDEX ix_subscriptions_next_transition_at ON subscriptions (next_transition_at) "
        "WHERE next_transition_at IS NOT NULL"
    )
    op.execute("CREATE INDEX ix_subscriptions_plan_version_id ON subscriptions (plan_version_id)")
    op.execute(
        """
        ALTER TABLE billing_periods ADD kind varchar NOT NULL DEFAULT 'regular',
            ADD CONSTRAINT ck_billing_periods_kind CHECK (kind IN ('regular', 'trial', 'paused'))
        """
    )


def widen_plans() -> None:
    op.execute(
        """
        ALTER TABLE plan_versions
            ADD trial_days integer NOT NULL DEFAULT 0,
            ADD entitlements jsonb NOT NULL DEFAULT '{}'::jsonb,
            ADD meters jsonb NOT NULL DEFAULT '[]'::jsonb,
            ADD CONSTRAINT ck_plan_versions_trial_days CHECK (trial_days BETWEEN 0 AND 730)
        """
    )


def make_add_ons() -> None:
    op.execute(
        """
        CREATE TABLE add_ons (
            id uuid CONSTRAINT pk_add_ons PRIMARY KEY,
            code varchar(40) NOT NULL CONSTRAINT uq_add_ons_code UNIQUE,
            name varchar NOT NULL,
            public boolean NOT NULL DEFAULT true,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute(
        """
        CREATE TABLE add_on_versions (
            id uuid CONSTRAINT pk_add_on_versions PRIMARY KEY,
            add_on_id uuid NOT NULL CONSTRAINT fk_add_on_versions_add_on_id REFERENCES add_ons (id),
            version integer NOT NULL,
            code varchar(64) NOT NULL CONSTRAINT uq_add_on_versions_code UNIQUE,
            state varchar NOT NULL DEFAULT 'draft',
            currency varchar(3) NOT NULL,
            charges jsonb NOT NULL,
            limits jsonb NOT NULL DEFAULT '[]'::jsonb,
            quota_units bigint NOT NULL DEFAULT 0,
            entitlements jsonb NOT NULL DEFAULT '{}'::jsonb,
            published_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT uq_add_on_versions_add_on_id_version UNIQUE (add_on_id, version),
            CONSTRAINT ck_add_on_versions_state CHECK (state IN ('draft', 'published', 'withdrawn')),
            CONSTRAINT ck_add_on_versions_published_at CHECK ((state = 'draft') = (published_at IS NULL)),
            CONSTRAINT ck_add_on_versions_quota_units CHECK (quota_units >= 0)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE subscription_add_ons (
            id uuid CONSTRAINT pk_subscription_add_ons PRIMARY KEY,
            organization_id uuid NOT NULL
                CONSTRAINT fk_subscription_add_ons_organization_id REFERENCES organizations (id),
            subscription_id uuid NOT NULL
                CONSTRAINT fk_subscription_add_ons_subscription_id REFERENCES subscriptions (id),
            add_on_version_id uuid NOT NULL
                CONSTRAINT fk_subscription_add_ons_add_on_version_id REFERENCES add_on_versions (id),
            quantity integer NOT NULL,
            from_at timestamptz NOT NULL,
            to_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT ck_subscription_add_ons_quantity CHECK (quantity BETWEEN 1 AND 100000),
            CONSTRAINT ck_subscription_add_ons_order CHECK (to_at >= from_at)
        )
        """
    )
    op.execute(
        "CREATE INDEX ix_subscription_add_ons_subscription_id ON subscription_add_ons (subscription_id)"
    )
    op.execute(
        "CREATE INDEX ix_subscription_add_ons_organization_id ON subscription_add_ons (organization_id)"
    )


def make_tenant_tables() -> None:
    op.execute(
        """
        CREATE TABLE subscription_transitions (
            id uuid CONSTRAINT pk_subscription_transitions PRIMARY KEY,
            organization_id uuid NOT NULL
                CONSTRAINT fk_subscription_transitions_organization_id REFERENCES organizations (id),
            subscription_id uuid NOT NULL
                CONSTRAINT fk_subscription_transitions_subscription_id REFERENCES subscriptions (id),
            transition varchar(40) NOT NULL,
            from_state varchar(20),
            to_state varchar(20) NOT NULL,
            cause varchar(500) NOT NULL,
            actor varchar(100) NOT NULL,
            at timestamptz NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute(
        "CREATE INDEX ix_subscription_transitions_organization_id "
        "ON subscription_transitions (organization_id, id)"
    )
    op.execute(
        """
        CREATE TABLE limit_overrides (
            organization_id uuid CONSTRAINT pk_limit_overrides PRIMARY KEY
                CONSTRAINT fk_limit_overrides_organization_id REFERENCES organizations (id),
            limits jsonb,
            quota jsonb,
            entitlements jsonb NOT NULL DEFAULT '{}'::jsonb,
            reason varchar(500) NOT NULL,
            actor varchar(100) NOT NULL,
            set_at timestamptz NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE spending_caps (
            organization_id uuid CONSTRAINT pk_spending_caps PRIMARY KEY
                CONSTRAINT fk_spending_caps_organization_id REFERENCES organizations (id),
            amount_minor bigint NOT NULL,
            currency varchar(3) NOT NULL,
            actor varchar(100) NOT NULL,
            set_at timestamptz NOT NULL,
            CONSTRAINT ck_spending_caps_amount_minor CHECK (amount_minor > 0)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE alert_thresholds (
            id uuid CONSTRAINT pk_alert_thresholds PRIMARY KEY,
            organization_id uuid NOT NULL
                CONSTRAINT fk_alert_thresholds_organization_id REFERENCES organizations (id),
            kind varchar(20) NOT NULL,
            value bigint NOT NULL,
            created_at timestamptz NOT NULL,
            CONSTRAINT uq_alert_thresholds_organization_id_kind_value UNIQUE (organization_id, kind, value),
            CONSTRAINT ck_alert_thresholds_kind CHECK (kind IN ('quota_percent', 'cap_percent', 'amount')),
            CONSTRAINT ck_alert_thresholds_value CHECK (value > 0)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE alert_firings (
            threshold_id uuid CONSTRAINT fk_alert_firings_threshold_id
                REFERENCES alert_thresholds (id) ON DELETE CASCADE,
            period_id uuid CONSTRAINT fk_alert_firings_period_id REFERENCES billing_periods (id),
            organization_id uuid NOT NULL
                CONSTRAINT fk_alert_firings_organization_id REFERENCES organizations (id),
            fired_at timestamptz NOT NULL,
            CONSTRAINT pk_alert_firings PRIMARY KEY (threshold_id, period_id)
        )
        """
    )


def show_operators_the_running_plan() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION farebox_operator_organizations(p_user uuid, p_search text, p_after uuid,
                                                                  p_limit int)
        RETURNS TABLE (id uuid, public_id text, name text, state text, test_mode boolean, created_at timestamptz,
                       members bigint, active_keys bigint, plan text)
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
            SELECT o.id, o.public_id::text, o.name::text, o.state::text, o.test_mode, o.created_at,
                   (SELECT count(*) FROM memberships m WHERE m.organization_id = o.id),
                   (SELECT count(*) FROM api_keys k WHERE k.organization_id = o.id AND k.state = 'active'),
                   (SELECT v.code::text FROM subscriptions s JOIN plan_versions v ON v.id = s.plan_version_id
                    WHERE s.organization_id = o.id AND s.state <> 'ended')
            FROM organizations o
            WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = p_user AND u.is_operator)
              AND (p_search IS NULL OR strpos(lower(o.name), lower(p_search)) > 0 OR o.public_id = p_search)
              AND (p_after IS NULL OR o.id < p_after)
            ORDER BY o.id DESC
            LIMIT p_limit
        $$
        """
    )
