"""Schema of strategy: configurations by revision, where each took effect, and what each remembers."""

from alembic import op

from alphapanda.storage.migrations.service_tables import create_service_schema

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "strategy"


def upgrade() -> None:
    create_service_schema(SCHEMA)
    op.execute(
        """
        CREATE TABLE strategy.revisions (
            strategy_id text NOT NULL,
            revision bigint NOT NULL CHECK (revision > 0),
            state smallint NOT NULL CHECK (state IN (1, 2)),
            strategy_type text NOT NULL,
            parameters jsonb NOT NULL,
            instruments jsonb NOT NULL,
            brokers text[] NOT NULL,
            account text NOT NULL,
            quantity bigint NOT NULL CHECK (quantity > 0),
            product smallint NOT NULL,
            signal_ttl_seconds integer NOT NULL CHECK (signal_ttl_seconds > 0),
            note text NOT NULL,
            changed_by text NOT NULL,
            changed_at timestamptz NOT NULL,
            PRIMARY KEY (strategy_id, revision)
        )"""
    )
    op.execute(
        """
        CREATE TABLE strategy.strategies (
            strategy_id text PRIMARY KEY,
            revision bigint NOT NULL,
            state smallint NOT NULL,
            FOREIGN KEY (strategy_id, revision) REFERENCES strategy.revisions
        )"""
    )
    # A revision is in effect on a partition from next_offset on (rule 11).
    op.execute(
        """
        CREATE TABLE strategy.activations (
            strategy_id text NOT NULL,
            revision bigint NOT NULL,
            partition integer NOT NULL,
            next_offset bigint NOT NULL,
            PRIMARY KEY (strategy_id, revision, partition),
            FOREIGN KEY (strategy_id, revision) REFERENCES strategy.revisions
        )"""
    )
    # What a revision remembers after all ticks below next_offset, whose signals the log has acknowledged.
    op.execute(
        """
        CREATE TABLE strategy.snapshots (
            strategy_id text NOT NULL,
            partition integer NOT NULL,
            next_offset bigint NOT NULL,
            revision bigint NOT NULL,
            state bytea NOT NULL,
            stored_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (strategy_id, partition),
            FOREIGN KEY (strategy_id, revision) REFERENCES strategy.revisions
        )"""
    )
