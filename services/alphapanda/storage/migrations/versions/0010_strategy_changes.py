"""Strategies that are deleted, and revisions that flatten what earlier ones held."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE strategy.revisions ADD COLUMN IF NOT EXISTS flattens jsonb")
    op.execute("ALTER TABLE strategy.revisions DROP CONSTRAINT revisions_state_check")
    op.execute(
        "ALTER TABLE strategy.revisions ADD CONSTRAINT revisions_state_check CHECK (state IN (1, 2, 3))"
    )
