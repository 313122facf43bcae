"""The protections of positions; and which orders are stops and exits that trading makes for them."""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE trading.orders ADD COLUMN protective boolean NOT NULL DEFAULT false")
    op.execute("""
        CREATE TABLE trading.protections (
            order_id uuid PRIMARY KEY REFERENCES trading.orders (order_id),
            seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            instrument_id text NOT NULL,
            product smallint NOT NULL,
            instrument_token bigint NOT NULL,
            correlation_id text NOT NULL,
            side smallint NOT NULL,
            stop_loss numeric,
            target numeric,
            trail numeric,
            stop_trigger numeric,
            best numeric,
            leaving text NOT NULL DEFAULT '',
            attempts integer NOT NULL DEFAULT 0,
            alarmed text NOT NULL DEFAULT '',
            state smallint NOT NULL DEFAULT 1,
            entries uuid[] NOT NULL,
            stop_order_id uuid,
            exit_order_id uuid,
            stops integer NOT NULL DEFAULT 0,
            exits integer NOT NULL DEFAULT 0,
            since timestamptz,
            ended text NOT NULL DEFAULT '',
            ended_at timestamptz,
            message text NOT NULL DEFAULT '',
            created_at timestamptz NOT NULL
        )""")
    op.execute("CREATE INDEX protections_live ON trading.protections (seq) WHERE state < 3")
    op.execute("CREATE INDEX protections_ended ON trading.protections (ended_at) WHERE ended_at IS NOT NULL")
    op.execute(
        "CREATE UNIQUE INDEX protections_in_force ON trading.protections"
        " (broker, account, strategy_id, instrument_id, product) WHERE state = 2"
    )
    op.execute(
        "CREATE INDEX protections_of_position ON trading.protections"
        " (broker, account, strategy_id, instrument_id, product, seq)"
    )
    op.execute(
        "CREATE INDEX protections_of_stop ON trading.protections (stop_order_id) WHERE stop_order_id IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX protections_of_exit ON trading.protections (exit_order_id) WHERE exit_order_id IS NOT NULL"
    )
