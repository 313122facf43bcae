"""Schema of trading."""

from alembic import op

from alphapanda.storage.migrations.service_tables import create_service_schema

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "trading"


def upgrade() -> None:
    create_service_schema(SCHEMA)
    # signal_id is the inbox of signals: one signal, one order. Numbers of enums are the contract's.
    op.execute(
        """
        CREATE TABLE trading.orders (
            order_id uuid PRIMARY KEY,
            seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
            signal_id uuid NOT NULL UNIQUE,
            correlation_id text NOT NULL,
            causation_id text NOT NULL,
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            instrument_id text NOT NULL,
            product smallint NOT NULL,
            instrument_token bigint NOT NULL,
            config_revision bigint NOT NULL,
            side smallint NOT NULL,
            quantity bigint NOT NULL CHECK (quantity > 0),
            order_type smallint NOT NULL,
            effect smallint NOT NULL,
            valid_until timestamptz NOT NULL,
            status smallint NOT NULL,
            revision integer NOT NULL,
            filled bigint NOT NULL CHECK (filled BETWEEN 0 AND quantity),
            turnover numeric NOT NULL,
            failure smallint,
            message text NOT NULL,
            market_time timestamptz,
            created_at timestamptz NOT NULL
        )"""
    )
    # The final ones are FILLED 7, CANCELLED 8, REJECTED 9, FAILED 10.
    op.execute("CREATE INDEX orders_open ON trading.orders (seq) WHERE status < 7")
    op.execute("CREATE INDEX orders_of_account ON trading.orders (broker, account, seq)")
    op.execute("CREATE INDEX orders_of_strategy ON trading.orders (strategy_id, seq)")
    op.execute(
        """
        CREATE TABLE trading.intents (
            intent_id uuid PRIMARY KEY,
            order_id uuid NOT NULL REFERENCES trading.orders,
            number smallint NOT NULL,
            tag text NOT NULL UNIQUE,
            quantity bigint NOT NULL CHECK (quantity > 0),
            status smallint NOT NULL,
            epoch bigint NOT NULL,
            broker_order_id text NOT NULL,
            filled bigint NOT NULL CHECK (filled BETWEEN 0 AND quantity),
            UNIQUE (order_id, number)
        )"""
    )
    op.execute(
        """
        CREATE TABLE trading.fills (
            fill_id uuid PRIMARY KEY,
            order_id uuid NOT NULL REFERENCES trading.orders,
            exchange_trade_id text NOT NULL,
            quantity bigint NOT NULL CHECK (quantity > 0),
            price numeric NOT NULL CHECK (price > 0),
            commission numeric NOT NULL,
            traded_at timestamptz NOT NULL
        )"""
    )
    op.execute("CREATE INDEX fills_of_order ON trading.fills (order_id)")
    op.execute(
        """
        CREATE TABLE trading.positions (
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            instrument_id text NOT NULL,
            product smallint NOT NULL,
            quantity bigint NOT NULL,
            PRIMARY KEY (broker, account, strategy_id, instrument_id, product)
        )"""
    )
    op.execute(
        """
        CREATE TABLE trading.kill_switches (
            broker text PRIMARY KEY,
            state smallint NOT NULL,
            revision bigint NOT NULL
        )"""
    )
    op.execute("CREATE SEQUENCE trading.epochs")
