"""Orders and verdicts of one chain of events are found quickly, by its correlation id."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX orders_of_correlation ON trading.orders (correlation_id, seq)")
    op.execute("CREATE INDEX verdicts_of_correlation ON risk.verdicts (correlation_id, number)")
