"""What strategies were told of their orders, between which ticks, and how far the order topics were read for it."""

from alembic import op

revision = "0016"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS strategy.order_inputs (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            partition integer NOT NULL,
            next_offset bigint NOT NULL,
            event bytea NOT NULL
        )
        """
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS order_inputs_place ON strategy.order_inputs (partition, next_offset, seq)"
    )
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS strategy.input_positions (
            partition integer PRIMARY KEY,
            positions jsonb NOT NULL
        )
        """
    )
