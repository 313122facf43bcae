"""Arming: for which day of the exchange a person lets a live account take entries."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE risk.accounts
            ADD COLUMN armed_day date,
            ADD COLUMN arming_changed_by text NOT NULL DEFAULT '',
            ADD COLUMN arming_reason text NOT NULL DEFAULT '',
            ADD COLUMN arming_changed_at timestamptz"""
    )
