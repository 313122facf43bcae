"""Schema of the paper exchange, which stands where a broker stands: no inbox, no outbox, no remembered requests."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "paper_exchange"


def upgrade() -> None:
    op.execute(f"CREATE SCHEMA {SCHEMA}")
    op.execute(
        f"""
        CREATE TABLE {SCHEMA}.calls (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            called_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            broker text NOT NULL,
            account text NOT NULL,
            what text NOT NULL,
            tag text NOT NULL,
            broker_order_id text NOT NULL DEFAULT '',
            quantity bigint
        )"""
    )
    op.execute(f"CREATE INDEX calls_of_tag ON {SCHEMA}.calls (broker, account, tag)")
    op.execute(
        f"""
        CREATE TABLE {SCHEMA}.orders (
            broker_order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            broker text NOT NULL,
            account text NOT NULL,
            tag text NOT NULL,
            instrument_id text NOT NULL,
            instrument_token bigint NOT NULL,
            side smallint NOT NULL,
            quantity bigint NOT NULL CHECK (quantity > 0),
            product smallint NOT NULL,
            order_type smallint NOT NULL,
            status text NOT NULL,
            message text NOT NULL,
            market_time timestamptz
        )"""
    )
    # Not unique: like Kite, the exchange takes the same tag twice and makes two orders.
    op.execute(f"CREATE INDEX orders_of_tag ON {SCHEMA}.orders (broker, account, tag)")
    op.execute(f"CREATE SEQUENCE {SCHEMA}.trade_numbers")
    op.execute(
        f"""
        CREATE TABLE {SCHEMA}.trades (
            exchange_trade_id bigint PRIMARY KEY,
            broker_order_id bigint NOT NULL REFERENCES {SCHEMA}.orders,
            fill_id uuid NOT NULL UNIQUE,
            quantity bigint NOT NULL CHECK (quantity > 0),
            price numeric NOT NULL CHECK (price > 0),
            commission numeric NOT NULL,
            traded_at timestamptz NOT NULL
        )"""
    )
    op.execute(f"CREATE INDEX trades_of_order ON {SCHEMA}.trades (broker_order_id)")
