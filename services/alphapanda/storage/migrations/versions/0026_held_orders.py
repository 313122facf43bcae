"""The paper exchange holds orders until the next bar opens."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE paper_exchange.orders ADD COLUMN came_at timestamptz, ADD COLUMN expires_at timestamptz"
    )
    op.execute("CREATE INDEX orders_held ON paper_exchange.orders (broker_order_id) WHERE status = 'open'")
