"""Keys that a bug parked, and their records, in the schema of every service that money moves through."""

from alembic import op

revision = "0014"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMAS = ("risk", "trading", "portfolio")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.execute(
            f"""
            CREATE TABLE {schema}.parked_keys (
                consumer text NOT NULL,
                topic text NOT NULL,
                partition integer NOT NULL,
                key bytea NOT NULL,
                parked_at timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (consumer, topic, partition, key)
            )"""
        )
        op.execute(
            f"""
            CREATE TABLE {schema}.parked_records (
                consumer text NOT NULL,
                topic text NOT NULL,
                partition integer NOT NULL,
                log_offset bigint NOT NULL,
                key bytea NOT NULL,
                value bytea NOT NULL,
                header_names text[] NOT NULL,
                header_values bytea[] NOT NULL,
                appended_at_ns bigint NOT NULL,
                PRIMARY KEY (consumer, topic, partition, log_offset),
                FOREIGN KEY (consumer, topic, partition, key) REFERENCES {schema}.parked_keys
            )"""
        )
        op.execute(
            f"CREATE INDEX parked_records_key ON {schema}.parked_records (consumer, topic, partition, key, log_offset)"
        )
