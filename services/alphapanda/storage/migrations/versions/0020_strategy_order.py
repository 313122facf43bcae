"""Strategies sort by code point, as their pages do; snapshots are found by partition, tokens with their history."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

NAMED = ("revisions", "strategies", "activations", "snapshots")


def upgrade() -> None:
    for table in NAMED:
        op.execute(f'ALTER TABLE strategy.{table} ALTER COLUMN strategy_id TYPE text COLLATE "C"')
    op.execute("CREATE INDEX snapshots_of_partition ON strategy.snapshots (partition, next_offset)")
    op.execute("CREATE INDEX token_history ON instruments.token_assignments (instrument_token, assignment)")
