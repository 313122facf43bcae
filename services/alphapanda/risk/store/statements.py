"""The SQL statements of risk's PostgreSQL store."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import TextClause, text

from alphapanda.risk.store.port import VerdictFilter
from alphapanda.storage.purging import Purge
from alphapanda.storage.recordset import rows_of

Values = dict[str, object]

SCHEMA = "risk"

_KEY = "broker, account, strategy_id, instrument_id, product"
_ACCOUNT = (
    "version, limits_version, halts_revision, starting_cash, realised, margin, blocked, armed_day, ARRAY(SELECT key FROM risk.parked_keys WHERE starts_with(topic, :broker || '.')) AS parked"
    " FROM risk.accounts WHERE broker = :broker AND account = :account"
)
READ_ACCOUNT = text(f"SELECT {_ACCOUNT}")
_BROKERS_OWN = "broker = :broker AND strategy_id = '' AND account = ''"
_BROKERS_SWITCH = f"FROM risk.kill_switches WHERE {_BROKERS_OWN}"
LOCK = text(
    f"WITH held AS MATERIALIZED (SELECT 1 {_BROKERS_SWITCH} FOR SHARE)"
    f" SELECT (SELECT count(*) FROM held), {_ACCOUNT} FOR UPDATE"
)
"""Locks the account, and the kill switches of its broker against changes: each change locks the broker's row first.

The switches are read by a later statement, so it sees a strategy's first switch for which this one had to wait.
"""
ACCOUNTS = text("SELECT account FROM risk.accounts WHERE broker = :broker")
ADD_ACCOUNT = text(
    "INSERT INTO risk.accounts (broker, account, starting_cash) VALUES (:broker, :account, :starting_cash)"
    " ON CONFLICT DO NOTHING"
)
LIMITS = text(
    "SELECT * FROM (SELECT DISTINCT ON (strategy_id, instrument_id, name) * FROM risk.limits"
    " WHERE broker = :broker AND account = :account ORDER BY strategy_id, instrument_id, name, version DESC) AS newest"
    " WHERE value IS NOT NULL ORDER BY strategy_id, instrument_id, name"
)
HALTS = text(
    "SELECT instrument_id, reason FROM risk.instrument_halts WHERE broker = :broker AND account = :account"
)
CLEAR_HALTS = text("DELETE FROM risk.instrument_halts WHERE broker = :broker AND account = :account")
ADD_HALTS = text(
    "INSERT INTO risk.instrument_halts (broker, account, instrument_id, reason) SELECT :broker, :account, instrument_id, reason"
    " FROM unnest(CAST(:instruments AS text[]), CAST(:reasons AS text[])) AS given (instrument_id, reason)"
)
SAVE_HALTS = text(
    "UPDATE risk.accounts SET halts_revision = :revision, version = version + 1"
    " WHERE broker = :broker AND account = :account"
)
SAVE_LIMIT = text(
    "INSERT INTO risk.limits (broker, account, strategy_id, instrument_id, name, version, value, author, reason,"
    " changed_at) VALUES (:broker, :account, :strategy_id, :instrument_id, :name, :version, :value, :author, :reason,"
    " :changed_at)"
)
ARMING = text(
    "SELECT armed_day, arming_changed_by, arming_reason, arming_changed_at FROM risk.accounts"
    " WHERE broker = :broker AND account = :account"
)
SAVE_ARMING = text(
    "UPDATE risk.accounts SET armed_day = :day, arming_changed_by = :changed_by, arming_reason = :reason,"
    " arming_changed_at = :changed_at, version = version + 1 WHERE broker = :broker AND account = :account"
)
SAVE_VERSION = text(
    "UPDATE risk.accounts SET limits_version = :version, version = version + 1"
    " WHERE broker = :broker AND account = :account"
)
VERDICT = text("SELECT * FROM risk.verdicts WHERE signal_id = CAST(:id AS uuid)")
WAITING = text("SELECT waiting FROM risk.positions WHERE waiting_signal_id = CAST(:id AS uuid)")
HELD = text(
    f"SELECT {_KEY}, opened_at FROM risk.positions WHERE broker = ANY(CAST(:brokers AS text[])) AND product = :product"
    " AND quantity <> 0 ORDER BY broker, account, strategy_id, instrument_id"
)
OVERDUE = text(
    "SELECT p.broker, p.account, p.strategy_id, p.instrument_id, p.product, o.signal_id FROM risk.positions p"
    " JOIN risk.orders o ON o.signal_id = p.open_signal_id JOIN risk.verdicts v ON v.signal_id = o.signal_id"
    " WHERE p.broker = ANY(CAST(:brokers AS text[])) AND p.open_signal_id IS NOT NULL AND o.revision = 0"
    " AND v.valid_until < CASE v.effect WHEN :reduces THEN CAST(:exits_before AS timestamptz)"
    " ELSE CAST(:entries_before AS timestamptz) END ORDER BY v.number"
)
SUPERSEDED = text(
    "SELECT p.broker, p.account, p.strategy_id, p.instrument_id, p.product, p.waiting_signal_id, o.signal_id"
    " FROM risk.positions p JOIN risk.orders o ON o.signal_id = p.open_signal_id"
    " WHERE p.broker = ANY(CAST(:brokers AS text[])) AND p.open_signal_id IS NOT NULL"
    " AND p.waiting_signal_id IS NOT NULL AND o.rests"
)
ADD_SWITCH = text(
    "INSERT INTO risk.kill_switches (broker, strategy_id, account, state, revision, changed_by, reason)"
    " VALUES (:broker, :strategy_id, :account, :state, 0, '', '') ON CONFLICT DO NOTHING"
)
_SWITCH = (
    "SELECT * FROM risk.kill_switches"
    " WHERE broker = :broker AND strategy_id = :strategy_id AND account = :account"
)
RECONCILIATION = text(
    "SELECT cause, state_before, due_since FROM risk.reconciliations WHERE broker = :broker"
)
END_RECONCILIATION = text("DELETE FROM risk.reconciliations WHERE broker = :broker")
HELD_AT_BROKER = text(
    "SELECT account, instrument_id, product, sum(quantity)::bigint AS held FROM risk.positions"
    " WHERE broker = :broker AND quantity <> 0 GROUP BY account, instrument_id, product"
)
READ_SWITCH = text(_SWITCH)
LOCK_SWITCH = text(f"{_SWITCH} FOR UPDATE")
STRATEGY_SWITCHES = text(
    "SELECT * FROM risk.kill_switches WHERE broker = ANY(CAST(:brokers AS text[])) AND strategy_id <> ''"
    " AND revision > 0 ORDER BY broker, strategy_id"
)
SET_SWITCH = text(
    "UPDATE risk.kill_switches SET state = :state, revision = :revision, changed_by = :changed_by,"
    " reason = :reason, changed_at = :changed_at"
    " WHERE broker = :broker AND strategy_id = :strategy_id AND account = :account"
)
COUNT_CHANGE = text(f"UPDATE risk.kill_switches SET changes = changes + 1 WHERE {_BROKERS_OWN}")


_KEYS_ASKED = "SELECT * FROM unnest(CAST(:strategies AS text[]), CAST(:instruments AS text[]), CAST(:products AS smallint[]))"
_OF_ACCOUNT = "SELECT p, p.open_signal_id FROM risk.positions p WHERE broker = :broker AND account = :account"
_ASKED = f"{_OF_ACCOUNT} AND (strategy_id, instrument_id, product) IN ({_KEYS_ASKED})"
# Two reads with an index each: a single one with OR would scan every position the account ever had.
_ALL_ACTIVE = (
    f"{_ASKED} UNION ALL {_OF_ACCOUNT} AND (quantity <> 0 OR open_signal_id IS NOT NULL)"
    f" AND (strategy_id, instrument_id, product) NOT IN ({_KEYS_ASKED})"
)


def _book(positions: str, *, account: str = "") -> str:
    """The query for everything that a decision reads, in one round trip.

    Accounts' own switches are left out, because they change under their accounts' locks. `account` adds the account's row
    without locking it.
    """
    return (
        "WITH switches AS MATERIALIZED (SELECT strategy_id, state, changes FROM risk.kill_switches"
        f" WHERE broker = :broker AND account = ''), found AS MATERIALIZED ({positions})"
        " SELECT ARRAY(SELECT strategy_id FROM switches) AS switched, ARRAY(SELECT state FROM switches) AS states,"
        " (SELECT changes FROM switches WHERE strategy_id = '') AS switch_changes,"
        " ARRAY(SELECT p FROM found) AS positions,"
        " ARRAY(SELECT o FROM risk.orders o WHERE signal_id = ANY(CAST(:ids AS uuid[])"
        " || ARRAY(SELECT open_signal_id FROM found WHERE open_signal_id IS NOT NULL))) AS orders,"
        " ARRAY(SELECT signal_id FROM risk.verdicts WHERE signal_id = ANY(CAST(:ids AS uuid[]))) AS judged,"
        " ARRAY(SELECT d FROM risk.days d WHERE broker = :broker AND account = :account"
        " AND (strategy_id = '' OR strategy_id = ANY(CAST(:strategies AS text[])))) AS days,"
        " ARRAY(SELECT r FROM risk.rejections r WHERE broker = :broker AND account = :account"
        f" AND instrument_id = ANY(CAST(:instruments AS text[]))) AS rejections{account}"
    )


_WHICH = {False: _ASKED, True: _ALL_ACTIVE}
BOOK = {whole: text(_book(which)) for whole, which in _WHICH.items()}
"""By whether all active positions are read."""
READ = {whole: text(_book(which, account=f", {_ACCOUNT}")) for whole, which in _WHICH.items()}
"""The book with the account's version, from one snapshot without locks; by whether all active positions are read."""


def verdicts(wanted: VerdictFilter, before: int | None, limit: int) -> tuple[TextClause, Values]:
    """The query that lists verdicts, with only the conditions that the filter sets, and its parameters."""
    asked = {
        "broker = :broker": wanted.broker,
        "account = :account": wanted.account,
        "strategy_id = :strategy_id": wanted.strategy_id,
        "instrument_id = :instrument_id": wanted.instrument_id,
        "correlation_id = :correlation_id": wanted.correlation_id,
        "decided_at >= :since": wanted.since,
        "decided_at < :until": wanted.until,
        "number < :before": before,
    }
    given = {condition: value for condition, value in asked.items() if value not in ("", None)}
    conditions = [*given]
    if wanted.approved is not None:  # a literal condition, so that the partial index is used
        conditions.append("approved" if wanted.approved else "NOT approved")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    values = {condition.rpartition(":")[2]: value for condition, value in given.items()}
    return (
        text(f"SELECT * FROM risk.verdicts{where} ORDER BY number DESC LIMIT :limit"),
        {**values, "limit": limit},
    )


UNCHANGED = "unchanged"
"""Name of the CTE that has a row if neither the account nor a kill switch has changed since the reading."""
EXISTS = f"EXISTS (SELECT 1 FROM {UNCHANGED})"
_FUNDS = ", starting_cash = :funds_cash, realised = :funds_realised, margin = :funds_margin, blocked = :funds_blocked"
COMPARE = (
    f"UPDATE risk.accounts SET version = version + 1{_FUNDS} WHERE broker = :broker AND account = :account AND version = :version"
    f" AND :switch_changes = (SELECT changes {_BROKERS_SWITCH} FOR SHARE) RETURNING version"
)
"""Increments the account's version and stores its funds if nothing has changed; locks account and switches until the statement ends.

A waiting FOR SHARE reads the newest row, and every change of a switch of the broker is counted in that row. So a
strategy's first switch, whose row a statement that waits doesn't see, is noticed too.
"""
COUNT = (
    f"UPDATE risk.accounts SET version = version + 1{_FUNDS} WHERE broker = :broker AND account = :account"
)
"""Increments the version of an account that is locked, and stores its funds."""


def _saves(condition: str = "") -> dict[str, str]:
    """The statements that store a decision, by table; the rows are a parameter named after the table."""

    def save(table: str, columns: str, conflict: str = "") -> str:
        given = rows_of(f"risk.{table}", table)
        return f"INSERT INTO risk.{table} ({columns}) SELECT {columns} FROM {given}{condition}{conflict}"

    return {
        "orders": save(
            "orders",
            f"signal_id, {_KEY}, side, quantity, filled, revision, final, value, charges, rests",
            " ON CONFLICT (signal_id) DO UPDATE SET quantity = excluded.quantity, filled = excluded.filled,"
            " revision = excluded.revision, final = excluded.final, value = excluded.value, charges = excluded.charges,"
            " rests = excluded.rests",
        ),
        "positions": save(
            "positions",
            f"{_KEY}, quantity, opened_at, open_signal_id, waiting_signal_id, waiting, cost, round_trip, losses, lost_at,"
            " last_request, last_request_at, margin, blocked",
            f" ON CONFLICT ({_KEY}) DO UPDATE SET quantity = excluded.quantity,"
            " opened_at = excluded.opened_at, open_signal_id = excluded.open_signal_id,"
            " waiting_signal_id = excluded.waiting_signal_id, waiting = excluded.waiting, cost = excluded.cost,"
            " round_trip = excluded.round_trip, losses = excluded.losses, lost_at = excluded.lost_at,"
            " last_request = excluded.last_request, last_request_at = excluded.last_request_at,"
            " margin = excluded.margin, blocked = excluded.blocked",
        ),
        "days": save(
            "days",
            "broker, account, strategy_id, day, trades, realised, tripped, recent, charges",
            " ON CONFLICT (broker, account, strategy_id) DO UPDATE SET day = excluded.day, trades = excluded.trades,"
            " realised = excluded.realised, tripped = excluded.tripped, recent = excluded.recent,"
            " charges = excluded.charges",
        ),
        "rejections": save(
            "rejections",
            "broker, account, instrument_id, product, day, in_a_row, message",
            " ON CONFLICT (broker, account, instrument_id, product) DO UPDATE SET day = excluded.day, in_a_row = excluded.in_a_row,"
            " message = excluded.message",
        ),
        "verdicts": save(
            "verdicts",
            f"signal_id, correlation_id, {_KEY}, instrument_token, config_revision, approved, reason, message, side,"
            " quantity, order_type, validity, limit_price, trigger_price, stop_loss, target, trail, effect, valid_until,"
            " decided_at, rules, largest_quantity",
        ),
    }


SAVES = {"version": COUNT} | _saves()
SAVES_IF_UNCHANGED = {UNCHANGED: COMPARE} | _saves(f" WHERE {EXISTS}")


def verdicts_purge(keep: timedelta) -> Purge:
    """Verdicts that no record on any topic can ask for again."""
    # Numbers grow with the time of storing, which needs no index of its own then.
    rows = (
        "SELECT t.ctid FROM (SELECT ctid, stored_at FROM risk.verdicts ORDER BY number LIMIT :most) t"
        " WHERE t.stored_at < :before"
    )
    return Purge("risk.verdicts", rows, keep)
