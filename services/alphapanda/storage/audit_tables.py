"""The schema of the audit: one table that the database itself keeps append-only.

An entry is stored before the effect of its command, and its outcome once, after it. Nothing else of an entry changes, and it
can be deleted only when it is older than KEPT_DAYS. Whoever owns the database can switch a trigger off; the services don't.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from alphapanda.storage.tables import INSTANT, column

KEPT_DAYS: Final = 365
"""The database refuses to delete a younger entry."""

METADATA: Final = MetaData(schema="audit")

ENTRIES: Final = Table(
    "entries",
    METADATA,
    column("number", BigInteger, Identity(always=True), primary_key=True),
    column("entry_id", Uuid, unique=True),
    column("started_at", INSTANT),
    column("service", Text),
    column("method", Text),
    column("caller", Text),
    column("peer", Text),
    column("request_id", Text),
    column("correlation_id", Uuid),
    column("request", JSONB),
    column("calls", Integer, CheckConstraint("calls > 0"), server_default=text("1")),
    Column("ended_at", INSTANT),
    Column("outcome", Text),
    column("reason", Text, server_default=""),
    column("message", Text, server_default=""),
    Column("state_before", JSONB),
    Column("state_after", JSONB),
    column("subjects", ARRAY(Text), server_default="{}"),
    CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)"),
    Index("entries_in_time", "started_at", "number"),
    Index("entries_of_caller", "caller", "started_at", "number"),
    Index("entries_of_method", "method", "started_at", "number"),
    Index("entries_of_outcome", "outcome", "started_at", "number"),
    Index("entries_of_chain", "correlation_id", "started_at", "number"),
)

APPEND_ONLY: Final = (
    f"""
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
        IF TG_OP = 'DELETE' AND OLD.started_at < now() - interval '{KEPT_DAYS} days' THEN
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
for _statement in APPEND_ONLY:
    event.listen(METADATA, "after_create", DDL(_statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
