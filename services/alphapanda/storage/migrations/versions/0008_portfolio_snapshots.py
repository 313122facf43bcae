"""Snapshots of portfolios: the equity curve, and where each day began."""

from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE portfolio.snapshots (
            snapshot_id uuid PRIMARY KEY,
            number bigint GENERATED ALWAYS AS IDENTITY,
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            cause smallint NOT NULL CHECK (cause BETWEEN 1 AND 3),
            market_time timestamptz NOT NULL,
            trading_day date NOT NULL,
            revision bigint NOT NULL CHECK (revision > 0),
            cash numeric(24, 4) NOT NULL,
            equity numeric(24, 4),
            realised numeric(24, 4) NOT NULL,
            unrealised numeric(24, 4),
            charges numeric(24, 4) NOT NULL CHECK (charges >= 0),
            open_positions integer NOT NULL CHECK (open_positions >= 0),
            taken_at timestamptz NOT NULL DEFAULT now(),
            FOREIGN KEY (broker, account) REFERENCES portfolio.accounts
        )"""
    )
    op.execute("CREATE INDEX snapshots_in_time ON portfolio.snapshots (broker, account, market_time, number)")
    op.execute(
        "CREATE UNIQUE INDEX snapshots_of_day_starts ON portfolio.snapshots (broker, account, trading_day)"
        " WHERE cause = 1"
    )
    op.execute("CREATE INDEX snapshots_of_day ON portfolio.snapshots (broker, account, trading_day)")
