"""Tables of the schema `portfolio`. Triggers enforce that the ledger balances and is append-only."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    func,
    text,
)

from alphapanda.domain.order import Side
from alphapanda.portfolio.core.snapshots import SnapshotCause
from alphapanda.storage.tables import INSTANT, RUPEES, SORTED_TEXT, add_parking, column, service_tables

METADATA = service_tables("portfolio")
add_parking(METADATA)


def _of_account() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["broker", "account"], ["portfolio.accounts.broker", "portfolio.accounts.account"]
    )


ACCOUNTS = Table(
    "accounts",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("starting_cash", RUPEES, CheckConstraint("starting_cash >= 0")),
    column("cash", RUPEES),
    column("revision", BigInteger, CheckConstraint("revision > 0")),
    column("entries", BigInteger, CheckConstraint("entries >= 0")),
    column("day_charges", RUPEES, server_default=text("0")),
    Column("changed_at", INSTANT),
    column("opened_at", INSTANT, server_default=func.now()),
)

POSITIONS = Table(
    "positions",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("instrument_id", SORTED_TEXT, primary_key=True),
    column("product", SmallInteger, primary_key=True),
    column("quantity", BigInteger),
    column("cost", RUPEES),
    column("realised", RUPEES),
    column("charges", RUPEES, CheckConstraint("charges >= 0")),
    Column("changed_at", INSTANT),
    _of_account(),
    CheckConstraint("quantity <> 0 OR cost = 0"),
    Index(
        "open_positions",
        "broker",
        "account",
        "strategy_id",
        "instrument_id",
        "product",
        postgresql_where=text("quantity <> 0"),
    ),
)

STRATEGY_TOTALS = Table(
    "strategy_totals",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("realised", RUPEES),
    column("charges", RUPEES, CheckConstraint("charges >= 0")),
    _of_account(),
)

FILLS = Table(
    "fills",
    METADATA,
    column("fill_id", Uuid, primary_key=True),
    column("order_id", Uuid),
    column("broker", SORTED_TEXT),
    column("account", SORTED_TEXT),
    column("strategy_id", SORTED_TEXT),
    column("instrument_id", SORTED_TEXT),
    column("product", SmallInteger),
    column("side", SmallInteger, CheckConstraint(f"side IN ({int(Side.BUY)}, {int(Side.SELL)})")),
    column("quantity", BigInteger, CheckConstraint("quantity > 0")),
    column("price", RUPEES, CheckConstraint("price > 0")),
    column("commission", RUPEES, CheckConstraint("commission >= 0")),
    column("realised", RUPEES),
    column("traded_at", INSTANT),
    column("correlation_id", Text),
    column("revision", BigInteger),
    # Charges booked beyond the commission: a contract note's rounding, DP charges, delivery that became intraday.
    column("day_charges", RUPEES, server_default=text("0")),
    # All charges booked, by line; empty where only the commission is known.
    column("charges", Text, server_default=""),
    UniqueConstraint("broker", "account", "revision"),
    _of_account(),
    Index("fills_of_order", "order_id"),
    Index("fills_of_strategy", "broker", "account", "strategy_id", "revision"),
)

# The newest day of each position key, from which the next fill's charges follow; a later day takes its place.
CHARGE_DAYS = Table(
    "charge_days",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("instrument_id", SORTED_TEXT, primary_key=True),
    column("product", SmallInteger, primary_key=True),
    column("sums", Text),
    _of_account(),
)

# Who paid the DP charges of a scrip on its newest day with a sale of holdings: nobody where they were taken back.
DP_PAYERS = Table(
    "dp_payers",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("instrument_id", SORTED_TEXT, primary_key=True),
    column("day", Integer),
    column("strategy_id", SORTED_TEXT),
    _of_account(),
)

# The charges of each strategy by line; what they lack of its totals is known as a sum only.
CHARGE_TOTALS = Table(
    "charge_totals",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("name", SORTED_TEXT, primary_key=True),
    column("sureness", SmallInteger),
    column("amount", RUPEES),
    _of_account(),
)

# What changed positions without a trade: units that went to another position, or another number of them at the same cost. kind:
# 1 CONVERSION, 2 CORPORATE_ACTION, 3 ALLOCATION. units: the signed change of the position.
ADJUSTMENTS = Table(
    "adjustments",
    METADATA,
    column("adjustment_id", Uuid, primary_key=True),
    column("order_id", Uuid),
    column("broker", SORTED_TEXT),
    column("account", SORTED_TEXT),
    column("strategy_id", SORTED_TEXT),
    column("instrument_id", SORTED_TEXT),
    column("product", SmallInteger),
    column("kind", SmallInteger, CheckConstraint("kind BETWEEN 1 AND 3")),
    column("other_strategy_id", SORTED_TEXT),
    column("other_product", SmallInteger),
    column("units", BigInteger, CheckConstraint("units <> 0")),
    column("cost", RUPEES),
    column("adjusted_at", INSTANT),
    column("correlation_id", Text),
    column("revision", BigInteger),
    column("booked_at", INSTANT, server_default=func.now()),
    UniqueConstraint("broker", "account", "revision"),
    _of_account(),
)

LEDGER_TRANSACTIONS = Table(
    "ledger_transactions",
    METADATA,
    column("transaction_id", Uuid, primary_key=True),
    column("broker", SORTED_TEXT),
    column("account", SORTED_TEXT),
    Column("fill_id", Uuid, ForeignKey(FILLS.c.fill_id), unique=True),
    column("revision", BigInteger),
    Column("market_time", INSTANT),
    column("booked_at", INSTANT, server_default=func.now()),
    UniqueConstraint("broker", "account", "revision"),
    _of_account(),
)

LEDGER_ENTRIES = Table(
    "ledger_entries",
    METADATA,
    column("entry_id", Uuid, primary_key=True),
    column("transaction_id", Uuid, ForeignKey(LEDGER_TRANSACTIONS.c.transaction_id)),
    column("broker", SORTED_TEXT),
    column("account", SORTED_TEXT),
    column("sequence", BigInteger),
    column("strategy_id", SORTED_TEXT),
    column("instrument_id", SORTED_TEXT),
    column("product", SmallInteger),
    column("ledger_account", SmallInteger, CheckConstraint("ledger_account BETWEEN 1 AND 5")),
    column("amount", RUPEES, CheckConstraint("amount <> 0")),
    UniqueConstraint("broker", "account", "sequence"),
    Index("ledger_entries_of_transaction", "transaction_id"),
    Index("ledger_entries_of_strategy", "broker", "account", "strategy_id", "sequence"),
)

# The equity curve, and the equity at the start of each day.
SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    column("snapshot_id", Uuid, primary_key=True),
    column("number", BigInteger, Identity(always=True)),
    column("broker", SORTED_TEXT),
    column("account", SORTED_TEXT),
    column("cause", SmallInteger, CheckConstraint("cause BETWEEN 1 AND 3")),
    column("market_time", INSTANT),
    column("trading_day", Date),
    column("revision", BigInteger, CheckConstraint("revision > 0")),
    column("cash", RUPEES),
    Column("equity", RUPEES),
    column("realised", RUPEES),
    Column("unrealised", RUPEES),
    column("charges", RUPEES, CheckConstraint("charges >= 0")),
    column("open_positions", Integer, CheckConstraint("open_positions >= 0")),
    column("taken_at", INSTANT, server_default=func.now()),
    _of_account(),
    Index("snapshots_in_time", "broker", "account", "market_time", "number"),
    Index(
        "snapshots_of_day_starts",
        "broker",
        "account",
        "trading_day",
        unique=True,
        postgresql_where=text(f"cause = {int(SnapshotCause.DAY_START)}"),
    ),
    Index("snapshots_of_day", "broker", "account", "trading_day"),
)

# Differences between a broker's books and ours. state: 1 SUSPECTED, 2 OPEN, 3 RESOLVED. product: 0 where it is of no position.
# moves: [[instrument_id, product, units], …], what counts as held outside once it is accepted.
DISCREPANCIES = Table(
    "discrepancies",
    METADATA,
    column("discrepancy_id", Uuid, primary_key=True),
    column("number", BigInteger, Identity(always=True)),
    column("broker", SORTED_TEXT),
    column("account", SORTED_TEXT),
    column("kind", SmallInteger, CheckConstraint("kind > 0")),
    column("severity", SmallInteger, CheckConstraint("severity BETWEEN 1 AND 3")),
    column("state", SmallInteger, CheckConstraint("state BETWEEN 1 AND 3")),
    column("instrument_id", SORTED_TEXT),
    column("product", SmallInteger),
    column("subject", SORTED_TEXT),
    column("ours", Text),
    column("theirs", Text),
    column("cause", Text),
    column("moves", Text),
    column("found_at", INSTANT),
    column("seen_at", INSTANT),
    column("seen", Integer, CheckConstraint("seen > 0")),
    column("resolution", SmallInteger, CheckConstraint("resolution BETWEEN 0 AND 4")),
    Column("resolved_at", INSTANT),
    column("resolved_by", Text),
    column("reason", Text),
    _of_account(),
    CheckConstraint("(state = 3) = (resolved_at IS NOT NULL)"),
    CheckConstraint("(state = 3) = (resolution <> 0)"),
    Index("discrepancies_newest", "number", unique=True),
    Index("discrepancies_of_account", "broker", "account", "number"),
    Index(
        "discrepancies_alive",
        "broker",
        "account",
        "kind",
        "instrument_id",
        "product",
        "subject",
        unique=True,
        postgresql_where=text("state < 3"),
    ),
)

# What a broker holds that our books don't have and needn't: a person's own shares, what was accepted as it is.
OUTSIDE_UNITS = Table(
    "outside_units",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("instrument_id", SORTED_TEXT, primary_key=True),
    column("product", SmallInteger, primary_key=True),
    column("quantity", BigInteger),
    _of_account(),
)

# ISINs as brokers tell them of what is held.
ISINS = Table(
    "isins",
    METADATA,
    column("instrument_id", SORTED_TEXT, primary_key=True),
    column("isin", Text),
)

# The newest comparison of an account with its broker. revision: raised by each change of its discrepancies.
RECONCILED = Table(
    "reconciled",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("revision", BigInteger, CheckConstraint("revision > 0")),
    Column("reconciled_at", INSTANT),
    column("compared", Integer, CheckConstraint("compared >= 0"), server_default=text("0")),
    Column("opening", RUPEES),
    Column("cash", RUPEES),
    Column("available", RUPEES),
    Column("used", RUPEES),
    Column("collateral", RUPEES),
    _of_account(),
)

# What contract notes have changed of a day's charges, by line.
NOTE_CORRECTIONS = Table(
    "note_corrections",
    METADATA,
    column("broker", SORTED_TEXT, primary_key=True),
    column("account", SORTED_TEXT, primary_key=True),
    column("day", Date, primary_key=True),
    column("strategy_id", SORTED_TEXT, primary_key=True),
    column("instrument_id", SORTED_TEXT, primary_key=True),
    column("product", SmallInteger, primary_key=True),
    column("charges", Text),
    _of_account(),
)

# Checked at commit, when all entries of a transaction are stored; also for the transaction's row, so that none has no entries.
_REQUIRE_BALANCE = """
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
    END $$"""

_REFUSE_CHANGE = """
    CREATE FUNCTION portfolio.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'check_violation';
    END $$"""

_TRIGGERS = (
    _REQUIRE_BALANCE,
    _REFUSE_CHANGE,
    *(
        f"CREATE CONSTRAINT TRIGGER {table.name}_balance AFTER INSERT ON {table.fullname}"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION portfolio.require_balance()"
        for table in (LEDGER_TRANSACTIONS, LEDGER_ENTRIES)
    ),
    *(
        f"CREATE TRIGGER {table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.fullname}"
        " FOR EACH STATEMENT EXECUTE FUNCTION portfolio.refuse_change()"
        for table in (FILLS, ADJUSTMENTS, LEDGER_TRANSACTIONS, LEDGER_ENTRIES)
    ),
)
for _statement in _TRIGGERS:
    event.listen(METADATA, "after_create", DDL(_statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
