"""Schema of the audit: every command, who gave it, and what came of it; append-only by the database."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

TABLES = (
    "CREATE SCHEMA audit",
    """
    CREATE TABLE audit.entries (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        entry_id uuid NOT NULL UNIQUE,
        started_at timestamptz NOT NULL,
        service text NOT NULL,
        method text NOT NULL,
        caller text NOT NULL,
        peer text NOT NULL,
        request_id text NOT NULL,
        correlation_id uuid NOT NULL,
        request jsonb NOT NULL,
        calls integer NOT NULL DEFAULT 1 CHECK (calls > 0),
        ended_at timestamptz,
        outcome text,
        reason text NOT NULL DEFAULT '',
        message text NOT NULL DEFAULT '',
        state_before jsonb,
        state_after jsonb,
        subjects text[] NOT NULL DEFAULT '{}',
        CHECK ((outcome IS NULL) = (ended_at IS NULL))
    )""",
    "CREATE INDEX entries_in_time ON audit.entries (started_at, number)",
    "CREATE INDEX entries_of_caller ON audit.entries (caller, started_at, number)",
    "CREATE INDEX entries_of_method ON audit.entries (method, started_at, number)",
    "CREATE INDEX entries_of_outcome ON audit.entries (outcome, started_at, number)",
    "CREATE INDEX entries_of_chain ON audit.entries (correlation_id, started_at, number)",
)

# Only an outcome is added to an entry, once; only entries older than a year are deleted.
APPEND_ONLY = (
    """
    CREATE FUNCTION audit.keep_entries() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND OLD.outcome IS NULL AND NEW.outcome IS NOT NULL
            AND (NEW.number, NEW.entry_id, NEW.started_at, NEW.service, NEW.method, NEW.caller, NEW.peer,
                NEW.request_id, NEW.correlation_id, NEW.request, NEW.calls)
            IS NOT DISTINCT FROM (OLD.number, OLD.entry_id, OLD.started_at, OLD.service, OLD.method, OLD.caller, OLD.peer,
                OLD.request_id, OLD.correlation_id, OLD.request, OLD.calls)
        THEN
            RETURN NEW;
        END IF;
        IF TG_OP = 'DELETE' AND OLD.started_at < now() - interval '365 days' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'the audit is append-only: % of entry % is refused', TG_OP, OLD.number
            USING ERRCODE = 'check_violation';
    END $$""",
    """
    CREATE FUNCTION audit.refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit is append-only: % is refused', TG_OP USING ERRCODE = 'check_violation';
    END $$""",
    """
    CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON audit.entries
    FOR EACH ROW EXECUTE FUNCTION audit.keep_entries()""",
    """
    CREATE TRIGGER entries_not_truncated BEFORE TRUNCATE ON audit.entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_truncate()""",
)


def upgrade() -> None:
    for statement in (*TABLES, *APPEND_ONLY):
        op.execute(statement)
