"""The statements of the PostgreSQL store, schema `portfolio`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text


def _insert_all(table: str, columns: Mapping[str, str], conflict: str = "") -> str:
    """An INSERT of many rows whose columns (name: type) come as one array each."""
    names = ", ".join(columns)
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
    return f"INSERT INTO portfolio.{table} ({names}) SELECT * FROM unnest({arrays}) {conflict}"


OPEN = text(
    "INSERT INTO portfolio.accounts (broker, account, starting_cash, cash, revision, entries)"
    " VALUES (:broker, :account, :cash, :cash, :revision, :entries) ON CONFLICT DO NOTHING"
)
LOCK = text(
    "SELECT broker, account, starting_cash, cash, revision, entries FROM portfolio.accounts"
    " WHERE broker = :broker AND account = :account FOR UPDATE"
)
BOOKED = text("SELECT fill_id FROM portfolio.fills WHERE fill_id = ANY(CAST(:fill_ids AS uuid[]))")
HELD = text(
    "SELECT p.* FROM portfolio.positions p JOIN unnest(CAST(:strategy_ids AS text[]),"
    " CAST(:instrument_ids AS text[]), CAST(:products AS smallint[])) AS k (strategy_id, instrument_id, product)"
    " USING (strategy_id, instrument_id, product) WHERE broker = :broker AND account = :account"
)
ADVANCE = text(
    "UPDATE portfolio.accounts SET cash = :cash, revision = :revision, entries = :entries"
    " WHERE broker = :broker AND account = :account"
)
_POSITION_KEY = {
    "broker": "text",
    "account": "text",
    "strategy_id": "text",
    "instrument_id": "text",
    "product": "smallint",
}
ADD_FILLS = text(
    _insert_all(
        "fills",
        {"fill_id": "uuid", "order_id": "uuid"}
        | _POSITION_KEY
        | {
            "side": "smallint",
            "quantity": "bigint",
            "price": "numeric",
            "commission": "numeric",
            "realised": "numeric",
            "traded_at": "timestamptz",
            "correlation_id": "text",
            "revision": "bigint",
        },
    )
)
ADD_TRANSACTIONS = text(
    _insert_all(
        "ledger_transactions",
        {
            "transaction_id": "uuid",
            "broker": "text",
            "account": "text",
            "fill_id": "uuid",
            "revision": "bigint",
            "market_time": "timestamptz",
        },
    )
)
ADD_ENTRIES = text(
    _insert_all(
        "ledger_entries",
        {"entry_id": "uuid", "transaction_id": "uuid"}
        | _POSITION_KEY
        | {"sequence": "bigint", "ledger_account": "smallint", "amount": "numeric"},
    )
)
SET_POSITIONS = text(
    _insert_all(
        "positions",
        _POSITION_KEY
        | {"quantity": "bigint", "cost": "numeric", "realised": "numeric", "charges": "numeric"},
        "ON CONFLICT (broker, account, strategy_id, instrument_id, product) DO UPDATE SET"
        " quantity = EXCLUDED.quantity, cost = EXCLUDED.cost, realised = EXCLUDED.realised,"
        " charges = EXCLUDED.charges",
    )
)
_ACCOUNT = "broker = :broker AND account = :account"
# One statement, so one snapshot: cash and positions are of the same revision.
BOOKS = text(
    "SELECT broker, account, a.starting_cash, a.cash, a.revision,"
    " p.strategy_id, p.instrument_id, p.product, p.quantity, p.cost, p.realised, p.charges"
    " FROM portfolio.accounts a LEFT JOIN portfolio.positions p USING (broker, account)"
    f" WHERE {_ACCOUNT} ORDER BY p.strategy_id, p.instrument_id, p.product"
)
POSITIONS = text(
    f"SELECT * FROM portfolio.positions WHERE {_ACCOUNT}"
    " AND (:strategy_id = '' OR strategy_id = :strategy_id) AND (:include_flat OR quantity <> 0)"
    " AND (strategy_id, instrument_id, product) > (:after_strategy, :after_instrument, :after_product)"
    " ORDER BY strategy_id, instrument_id, product LIMIT :limit"
)
FILLS = text(
    f"SELECT * FROM portfolio.fills WHERE {_ACCOUNT}"
    " AND (:strategy_id = '' OR strategy_id = :strategy_id)"
    " AND (:order_id = '' OR order_id = CAST(NULLIF(:order_id, '') AS uuid))"
    " AND (CAST(:before AS bigint) IS NULL OR revision < :before)"
    " ORDER BY revision DESC LIMIT :limit"
)
LEDGER = text(
    "SELECT e.*, t.fill_id, t.market_time FROM portfolio.ledger_entries e"
    " JOIN portfolio.ledger_transactions t USING (transaction_id)"
    " WHERE e.broker = :broker AND e.account = :account"
    " AND (:strategy_id = '' OR e.strategy_id = :strategy_id) AND e.sequence > :after"
    " ORDER BY e.sequence LIMIT :limit"
)
SUMS = text(
    "SELECT strategy_id, instrument_id, product, ledger_account, sum(amount) AS amount"
    f" FROM portfolio.ledger_entries WHERE {_ACCOUNT} GROUP BY 1, 2, 3, 4"
)
ACCOUNTS = text("SELECT broker, account FROM portfolio.accounts WHERE broker = :broker ORDER BY account")
STATE = text(
    "SELECT a.revision, a.opened_at, CASE"
    " WHEN CAST(:day AS date) IS NULL THEN NULL"
    " WHEN EXISTS (SELECT FROM portfolio.snapshots s WHERE (s.broker, s.account) = (a.broker, a.account) AND s.cause = 1)"
    " THEN (SELECT s.equity FROM portfolio.snapshots s WHERE (s.broker, s.account) = (a.broker, a.account)"
    " AND s.cause = 1 AND s.trading_day = :day)"
    " ELSE a.starting_cash END AS day_base"
    " FROM portfolio.accounts a WHERE a.broker = :broker AND a.account = :account"
)
REVISIONS = text("SELECT broker, account, revision FROM portfolio.accounts")
FILLS_AFTER = text(
    f"SELECT * FROM portfolio.fills WHERE {_ACCOUNT} AND revision > :revision ORDER BY revision LIMIT :limit"
)
_SNAPSHOT_COLUMNS = (
    "snapshot_id", "broker", "account", "cause", "market_time", "trading_day", "revision", "cash", "equity",
    "realised", "unrealised", "charges", "open_positions",
)  # fmt: skip
# Under the account's lock, so a day's start is the day's first snapshot whoever takes it.
ADD_SNAPSHOT = text(
    f"INSERT INTO portfolio.snapshots ({', '.join(_SNAPSHOT_COLUMNS)})"
    " SELECT CAST(:snapshot_id AS uuid), :broker, :account, CAST(:cause AS smallint),"
    " CAST(:market_time AS timestamptz), CAST(:trading_day AS date), CAST(:revision AS bigint),"
    " CAST(:cash AS numeric), CAST(:equity AS numeric), CAST(:realised AS numeric), CAST(:unrealised AS numeric),"
    " CAST(:charges AS numeric), CAST(:open_positions AS integer)"
    f" WHERE CAST(:cause AS smallint) <> 1 OR NOT EXISTS (SELECT FROM portfolio.snapshots WHERE {_ACCOUNT}"
    " AND trading_day = CAST(:trading_day AS date)) ON CONFLICT DO NOTHING"
)
SNAPSHOTS = text(
    f"SELECT * FROM portfolio.snapshots WHERE {_ACCOUNT}"
    " AND (CAST(:start AS timestamptz) IS NULL OR market_time >= :start)"
    " AND (CAST(:end AS timestamptz) IS NULL OR market_time < :end)"
    " AND (CAST(:after AS timestamptz) IS NULL OR (market_time, number) > (:after, CAST(:after_number AS bigint)))"
    " ORDER BY market_time, number LIMIT :limit"
)
