"""Who owns a partition of the ticks, so that one who lost it stores nothing; and how much of its warm-up a state lacks."""

from alembic import op

revision = "0013"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS strategy.partition_owners (
            partition integer PRIMARY KEY,
            epoch bigint NOT NULL CHECK (epoch > 0)
        )"""
    )
    op.execute(
        "ALTER TABLE strategy.snapshots ADD COLUMN IF NOT EXISTS missing integer NOT NULL DEFAULT 0"
        " CHECK (missing >= 0)"
    )
