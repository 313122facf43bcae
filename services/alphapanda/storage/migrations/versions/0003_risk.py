"""Schema of risk."""

from alembic import op

from alphapanda.storage.migrations.service_tables import create_service_schema

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "risk"


def upgrade() -> None:
    create_service_schema(SCHEMA)
    # The row that every decision on an account locks first. Numbers of enums are the contract's.
    op.execute(
        """
        CREATE TABLE risk.accounts (
            broker text NOT NULL,
            account text NOT NULL,
            PRIMARY KEY (broker, account)
        )"""
    )
    # Orders as risk was told of them; the one that is not final is the reservation under its key.
    op.execute(
        """
        CREATE TABLE risk.orders (
            signal_id uuid PRIMARY KEY,
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            instrument_id text NOT NULL,
            product smallint NOT NULL,
            side smallint NOT NULL,
            quantity bigint NOT NULL CHECK (quantity > 0),
            filled bigint NOT NULL CHECK (filled BETWEEN 0 AND quantity),
            revision integer NOT NULL CHECK (revision >= 0),
            final boolean NOT NULL
        )"""
    )
    # waiting is the serialised TradingSignal event of the target that waits for the open order's end.
    op.execute(
        """
        CREATE TABLE risk.positions (
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            instrument_id text NOT NULL,
            product smallint NOT NULL,
            quantity bigint NOT NULL,
            opened_at timestamptz,
            open_signal_id uuid REFERENCES risk.orders,
            waiting_signal_id uuid UNIQUE,
            waiting bytea,
            PRIMARY KEY (broker, account, strategy_id, instrument_id, product),
            CHECK ((waiting IS NULL) = (waiting_signal_id IS NULL)),
            CHECK (waiting IS NULL OR open_signal_id IS NOT NULL)
        )"""
    )
    op.execute("CREATE INDEX positions_held ON risk.positions (broker, product) WHERE quantity <> 0")
    # The inbox of signals: one raw signal, one verdict. rules: [[name, outcome, limit, observed, message], …].
    op.execute(
        """
        CREATE TABLE risk.verdicts (
            signal_id uuid PRIMARY KEY,
            correlation_id text NOT NULL,
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            instrument_id text NOT NULL,
            product smallint NOT NULL,
            instrument_token bigint NOT NULL,
            config_revision bigint NOT NULL,
            approved boolean NOT NULL,
            reason text NOT NULL,
            message text NOT NULL,
            side smallint,
            quantity bigint,
            order_type smallint,
            effect smallint,
            valid_until timestamptz,
            decided_at timestamptz,
            rules jsonb NOT NULL,
            stored_at timestamptz NOT NULL DEFAULT now(),
            CHECK (approved = (quantity IS NOT NULL))
        )"""
    )
    op.execute(
        """
        CREATE TABLE risk.kill_switches (
            broker text PRIMARY KEY,
            state smallint NOT NULL,
            revision bigint NOT NULL,
            changed_by text NOT NULL,
            reason text NOT NULL,
            changed_at timestamptz
        )"""
    )
