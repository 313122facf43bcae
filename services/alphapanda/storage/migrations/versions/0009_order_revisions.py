"""Orders carry the revision of their account at their last change, so that a watch goes on from any of them."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE trading.accounts (
            broker text NOT NULL,
            account text NOT NULL,
            revision bigint NOT NULL CHECK (revision > 0),
            PRIMARY KEY (broker, account)
        )"""
    )
    op.execute("ALTER TABLE trading.orders ADD COLUMN account_revision bigint NOT NULL DEFAULT 0")
    op.execute(
        """
        UPDATE trading.orders SET account_revision = numbered.revision
        FROM (
            SELECT order_id, row_number() OVER (PARTITION BY broker, account ORDER BY seq) AS revision
            FROM trading.orders
        ) AS numbered
        WHERE numbered.order_id = orders.order_id"""
    )
    op.execute(
        """
        INSERT INTO trading.accounts (broker, account, revision)
        SELECT broker, account, max(account_revision) FROM trading.orders GROUP BY broker, account"""
    )
    op.execute("CREATE INDEX orders_changed ON trading.orders (broker, account, account_revision)")
