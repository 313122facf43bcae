"""The paper exchange's orders at a limit or with a trigger, and which price of the market made a trade."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE paper_exchange.orders
            ADD COLUMN validity smallint NOT NULL DEFAULT 1,
            ADD COLUMN limit_price numeric CHECK (limit_price > 0),
            ADD COLUMN trigger_price numeric CHECK (trigger_price > 0),
            ADD COLUMN triggered boolean NOT NULL DEFAULT false,
            ADD COLUMN revision bigint NOT NULL DEFAULT 0
        """
    )
    op.execute(
        "ALTER TABLE paper_exchange.trades ADD COLUMN market_price numeric, ADD COLUMN model text NOT NULL DEFAULT ''"
    )
