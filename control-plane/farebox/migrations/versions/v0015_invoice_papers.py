"""Credit notes, what was done to invoices and by whom, and the door for whoever holds an invoice's link."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"

CURRENT = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
IS_OPERATOR = "NULLIF(current_setting('app.operator_id', true), '') IS NOT NULL"
INSTANT = postgresql.TIMESTAMP(timezone=True)
TABLES = ("credit_notes", "credit_note_lines", "credit_note_taxes", "credit_note_refunds", "invoice_events")


def upgrade() -> None:
    make_tables()
    for table in TABLES:
        protect(table)
    op.execute("GRANT UPDATE ON credit_note_refunds TO farebox_worker")
    protect_numbers()
    guard()
    open_door()


def protect(table: str) -> None:
    # A member reads; an operator adds within the organization that he has entered; nobody changes or deletes.
    mine = f"organization_id = {CURRENT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} FOR SELECT TO farebox_app USING ({mine})")
    op.execute(f"CREATE POLICY operator ON {table} FOR SELECT TO farebox_app USING ({IS_OPERATOR})")
    op.execute(
        f"CREATE POLICY operator_adds ON {table} FOR INSERT TO farebox_app WITH CHECK ({mine} AND {IS_OPERATOR})"
    )
    op.execute(f"CREATE POLICY worker ON {table} TO farebox_worker USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO farebox_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT ON {table} TO farebox_app")
    op.execute(f"GRANT SELECT, INSERT ON {table} TO farebox_worker")


def protect_numbers() -> None:
    op.execute("ALTER TABLE credit_note_numbers ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE credit_note_numbers FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY operator ON credit_note_numbers TO farebox_app "
        f"USING ({IS_OPERATOR}) WITH CHECK ({IS_OPERATOR})"
    )
    for role in ("worker", "owner"):
        op.execute(
            f"CREATE POLICY {role} ON credit_note_numbers TO farebox_{role} USING (true) WITH CHECK (true)"
        )
    op.execute("GRANT SELECT, INSERT, UPDATE ON credit_note_numbers TO farebox_app, farebox_worker")


def column(name: str, kind: object, **more: object) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=bool(more.pop("nullable", False)), **more)  # type: ignore[arg-type]


def references(table: str, name: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([name], [f"{target}.id"], name=op.f(f"fk_{table}_{name}"))


def make_tables() -> None:
    op.create_table(
        "credit_note_numbers",
        column("issuer", sa.String()),
        column("next_number", sa.BigInteger(), server_default="1"),
        sa.PrimaryKeyConstraint("issuer", name=op.f("pk_credit_note_numbers")),
    )
    op.create_table(
        "credit_notes",
        column("id", sa.Uuid()),
        column("organization_id", sa.Uuid()),
        column("invoice_id", sa.Uuid()),
        column("issuer", sa.String()),
        column("number", sa.String()),
        column("currency", sa.String(length=3)),
        column("reason", sa.String(length=500)),
        *(
            column(name, sa.BigInteger())
            for name in (
                "subtotal_minor", "tax_minor", "total_minor",
                "taken_off_minor", "returned_minor", "balance_minor", "refund_minor",
            )
        ),
        column("actor", sa.String(length=100)),
        column("issued_at", INSTANT),
        sa.CheckConstraint("subtotal_minor + tax_minor = total_minor", name=op.f("ck_credit_notes_total")),
        sa.CheckConstraint("total_minor < 0", name=op.f("ck_credit_notes_negative")),
        sa.CheckConstraint(
            "taken_off_minor >= 0 AND returned_minor >= 0 AND balance_minor >= 0 AND refund_minor >= 0 AND "
            "taken_off_minor + returned_minor + balance_minor + refund_minor = -total_minor",
            name=op.f("ck_credit_notes_effect"),
        ),
        references("credit_notes", "invoice_id", "invoices"),
        references("credit_notes", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_notes")),
        sa.UniqueConstraint("issuer", "number", name=op.f("uq_credit_notes_issuer_number")),
    )  # fmt: skip
    op.create_index(
        "ix_credit_notes_organization_id_issued_at", "credit_notes", ["organization_id", "issued_at", "id"]
    )
    op.create_index("ix_credit_notes_invoice_id", "credit_notes", ["invoice_id"])
    op.create_table(
        "credit_note_lines",
        column("id", sa.Uuid()),
        column("organization_id", sa.Uuid()),
        column("credit_note_id", sa.Uuid()),
        column("invoice_line_id", sa.Uuid()),
        column("position", sa.Integer()),
        column("amount_minor", sa.BigInteger()),
        references("credit_note_lines", "credit_note_id", "credit_notes"),
        references("credit_note_lines", "invoice_line_id", "invoice_lines"),
        references("credit_note_lines", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note_lines")),
        sa.UniqueConstraint(
            "credit_note_id", "position", name=op.f("uq_credit_note_lines_credit_note_id_position")
        ),
    )
    op.create_table(
        "credit_note_taxes",
        column("id", sa.Uuid()),
        column("organization_id", sa.Uuid()),
        column("credit_note_id", sa.Uuid()),
        column("invoice_tax_id", sa.Uuid()),
        column("position", sa.Integer()),
        column("base_minor", sa.BigInteger()),
        column("amount_minor", sa.BigInteger()),
        references("credit_note_taxes", "credit_note_id", "credit_notes"),
        references("credit_note_taxes", "invoice_tax_id", "invoice_taxes"),
        references("credit_note_taxes", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note_taxes")),
        sa.UniqueConstraint(
            "credit_note_id", "position", name=op.f("uq_credit_note_taxes_credit_note_id_position")
        ),
    )
    op.create_table(
        "credit_note_refunds",
        column("credit_note_id", sa.Uuid()),
        column("payment_id", sa.Uuid()),
        column("organization_id", sa.Uuid()),
        column("amount_minor", sa.BigInteger()),
        column("state", sa.String(), server_default="planned"),
        column("refund_id", sa.Uuid(), nullable=True),
        column("updated_at", INSTANT),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_credit_note_refunds_amount")),
        sa.CheckConstraint(
            "state IN ('planned', 'refunded', 'balance')", name=op.f("ck_credit_note_refunds_state")
        ),
        references("credit_note_refunds", "credit_note_id", "credit_notes"),
        references("credit_note_refunds", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint("credit_note_id", "payment_id", name=op.f("pk_credit_note_refunds")),
    )
    op.create_table(
        "invoice_events",
        column("id", sa.Uuid()),
        column("organization_id", sa.Uuid()),
        column("invoice_id", sa.Uuid()),
        column("verb", sa.String(length=20)),
        column("actor", sa.String(length=100)),
        column("reason", sa.String(length=500)),
        column("detail", postgresql.JSONB()),
        column("at", INSTANT),
        sa.CheckConstraint(
            "verb IN ('void', 'write_off', 'reopen', 'credit')",
            name=op.f("ck_invoice_events_verb"),
        ),
        references("invoice_events", "invoice_id", "invoices"),
        references("invoice_events", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_events")),
    )
    op.create_index("ix_invoice_events_invoice_id", "invoice_events", ["invoice_id"])
    for table in ("credit_note_lines", "credit_note_taxes", "credit_note_refunds", "invoice_events"):
        op.create_index(f"ix_{table}_organization_id", table, ["organization_id"])
    for table, name in (("lines", "invoice_line_id"), ("taxes", "invoice_tax_id")):
        op.create_index(f"ix_credit_note_{table}_{name}", f"credit_note_{table}", [name])


def guard() -> None:
    # Never more credited than invoiced: the invoice's row is locked here, whoever writes and however many.
    op.execute(
        """
        CREATE FUNCTION farebox_guard_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE i invoices%ROWTYPE; before bigint;
        BEGIN
            SELECT * INTO i FROM invoices WHERE id = NEW.invoice_id FOR UPDATE;
            IF NOT FOUND OR i.organization_id <> NEW.organization_id OR i.currency <> NEW.currency
               OR i.number IS NULL OR i.state = 'void' THEN
                RAISE EXCEPTION 'credit note % has no invoice to credit', NEW.number USING ERRCODE = 'check_violation';
            END IF;
            SELECT COALESCE(sum(total_minor), 0) INTO before FROM credit_notes WHERE invoice_id = NEW.invoice_id;
            IF i.total_minor + before + NEW.total_minor < 0 THEN
                RAISE EXCEPTION 'credit note % credits more than invoice % asked for', NEW.number, i.number
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER guard BEFORE INSERT ON credit_notes "
        "FOR EACH ROW EXECUTE FUNCTION farebox_guard_credit_note()"
    )
    op.execute(
        """
        CREATE FUNCTION farebox_check_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE note credit_notes%ROWTYPE; line_sum bigint; tax_sum bigint;
        BEGIN
            SELECT * INTO note FROM credit_notes
            WHERE id = CASE WHEN TG_TABLE_NAME = 'credit_notes' THEN to_jsonb(NEW) ->> 'id'
                            ELSE to_jsonb(NEW) ->> 'credit_note_id' END::uuid;
            SELECT COALESCE(sum(amount_minor), 0) INTO line_sum FROM credit_note_lines WHERE credit_note_id = note.id;
            SELECT COALESCE(sum(amount_minor), 0) INTO tax_sum FROM credit_note_taxes WHERE credit_note_id = note.id;
            IF line_sum <> note.subtotal_minor OR tax_sum <> note.tax_minor THEN
                RAISE EXCEPTION 'credit note %: lines or taxes do not sum up', note.number
                    USING ERRCODE = 'check_violation';
            END IF;
            IF EXISTS (
                SELECT FROM invoice_lines i JOIN credit_note_lines l ON l.invoice_line_id = i.id
                WHERE i.invoice_id = note.invoice_id GROUP BY i.id, i.amount_minor
                HAVING sum(l.amount_minor) * sign(i.amount_minor) > 0 OR abs(sum(l.amount_minor)) > abs(i.amount_minor)
            ) OR EXISTS (
                SELECT FROM invoice_taxes i JOIN credit_note_taxes t ON t.invoice_tax_id = i.id
                WHERE i.invoice_id = note.invoice_id GROUP BY i.id, i.amount_minor
                HAVING sum(t.amount_minor) > 0 OR -sum(t.amount_minor) > i.amount_minor
            ) THEN
                RAISE EXCEPTION 'credit note %: more of a line or a tax is credited than was invoiced', note.number
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    for table in ("credit_notes", "credit_note_lines", "credit_note_taxes"):
        op.execute(
            f"CREATE CONSTRAINT TRIGGER sums AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION farebox_check_credit_note()"
        )
    op.execute(
        """
        CREATE FUNCTION farebox_guard_paper() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% never change', TG_TABLE_NAME USING ERRCODE = 'check_violation';
        END $$
        """
    )
    for table in ("credit_notes", "credit_note_lines", "credit_note_taxes", "invoice_events"):
        op.execute(
            f"CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION farebox_guard_paper()"
        )


def open_door() -> None:
    # A link's signature was checked before: it names one invoice, and this says whose it is.
    op.execute(
        """
        CREATE FUNCTION farebox_enter_invoice(p_invoice uuid) RETURNS uuid
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        DECLARE found_organization uuid;
        BEGIN
            SELECT organization_id INTO found_organization FROM invoices
            WHERE id = p_invoice AND number IS NOT NULL;
            PERFORM set_config('app.organization_id', COALESCE(found_organization::text, ''), true);
            RETURN found_organization;
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION farebox_enter_invoice(uuid) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION farebox_enter_invoice(uuid) TO farebox_app")
