"""Dunning: cases of unpaid invoices, their steps, the rules they follow; reminders of trials."""

from alembic import op

revision = "0017"
down_revision = "0016"

CURRENT = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"
# Payments settle, and operators act, in the tenant's own transaction; a member's endpoints only read.
TENANT_TABLES = {
    "dunning_cases": "SELECT, UPDATE",
    "dunning_steps": "SELECT",
    "dunning_terms": "SELECT, INSERT, UPDATE",
    "trial_reminders": "SELECT",
}


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE dunning_cases (
            id uuid CONSTRAINT pk_dunning_cases PRIMARY KEY,
            organization_id uuid NOT NULL
                CONSTRAINT fk_dunning_cases_organization_id REFERENCES organizations (id),
            invoice_id uuid NOT NULL CONSTRAINT fk_dunning_cases_invoice_id REFERENCES invoices (id),
            state varchar NOT NULL DEFAULT 'open',
            round integer NOT NULL DEFAULT 1,
            opened_at timestamptz NOT NULL,
            since timestamptz NOT NULL,
            warned_at timestamptz NOT NULL,
            next_step varchar,
            next_step_at timestamptz,
            suspends_at timestamptz,
            suspended_at timestamptz,
            paused_because varchar(500),
            paused_by varchar(100),
            resolved_at timestamptz,
            resolution varchar(40),
            decided_at timestamptz NOT NULL DEFAULT now(),
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT uq_dunning_cases_invoice_id UNIQUE (invoice_id),
            CONSTRAINT ck_dunning_cases_state CHECK (state IN ('open', 'paused', 'exhausted', 'resolved')),
            CONSTRAINT ck_dunning_cases_resolved CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
            CONSTRAINT ck_dunning_cases_paused CHECK ((state = 'paused') = (paused_because IS NOT NULL)),
            CONSTRAINT ck_dunning_cases_next_step CHECK (next_step IN ('remind', 'charge', 'suspend'))
        )
        """
    )
    op.execute("CREATE INDEX ix_dunning_cases_organization_id ON dunning_cases (organization_id)")
    op.execute(
        "CREATE INDEX ix_dunning_cases_next_step_at ON dunning_cases (next_step_at) WHERE state = 'open'"
    )
    op.execute(
        "CREATE INDEX ix_dunning_cases_unresolved ON dunning_cases (organization_id) WHERE state <> 'resolved'"
    )
    op.execute(
        """
        CREATE TABLE dunning_steps (
            id uuid CONSTRAINT pk_dunning_steps PRIMARY KEY,
            organization_id uuid NOT NULL
                CONSTRAINT fk_dunning_steps_organization_id REFERENCES organizations (id),
            case_id uuid NOT NULL CONSTRAINT fk_dunning_steps_case_id REFERENCES dunning_cases (id),
            round integer NOT NULL,
            kind varchar NOT NULL,
            number integer NOT NULL,
            state varchar NOT NULL,
            planned_at timestamptz NOT NULL,
            at timestamptz NOT NULL,
            outcome varchar(500),
            payment_id uuid CONSTRAINT fk_dunning_steps_payment_id REFERENCES payments (id),
            created_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT uq_dunning_steps_case_id_round_kind_number UNIQUE (case_id, round, kind, number),
            CONSTRAINT ck_dunning_steps_kind CHECK (kind IN ('remind', 'charge', 'suspend')),
            CONSTRAINT ck_dunning_steps_state CHECK (state IN ('begun', 'done', 'skipped')),
            CONSTRAINT ck_dunning_steps_number CHECK (number > 0)
        )
        """
    )
    op.execute("CREATE INDEX ix_dunning_steps_organization_id ON dunning_steps (organization_id)")
    op.execute(
        """
        CREATE TABLE dunning_policies (
            id uuid CONSTRAINT pk_dunning_policies PRIMARY KEY,
            plan_id uuid CONSTRAINT fk_dunning_policies_plan_id REFERENCES plans (id),
            policy jsonb NOT NULL,
            actor varchar(100) NOT NULL,
            set_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT uq_dunning_policies_plan_id UNIQUE NULLS NOT DISTINCT (plan_id),
            CONSTRAINT ck_dunning_policies_whole CHECK (plan_id IS NOT NULL
                OR policy ?& ARRAY['retries', 'reminders', 'grace', 'suspend_after'])
        )
        """
    )
    op.execute(
        """
        CREATE TABLE dunning_terms (
            organization_id uuid CONSTRAINT pk_dunning_terms PRIMARY KEY
                CONSTRAINT fk_dunning_terms_organization_id REFERENCES organizations (id),
            policy jsonb NOT NULL DEFAULT '{}'::jsonb,
            exempt_because varchar(500),
            exempt_until timestamptz,
            actor varchar(100) NOT NULL,
            set_at timestamptz NOT NULL,
            CONSTRAINT ck_dunning_terms_exempt CHECK (exempt_until IS NULL OR exempt_because IS NOT NULL)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE trial_reminders (
            subscription_id uuid CONSTRAINT pk_trial_reminders PRIMARY KEY
                CONSTRAINT fk_trial_reminders_subscription_id REFERENCES subscriptions (id),
            organization_id uuid NOT NULL
                CONSTRAINT fk_trial_reminders_organization_id REFERENCES organizations (id),
            told_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX ix_trial_reminders_organization_id ON trial_reminders (organization_id)")
    for table, verbs in TENANT_TABLES.items():
        protect(table, verbs)
    protect_catalogue("dunning_policies")
    op.execute(
        """
        INSERT INTO dunning_policies (id, plan_id, policy, actor) VALUES (uuidv7(), NULL,
            '{"retries": [0, 3, 5, 7], "reminders": [1, 7, 12], "grace": 3, "suspend_after": 14}', 'Farebox')
        """
    )


def protect(table: str, app_verbs: str) -> None:
    mine = f"organization_id = {CURRENT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO farebox_app USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY operator ON {table} FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT {app_verbs} ON {table} TO farebox_app")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO farebox_worker")


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
