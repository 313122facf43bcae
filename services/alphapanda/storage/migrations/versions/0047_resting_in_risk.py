"""Risk knows which open orders rest at the exchange: a target that waits for one takes its place."""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE risk.orders ADD COLUMN rests boolean NOT NULL DEFAULT false")
