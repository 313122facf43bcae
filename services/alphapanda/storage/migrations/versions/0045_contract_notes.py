"""What contract notes have changed of a day's charges."""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE portfolio.note_corrections (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            day date NOT NULL,
            strategy_id text COLLATE "C" NOT NULL,
            instrument_id text COLLATE "C" NOT NULL,
            product smallint NOT NULL,
            charges text NOT NULL,
            PRIMARY KEY (broker, account, day, strategy_id, instrument_id, product),
            FOREIGN KEY (broker, account) REFERENCES portfolio.accounts (broker, account)
        )"""
    )
