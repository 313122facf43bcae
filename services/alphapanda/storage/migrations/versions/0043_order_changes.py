"""Cancellations and modifications of orders: each is a row before its broker call."""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE trading.order_changes (
            change_id uuid PRIMARY KEY,
            seq bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
            order_id uuid NOT NULL REFERENCES trading.orders,
            kind smallint NOT NULL,
            requested_by text NOT NULL,
            reason text NOT NULL,
            quantity bigint NOT NULL CHECK (quantity >= 0),
            order_type smallint,
            validity smallint NOT NULL DEFAULT 1,
            limit_price numeric CHECK (limit_price > 0),
            trigger_price numeric CHECK (trigger_price > 0),
            status smallint NOT NULL,
            epoch bigint NOT NULL,
            calls smallint NOT NULL,
            intent smallint NOT NULL,
            message text NOT NULL,
            created_at timestamptz NOT NULL
        )""")
    op.execute("CREATE INDEX order_changes_unresolved ON trading.order_changes (order_id) WHERE status < 4")
    op.execute("CREATE INDEX order_changes_of_order ON trading.order_changes (order_id, seq)")
