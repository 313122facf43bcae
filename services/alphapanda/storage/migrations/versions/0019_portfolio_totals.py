"""Totals of each strategy, so that flat positions needn't be added up; accounts whose ledger begins with nothing."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE portfolio.strategy_totals (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            strategy_id text COLLATE "C" NOT NULL,
            realised numeric(24, 4) NOT NULL,
            charges numeric(24, 4) NOT NULL CHECK (charges >= 0),
            PRIMARY KEY (broker, account, strategy_id),
            FOREIGN KEY (broker, account) REFERENCES portfolio.accounts
        )"""
    )
    op.execute(
        "INSERT INTO portfolio.strategy_totals SELECT broker, account, strategy_id, sum(realised), sum(charges)"
        " FROM portfolio.positions GROUP BY 1, 2, 3"
    )
    op.execute(
        "CREATE INDEX open_positions ON portfolio.positions (broker, account, strategy_id, instrument_id, product)"
        " WHERE quantity <> 0"
    )
    op.execute(
        "ALTER TABLE portfolio.accounts"
        " DROP CONSTRAINT accounts_starting_cash_check, ADD CHECK (starting_cash >= 0),"
        " DROP CONSTRAINT accounts_entries_check, ADD CHECK (entries >= 0)"
    )
