"""The paper exchange knows from which volume on an order that waits may fill."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE paper_exchange.orders ADD COLUMN volume bigint")
