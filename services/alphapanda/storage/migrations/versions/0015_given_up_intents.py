"""The few intents that ended as absent are found without reading all."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # FAILED is 10; an epoch says that it was about to be sent.
    op.execute(
        "CREATE INDEX IF NOT EXISTS intents_given_up ON trading.intents (order_id)"
        " WHERE status = 10 AND epoch > 0 AND broker_order_id = ''"
    )
