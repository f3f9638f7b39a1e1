"""What the database itself refuses: changed published plans, changed finalized invoices, wrong sums."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION farebox_guard_plan_version() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.state = 'draft' THEN
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            END IF;
            IF TG_OP = 'UPDATE' AND NEW.state IN ('published', 'withdrawn')
               AND to_jsonb(NEW) - 'state' = to_jsonb(OLD) - 'state' THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'plan version % is published and never changes', OLD.code USING ERRCODE = 'check_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON plan_versions "
        "FOR EACH ROW EXECUTE FUNCTION farebox_guard_plan_version()"
    )
    op.execute(
        """
        CREATE FUNCTION farebox_guard_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.number IS NULL THEN
                IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                RETURN NEW;
            END IF;
            IF TG_OP = 'UPDATE' AND NEW.state NOT IN ('draft', 'parked')
               AND to_jsonb(NEW) - 'state' = to_jsonb(OLD) - 'state' THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'invoice % is finalized and never changes', OLD.number USING ERRCODE = 'check_violation';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER guard BEFORE UPDATE OR DELETE ON invoices "
        "FOR EACH ROW EXECUTE FUNCTION farebox_guard_invoice()"
    )
    op.execute(
        """
        CREATE FUNCTION farebox_guard_invoice_line() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE invoice_number text;
        BEGIN
            SELECT number INTO invoice_number FROM invoices
            WHERE id = CASE WHEN TG_OP = 'INSERT' THEN NEW.invoice_id ELSE OLD.invoice_id END;
            IF invoice_number IS NOT NULL THEN
                RAISE EXCEPTION 'invoice % is finalized and its lines never change', invoice_number
                    USING ERRCODE = 'check_violation';
            END IF;
            IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON invoice_lines "
        "FOR EACH ROW EXECUTE FUNCTION farebox_guard_invoice_line()"
    )
    op.execute(
        """
        CREATE FUNCTION farebox_check_invoice_sum() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE line_sum bigint;
        BEGIN
            IF NEW.number IS NULL THEN RETURN NULL; END IF;
            SELECT COALESCE(sum(amount_minor), 0) INTO line_sum FROM invoice_lines WHERE invoice_id = NEW.id;
            IF line_sum <> NEW.subtotal_minor THEN
                RAISE EXCEPTION 'invoice %: lines sum to %, subtotal is %', NEW.number, line_sum, NEW.subtotal_minor
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER sum_of_lines AFTER INSERT OR UPDATE OF number, subtotal_minor ON invoices "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION farebox_check_invoice_sum()"
    )
    op.execute(
        """
        CREATE FUNCTION farebox_notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('farebox_outbox', '');
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION farebox_notify_outbox()"
    )
