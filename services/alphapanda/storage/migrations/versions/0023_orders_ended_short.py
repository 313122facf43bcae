"""Orders that the broker ended with units left are found quickly: more trades of them may yet be told."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX orders_ended_short ON trading.orders (created_at)"
        " WHERE status IN (8, 9) AND filled < quantity"
    )
