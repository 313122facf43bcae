"""Schema of portfolio: accounts, fills, the ledger, positions. The ledger balances because the database says so."""

from alembic import op

from alphapanda.storage.migrations.service_tables import create_service_schema

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "portfolio"

# Text sorts by code point, as the in-memory store and the page tokens do.
TABLES = (
    """
    CREATE TABLE portfolio.accounts (
        broker text COLLATE "C" NOT NULL,
        account text COLLATE "C" NOT NULL,
        starting_cash numeric(24, 4) NOT NULL CHECK (starting_cash > 0),
        cash numeric(24, 4) NOT NULL,
        revision bigint NOT NULL CHECK (revision > 0),
        entries bigint NOT NULL CHECK (entries > 0),
        opened_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (broker, account)
    )""",
    """
    CREATE TABLE portfolio.positions (
        broker text COLLATE "C" NOT NULL,
        account text COLLATE "C" NOT NULL,
        strategy_id text COLLATE "C" NOT NULL,
        instrument_id text COLLATE "C" NOT NULL,
        product smallint NOT NULL,
        quantity bigint NOT NULL,
        cost numeric(24, 4) NOT NULL,
        realised numeric(24, 4) NOT NULL,
        charges numeric(24, 4) NOT NULL CHECK (charges >= 0),
        PRIMARY KEY (broker, account, strategy_id, instrument_id, product),
        FOREIGN KEY (broker, account) REFERENCES portfolio.accounts,
        CHECK (quantity <> 0 OR cost = 0)
    )""",
    """
    CREATE TABLE portfolio.fills (
        fill_id uuid PRIMARY KEY,
        order_id uuid NOT NULL,
        broker text COLLATE "C" NOT NULL,
        account text COLLATE "C" NOT NULL,
        strategy_id text COLLATE "C" NOT NULL,
        instrument_id text COLLATE "C" NOT NULL,
        product smallint NOT NULL,
        side smallint NOT NULL CHECK (side IN (1, 2)),
        quantity bigint NOT NULL CHECK (quantity > 0),
        price numeric(24, 4) NOT NULL CHECK (price > 0),
        commission numeric(24, 4) NOT NULL CHECK (commission >= 0),
        realised numeric(24, 4) NOT NULL,
        traded_at timestamptz NOT NULL,
        correlation_id text NOT NULL,
        revision bigint NOT NULL,
        UNIQUE (broker, account, revision),
        FOREIGN KEY (broker, account) REFERENCES portfolio.accounts
    )""",
    "CREATE INDEX fills_of_order ON portfolio.fills (order_id)",
    "CREATE INDEX fills_of_strategy ON portfolio.fills (broker, account, strategy_id, revision)",
    """
    CREATE TABLE portfolio.ledger_transactions (
        transaction_id uuid PRIMARY KEY,
        broker text COLLATE "C" NOT NULL,
        account text COLLATE "C" NOT NULL,
        fill_id uuid UNIQUE REFERENCES portfolio.fills,
        revision bigint NOT NULL,
        market_time timestamptz,
        booked_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (broker, account, revision),
        FOREIGN KEY (broker, account) REFERENCES portfolio.accounts
    )""",
    """
    CREATE TABLE portfolio.ledger_entries (
        entry_id uuid PRIMARY KEY,
        transaction_id uuid NOT NULL REFERENCES portfolio.ledger_transactions,
        broker text COLLATE "C" NOT NULL,
        account text COLLATE "C" NOT NULL,
        sequence bigint NOT NULL,
        strategy_id text COLLATE "C" NOT NULL,
        instrument_id text COLLATE "C" NOT NULL,
        product smallint NOT NULL,
        ledger_account smallint NOT NULL CHECK (ledger_account BETWEEN 1 AND 5),
        amount numeric(24, 4) NOT NULL CHECK (amount <> 0),
        UNIQUE (broker, account, sequence)
    )""",
    "CREATE INDEX ledger_entries_of_transaction ON portfolio.ledger_entries (transaction_id)",
    "CREATE INDEX ledger_entries_of_strategy ON portfolio.ledger_entries (broker, account, strategy_id, sequence)",
)

# Checked at commit, once all lines of a transaction are there; for the transaction too, so that none is without lines.
BALANCE = (
    """
    CREATE FUNCTION portfolio.require_balance() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        lines bigint;
        total numeric;
    BEGIN
        SELECT count(*), coalesce(sum(amount), 0) INTO lines, total
        FROM portfolio.ledger_entries WHERE transaction_id = NEW.transaction_id;
        IF total <> 0 OR lines < 2 THEN
            RAISE EXCEPTION 'ledger transaction % has % entries that add up to %, not to zero',
                NEW.transaction_id, lines, total USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$""",
    *(
        f"""
        CREATE CONSTRAINT TRIGGER {table}_balance AFTER INSERT ON portfolio.{table}
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION portfolio.require_balance()"""
        for table in ("ledger_transactions", "ledger_entries")
    ),
)

IMMUTABLE = (
    """
    CREATE FUNCTION portfolio.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'check_violation';
    END $$""",
    *(
        f"""
        CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON portfolio.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION portfolio.refuse_change()"""
        for table in ("fills", "ledger_transactions", "ledger_entries")
    ),
)


def upgrade() -> None:
    create_service_schema(SCHEMA)
    for statement in (*TABLES, *BALANCE, *IMMUTABLE):
        op.execute(statement)
