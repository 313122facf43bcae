"""Charges by line: of trades at the paper exchange, of fills, in total, and of the day from which the next fill's follow."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_OF_ACCOUNT = "FOREIGN KEY (broker, account) REFERENCES portfolio.accounts (broker, account)"


def upgrade() -> None:
    op.execute("ALTER TABLE paper_exchange.trades ADD COLUMN charges text NOT NULL DEFAULT ''")
    op.execute(
        "ALTER TABLE paper_exchange.orders ADD COLUMN strategy_id text NOT NULL DEFAULT '',"
        " ADD COLUMN slice integer NOT NULL DEFAULT 0"
    )
    op.execute("ALTER TABLE portfolio.accounts ADD COLUMN day_charges numeric(24, 4) NOT NULL DEFAULT 0")
    op.execute(
        "ALTER TABLE portfolio.fills ADD COLUMN day_charges numeric(24, 4) NOT NULL DEFAULT 0,"
        " ADD COLUMN charges text NOT NULL DEFAULT ''"
    )
    op.execute(
        f"""CREATE TABLE portfolio.charge_days (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            strategy_id text COLLATE "C" NOT NULL,
            instrument_id text COLLATE "C" NOT NULL,
            product smallint NOT NULL,
            sums text NOT NULL,
            PRIMARY KEY (broker, account, strategy_id, instrument_id, product),
            {_OF_ACCOUNT}
        )"""
    )
    op.execute(
        f"""CREATE TABLE portfolio.dp_payers (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            instrument_id text COLLATE "C" NOT NULL,
            day integer NOT NULL,
            strategy_id text COLLATE "C" NOT NULL,
            PRIMARY KEY (broker, account, instrument_id),
            {_OF_ACCOUNT}
        )"""
    )
    op.execute(
        f"""CREATE TABLE portfolio.charge_totals (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            strategy_id text COLLATE "C" NOT NULL,
            name text COLLATE "C" NOT NULL,
            sureness smallint NOT NULL,
            amount numeric(24, 4) NOT NULL,
            PRIMARY KEY (broker, account, strategy_id, name),
            {_OF_ACCOUNT}
        )"""
    )
