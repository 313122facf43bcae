"""The SQL statements of portfolio's store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from sqlalchemy import TextClause, text

from alphapanda.portfolio.core.ledger import LedgerAccount
from alphapanda.portfolio.core.snapshots import SnapshotCause
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.recordset import rows_of, together

SCHEMA: Final = "portfolio"
_ACCOUNT = "broker = :broker AND account = :account"
_KEY = "broker, account, strategy_id, instrument_id, product"
_DAY_START = f"s.cause = {int(SnapshotCause.DAY_START)}"


def _listing(select: str, filters: Mapping[str, str], order: str) -> Callable[..., TextClause]:
    """Makes a function that builds a query of an account's rows from the filters given.

    Args:
        select: the query up to its WHERE; the table with broker and account has the alias `l`.
        filters: conditions by name.
        order: the ORDER BY.

    Returns:
        A function from names of filters to the statement; each statement is built once.
    """

    @cache
    def statement(*given: str) -> TextClause:
        conditions = ["l.broker = :broker", "l.account = :account", *(filters[name] for name in given)]
        return text(f"{select} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT :limit")

    return statement


OPEN = text(
    "INSERT INTO portfolio.accounts (broker, account, starting_cash, cash, revision, entries)"
    " VALUES (:broker, :account, :cash, :cash, :revision, :entries) ON CONFLICT DO NOTHING"
)

_ACCOUNTS_ASKED = (
    "(a.broker, a.account) IN (SELECT * FROM unnest(CAST(:brokers AS text[]), CAST(:accounts AS text[])))"
)
_KEYS_ASKED = (
    "CAST(:key_brokers AS text[]), CAST(:key_accounts AS text[]), CAST(:strategies AS text[]),"
    " CAST(:instruments AS text[]), CAST(:products AS smallint[])"
)
# Accounts are locked in sorted order to prevent deadlocks. After waiting for a lock, the statement has the locked account
# in its present state, but all other rows from before its wait. Then the revisions in `accounts` and `seen` differ, and
# the statement has to be executed again.
LOCKED_BOOKS = text(
    "WITH locked AS MATERIALIZED (SELECT a FROM portfolio.accounts a"
    f" WHERE {_ACCOUNTS_ASKED} ORDER BY a.broker, a.account FOR UPDATE)"
    " SELECT ARRAY(SELECT a FROM locked) AS accounts,"
    f" ARRAY(SELECT a FROM portfolio.accounts a WHERE {_ACCOUNTS_ASKED}) AS seen,"
    " ARRAY(SELECT fill_id FROM portfolio.fills WHERE fill_id = ANY(CAST(:fill_ids AS uuid[]))) AS booked,"
    f" ARRAY(SELECT p FROM portfolio.positions p WHERE ({_KEY}) IN (SELECT * FROM unnest("
    f"{_KEYS_ASKED}))) AS positions,"
    f" ARRAY(SELECT d FROM portfolio.charge_days d WHERE ({_KEY}) IN (SELECT * FROM unnest({_KEYS_ASKED}))) AS charge_days,"
    " ARRAY(SELECT p FROM portfolio.dp_payers p WHERE (broker, account, instrument_id) IN (SELECT * FROM unnest("
    "CAST(:key_brokers AS text[]), CAST(:key_accounts AS text[]), CAST(:instruments AS text[])))) AS dp_payers"
)
"""Locks the accounts of a batch and reads all rows that its fills may change, in one round trip."""

ADJUSTED = text(
    "SELECT adjustment_id FROM portfolio.adjustments WHERE adjustment_id = ANY(CAST(:fill_ids AS uuid[]))"
)


def _save(table: str, columns: str, conflict: str = "") -> str:
    return f"INSERT INTO portfolio.{table} ({columns}) SELECT {columns} FROM {rows_of(f'portfolio.{table}', table)}{conflict}"


SAVE = together(
    {
        "accounts": (
            "UPDATE portfolio.accounts a SET cash = given.cash, revision = given.revision, entries = given.entries,"
            " day_charges = a.day_charges + given.day_charges, changed_at = given.changed_at"
            f" FROM {rows_of('portfolio.accounts', 'accounts')} given"
            " WHERE a.broker = given.broker AND a.account = given.account"
        ),
        "fills": _save(
            "fills",
            f"fill_id, order_id, {_KEY}, side, quantity, price, commission, realised, traded_at, correlation_id, revision,"
            " day_charges, charges",
        ),
        "adjustments": _save(
            "adjustments",
            f"adjustment_id, order_id, {_KEY}, kind, other_strategy_id, other_product, units, cost, adjusted_at, correlation_id,"
            " revision",
        ),
        "ledger_transactions": _save(
            "ledger_transactions", "transaction_id, broker, account, fill_id, revision, market_time"
        ),
        "ledger_entries": _save(
            "ledger_entries", f"entry_id, transaction_id, {_KEY}, sequence, ledger_account, amount"
        ),
        "positions": _save(
            "positions",
            f"{_KEY}, quantity, cost, realised, charges, changed_at",
            f" ON CONFLICT ({_KEY}) DO UPDATE SET quantity = excluded.quantity, cost = excluded.cost,"
            " realised = excluded.realised, charges = excluded.charges, changed_at = excluded.changed_at",
        ),
        # The account is locked, so the totals are the newest. They are added up before they are inserted, because a fill may
        # take charges back, and a row is checked before its conflict is found.
        "strategy_totals": (
            "INSERT INTO portfolio.strategy_totals (broker, account, strategy_id, realised, charges)"
            " SELECT broker, account, strategy_id, coalesce(t.realised, 0) + given.realised,"
            " coalesce(t.charges, 0) + given.charges"
            f" FROM {rows_of('portfolio.strategy_totals', 'strategy_totals')} given"
            " LEFT JOIN portfolio.strategy_totals t USING (broker, account, strategy_id)"
            " ON CONFLICT (broker, account, strategy_id) DO UPDATE SET realised = excluded.realised,"
            " charges = excluded.charges"
        ),
        "charge_days": _save(
            "charge_days", f"{_KEY}, sums", f" ON CONFLICT ({_KEY}) DO UPDATE SET sums = excluded.sums"
        ),
        "dp_payers": _save(
            "dp_payers",
            "broker, account, instrument_id, day, strategy_id",
            " ON CONFLICT (broker, account, instrument_id) DO UPDATE SET day = excluded.day, strategy_id = excluded.strategy_id",
        ),
        "charge_totals": (
            "INSERT INTO portfolio.charge_totals AS t (broker, account, strategy_id, name, sureness, amount)"
            " SELECT broker, account, strategy_id, name, sureness, amount"
            f" FROM {rows_of('portfolio.charge_totals', 'charge_totals')}"
            " ON CONFLICT (broker, account, strategy_id, name) DO UPDATE SET amount = t.amount + excluded.amount,"
            " sureness = greatest(t.sureness, excluded.sureness)"
        ),
    },
    "SELECT",
)
"""Writes a batch; the rows of each table are the parameter of its name."""

# One statement reads one database snapshot, so cash and positions have the same revision.
BOOKS = text(
    "SELECT a.starting_cash, a.cash, a.revision, a.day_charges, a.changed_at,"
    " ARRAY(SELECT c FROM portfolio.charge_totals c WHERE (c.broker, c.account) = (a.broker, a.account)) AS charges,"
    " ARRAY(SELECT t FROM portfolio.strategy_totals t WHERE (t.broker, t.account) = (a.broker, a.account)"
    " ORDER BY t.strategy_id) AS strategies,"
    " ARRAY(SELECT p FROM portfolio.positions p WHERE (p.broker, p.account) = (a.broker, a.account)"
    " AND p.quantity <> 0 ORDER BY p.strategy_id, p.instrument_id, p.product) AS positions"
    f" FROM portfolio.accounts a WHERE {_ACCOUNT}"
)
POSITIONS = _listing(
    "SELECT * FROM portfolio.positions l",
    {
        "strategy_id": "l.strategy_id = :strategy_id",
        "open": "l.quantity <> 0",
        "after": "(l.strategy_id, l.instrument_id, l.product) > (:after_strategy, :after_instrument, :after_product)",
    },
    "l.strategy_id, l.instrument_id, l.product",
)
FILLS = _listing(
    "SELECT * FROM portfolio.fills l",
    {
        "strategy_id": "l.strategy_id = :strategy_id",
        "order_id": "l.order_id = CAST(:order_id AS uuid)",
        "before": "l.revision < :before",
    },
    "l.revision DESC",
)
FILLS_AFTER = _listing("SELECT * FROM portfolio.fills l", {"after": "l.revision > :after"}, "l.revision")
LEDGER = _listing(
    "SELECT l.*, t.fill_id, t.market_time, t.booked_at, f.charges FROM portfolio.ledger_entries l"
    " JOIN portfolio.ledger_transactions t USING (transaction_id)"
    f" LEFT JOIN portfolio.fills f ON f.fill_id = t.fill_id AND l.ledger_account = {int(LedgerAccount.CHARGES)}",
    {
        "strategy_id": "l.strategy_id = :strategy_id",
        # An array, so that the entries are found by their transaction, not by reading the account's ledger in order.
        "order_id": (
            "l.transaction_id = ANY(ARRAY(SELECT b.transaction_id FROM portfolio.ledger_transactions b"
            " JOIN portfolio.fills o USING (fill_id) WHERE o.order_id = CAST(:order_id AS uuid)))"
        ),
        "after": "l.sequence > :after",
    },
    "l.sequence",
)
SNAPSHOTS = _listing(
    "SELECT * FROM portfolio.snapshots l",
    {
        "start": "l.market_time >= :start",
        "end": "l.market_time < :end",
        "after": "(l.market_time, l.number) > (:after, :after_number)",
    },
    "l.market_time, l.number",
)
CHARGES = text(
    "SELECT coalesce(sum(t.charges), 0) AS charges, ARRAY(SELECT c FROM portfolio.charge_totals c"
    f" WHERE {_ACCOUNT} AND CAST(:strategy_id AS text) IN ('', c.strategy_id)) AS lines"
    f" FROM portfolio.strategy_totals t WHERE {_ACCOUNT} AND CAST(:strategy_id AS text) IN ('', t.strategy_id)"
)
EVERY_POSITION = text(f"SELECT * FROM portfolio.positions WHERE {_ACCOUNT}")
SUMS = text(
    "SELECT strategy_id, instrument_id, product, ledger_account, sum(amount) AS amount"
    f" FROM portfolio.ledger_entries WHERE {_ACCOUNT} GROUP BY 1, 2, 3, 4"
)
ACCOUNTS = text("SELECT broker, account FROM portfolio.accounts WHERE broker = :broker ORDER BY account")
STATE = text(
    "SELECT a.revision, a.opened_at, CASE"
    " WHEN CAST(:day AS date) IS NULL THEN NULL"
    f" WHEN EXISTS (SELECT FROM portfolio.snapshots s WHERE (s.broker, s.account) = (a.broker, a.account) AND {_DAY_START})"
    " THEN (SELECT s.equity FROM portfolio.snapshots s WHERE (s.broker, s.account) = (a.broker, a.account)"
    f" AND {_DAY_START} AND s.trading_day = :day)"
    " ELSE a.starting_cash END AS day_base"
    " FROM portfolio.accounts a WHERE a.broker = :broker AND a.account = :account"
)
REVISIONS = text("SELECT broker, account, revision FROM portfolio.accounts")

_SNAPSHOT_COLUMNS = (
    "snapshot_id, broker, account, cause, market_time, trading_day, revision, cash, equity, realised, unrealised,"
    " charges, open_positions"
)


def add_snapshot(outbox: Outbox) -> TextClause:
    """Stores a snapshot with its event in one statement, if the account is still at the snapshot's revision.

    It returns `current`, whether the account was at that revision, and `added`, whether the snapshot was new. The account
    stays locked until both are stored, so that its events have the order of its snapshots.
    """
    # count(*) instead of EXISTS, for which the planner would scan the table from its beginning.
    return text(
        f"WITH current AS MATERIALIZED (SELECT FROM portfolio.accounts WHERE {_ACCOUNT}"
        " AND revision = CAST(:revision AS bigint) FOR UPDATE),"
        f" added AS (INSERT INTO portfolio.snapshots ({_SNAPSHOT_COLUMNS})"
        " SELECT CAST(:snapshot_id AS uuid), :broker, :account, CAST(:cause AS smallint),"
        " CAST(:market_time AS timestamptz), CAST(:trading_day AS date), CAST(:revision AS bigint),"
        " CAST(:cash AS numeric), CAST(:equity AS numeric), CAST(:realised AS numeric),"
        " CAST(:unrealised AS numeric), CAST(:charges AS numeric), CAST(:open_positions AS integer) FROM current"
        f" WHERE CAST(:cause AS smallint) <> {int(SnapshotCause.DAY_START)} OR (SELECT count(*) FROM portfolio.snapshots WHERE {_ACCOUNT}"
        " AND trading_day = CAST(:trading_day AS date)) = 0 ON CONFLICT DO NOTHING RETURNING snapshot_id),"
        f" outbox AS ({outbox.insert_where('EXISTS (SELECT FROM added)')})"
        " SELECT EXISTS (SELECT FROM current) AS current, EXISTS (SELECT FROM added) AS added,"
        f" (SELECT count({outbox.notification}) FROM added) AS woken"
    )
