"""Differences between a broker's books and ours, what is held outside, and the broker's money."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

_OF_ACCOUNT = "FOREIGN KEY (broker, account) REFERENCES portfolio.accounts (broker, account)"


def upgrade() -> None:
    op.execute("ALTER TABLE risk.accounts ADD COLUMN halts_revision bigint NOT NULL DEFAULT 0")
    op.execute(
        """
        CREATE TABLE risk.instrument_halts (
            broker text NOT NULL,
            account text NOT NULL,
            instrument_id text NOT NULL,
            reason text NOT NULL,
            PRIMARY KEY (broker, account, instrument_id)
        )"""
    )
    op.execute(
        f"""
        CREATE TABLE portfolio.discrepancies (
            discrepancy_id uuid PRIMARY KEY,
            number bigint GENERATED ALWAYS AS IDENTITY,
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            kind smallint NOT NULL CHECK (kind > 0),
            severity smallint NOT NULL CHECK (severity BETWEEN 1 AND 3),
            state smallint NOT NULL CHECK (state BETWEEN 1 AND 3),
            instrument_id text COLLATE "C" NOT NULL,
            product smallint NOT NULL,
            subject text COLLATE "C" NOT NULL,
            ours text NOT NULL,
            theirs text NOT NULL,
            cause text NOT NULL,
            moves text NOT NULL,
            found_at timestamptz NOT NULL,
            seen_at timestamptz NOT NULL,
            seen integer NOT NULL CHECK (seen > 0),
            resolution smallint NOT NULL CHECK (resolution BETWEEN 0 AND 3),
            resolved_at timestamptz,
            resolved_by text NOT NULL,
            reason text NOT NULL,
            {_OF_ACCOUNT},
            CHECK ((state = 3) = (resolved_at IS NOT NULL)),
            CHECK ((state = 3) = (resolution <> 0))
        )"""
    )
    op.execute("CREATE UNIQUE INDEX discrepancies_newest ON portfolio.discrepancies (number)")
    op.execute("CREATE INDEX discrepancies_of_account ON portfolio.discrepancies (broker, account, number)")
    op.execute(
        "CREATE UNIQUE INDEX discrepancies_alive ON portfolio.discrepancies"
        " (broker, account, kind, instrument_id, product, subject) WHERE state < 3"
    )
    op.execute(
        f"""
        CREATE TABLE portfolio.outside_units (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            instrument_id text COLLATE "C" NOT NULL,
            product smallint NOT NULL,
            quantity bigint NOT NULL,
            PRIMARY KEY (broker, account, instrument_id, product),
            {_OF_ACCOUNT}
        )"""
    )
    op.execute(
        """
        CREATE TABLE portfolio.isins (
            instrument_id text COLLATE "C" PRIMARY KEY,
            isin text NOT NULL
        )"""
    )
    op.execute(
        f"""
        CREATE TABLE portfolio.reconciled (
            broker text COLLATE "C" NOT NULL,
            account text COLLATE "C" NOT NULL,
            revision bigint NOT NULL CHECK (revision > 0),
            reconciled_at timestamptz,
            compared integer NOT NULL DEFAULT 0 CHECK (compared >= 0),
            opening numeric(24, 4),
            cash numeric(24, 4),
            available numeric(24, 4),
            used numeric(24, 4),
            collateral numeric(24, 4),
            PRIMARY KEY (broker, account),
            {_OF_ACCOUNT}
        )"""
    )
