"""Limits by scope, the day's counters, what positions cost, switches of single strategies, signals without an order."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Versions count from 1 in each account; 0 where no limit was ever set.
    op.execute("ALTER TABLE risk.accounts ADD COLUMN limits_version bigint NOT NULL DEFAULT 0")
    # A change is a row; the newest of each name at a scope is in force. An empty strategy_id or instrument_id means
    # any. value: as UpdateLimits takes it, NULL where the limit was cleared.
    op.execute(
        """
        CREATE TABLE risk.limits (
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            instrument_id text NOT NULL,
            name text NOT NULL,
            version bigint NOT NULL CHECK (version > 0),
            value text,
            author text NOT NULL,
            reason text NOT NULL,
            changed_at timestamptz NOT NULL,
            PRIMARY KEY (broker, account, strategy_id, instrument_id, name, version)
        )"""
    )
    # Counters of an exchange's day; strategy_id '' is the account as a whole. recent: market times of the orders let
    # through within the window of the order rate.
    op.execute(
        """
        CREATE TABLE risk.days (
            broker text NOT NULL,
            account text NOT NULL,
            strategy_id text NOT NULL,
            day date NOT NULL,
            trades integer NOT NULL CHECK (trades >= 0),
            realised numeric(24, 4) NOT NULL,
            tripped text NOT NULL,
            recent timestamptz[] NOT NULL,
            PRIMARY KEY (broker, account, strategy_id)
        )"""
    )
    op.execute("ALTER TABLE risk.orders ADD COLUMN value numeric(24, 4) NOT NULL DEFAULT 0")
    # A held position whose cost is 0 was there before this revision: what it cost isn't known.
    op.execute(
        """
        ALTER TABLE risk.positions
            ADD COLUMN cost numeric(24, 4) NOT NULL DEFAULT 0,
            ADD COLUMN round_trip numeric(24, 4) NOT NULL DEFAULT 0,
            ADD COLUMN losses integer NOT NULL DEFAULT 0 CHECK (losses >= 0),
            ADD COLUMN lost_at timestamptz,
            ADD COLUMN wish text NOT NULL DEFAULT '',
            ADD COLUMN wished_at timestamptz"""
    )
    op.execute(
        "CREATE INDEX positions_alive ON risk.positions (broker, account)"
        " WHERE quantity <> 0 OR open_signal_id IS NOT NULL"
    )
    op.execute(
        """
        ALTER TABLE risk.verdicts
            ADD COLUMN largest_quantity bigint NOT NULL DEFAULT 0 CHECK (largest_quantity >= 0),
            ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY"""
    )
    op.execute("CREATE UNIQUE INDEX verdicts_newest ON risk.verdicts (number)")
    # Empty account and strategy: the broker's own switch. An account's is set by its daily loss.
    op.execute(
        "ALTER TABLE risk.kill_switches ADD COLUMN account text NOT NULL DEFAULT '',"
        " ADD COLUMN strategy_id text NOT NULL DEFAULT ''"
    )
    op.execute("ALTER TABLE risk.kill_switches DROP CONSTRAINT kill_switches_pkey")
    op.execute("ALTER TABLE risk.kill_switches ADD PRIMARY KEY (broker, account, strategy_id)")
    op.execute("ALTER TABLE trading.kill_switches ADD COLUMN strategy_id text NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE trading.kill_switches DROP CONSTRAINT kill_switches_pkey")
    op.execute("ALTER TABLE trading.kill_switches ADD PRIMARY KEY (broker, strategy_id)")
    # Signals of which trading has told risk that there will never be an order.
    op.execute(
        """
        CREATE TABLE trading.tombstones (
            signal_id uuid PRIMARY KEY,
            buried_at timestamptz NOT NULL
        )"""
    )
