"""Old rows are found by their time, so that they can be deleted."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

SCHEMAS = ("instruments", "strategy", "risk", "trading", "portfolio")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.execute(f"CREATE INDEX requests_received ON {schema}.requests (received_at)")
    op.execute("CREATE INDEX tombstones_buried ON trading.tombstones (buried_at)")
    op.execute("CREATE INDEX calls_look_ups ON paper_exchange.calls (called_at) WHERE what = 'orders_by_tag'")
