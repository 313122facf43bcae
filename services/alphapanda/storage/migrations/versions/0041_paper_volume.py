"""The paper exchange knows from which volume on an order that waits may fill; its journal has what calls have changed, and when."""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE paper_exchange.orders ADD COLUMN volume bigint")
    op.execute(
        """
        ALTER TABLE paper_exchange.calls
            ADD COLUMN market_time timestamptz,
            ADD COLUMN limit_price numeric,
            ADD COLUMN trigger_price numeric
        """
    )
