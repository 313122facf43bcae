"""Positions and accounts say when a fill changed them last; unknown for those that were booked before."""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE portfolio.accounts ADD COLUMN changed_at timestamptz")
    op.execute("ALTER TABLE portfolio.positions ADD COLUMN changed_at timestamptz")
