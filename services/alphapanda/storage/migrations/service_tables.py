"""Tables that every service's schema began with: outbox, remembered requests, and an inbox that 0017 dropped again."""

from __future__ import annotations

from alembic import op


def create_service_schema(schema: str) -> None:
    """Creates the schema with these tables."""
    op.execute(f"CREATE SCHEMA {schema}")
    op.execute(
        f"""
        CREATE TABLE {schema}.inbox (
            consumer text NOT NULL,
            event_id uuid NOT NULL,
            received_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (consumer, event_id)
        )"""
    )
    op.execute(
        f"""
        CREATE TABLE {schema}.outbox (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            event_id uuid NOT NULL UNIQUE,
            topic text NOT NULL,
            partition integer NOT NULL,
            key bytea NOT NULL,
            value bytea NOT NULL,
            event_type text NOT NULL,
            source text NOT NULL,
            occurred_at timestamptz NOT NULL,
            published_at timestamptz
        )"""
    )
    op.execute(f"CREATE INDEX outbox_unpublished ON {schema}.outbox (seq) WHERE published_at IS NULL")
    op.execute(
        f"CREATE INDEX outbox_published ON {schema}.outbox (published_at) WHERE published_at IS NOT NULL"
    )
    op.execute(
        f"""
        CREATE TABLE {schema}.requests (
            caller text NOT NULL,
            method text NOT NULL,
            request_id text NOT NULL,
            body bytea NOT NULL,
            answer bytea NOT NULL DEFAULT '',
            received_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (caller, method, request_id)
        )"""
    )
