"""The statements of risk's PostgreSQL store."""

from __future__ import annotations

from sqlalchemy import text

from alphapanda.storage.recordset import rows_of

SCHEMA = "risk"

_KEY = "broker, account, strategy_id, instrument_id, product"
_VERSION = (
    "SELECT limits_version, ARRAY(SELECT key FROM risk.parked_keys WHERE topic LIKE :broker || '.%') AS parked"
    " FROM risk.accounts WHERE broker = :broker AND account = :account"
)
READ_VERSION = text(_VERSION)
LOCK = text(f"{_VERSION} FOR UPDATE")
ADD_ACCOUNT = text(
    "INSERT INTO risk.accounts (broker, account) VALUES (:broker, :account) ON CONFLICT DO NOTHING"
)
LIMITS = text(
    "SELECT * FROM (SELECT DISTINCT ON (strategy_id, instrument_id, name) * FROM risk.limits"
    " WHERE broker = :broker AND account = :account ORDER BY strategy_id, instrument_id, name, version DESC) AS newest"
    " WHERE value IS NOT NULL ORDER BY strategy_id, instrument_id, name"
)
SAVE_LIMIT = text(
    "INSERT INTO risk.limits (broker, account, strategy_id, instrument_id, name, version, value, author, reason,"
    " changed_at) VALUES (:broker, :account, :strategy_id, :instrument_id, :name, :version, :value, :author, :reason,"
    " :changed_at)"
)
SAVE_VERSION = text(
    "UPDATE risk.accounts SET limits_version = :version WHERE broker = :broker AND account = :account"
)
VERDICT = text("SELECT * FROM risk.verdicts WHERE signal_id = CAST(:id AS uuid)")
WAITING = text("SELECT waiting FROM risk.positions WHERE waiting_signal_id = CAST(:id AS uuid)")
HELD = text(
    f"SELECT {_KEY}, opened_at FROM risk.positions WHERE broker = ANY(CAST(:brokers AS text[])) AND product = :product"
    " AND quantity <> 0 ORDER BY broker, account, strategy_id, instrument_id"
)
UNSEEN = text(
    "SELECT p.broker, p.account, p.strategy_id, p.instrument_id, p.product, o.signal_id FROM risk.positions p"
    " JOIN risk.orders o ON o.signal_id = p.open_signal_id JOIN risk.verdicts v ON v.signal_id = o.signal_id"
    " WHERE p.broker = ANY(CAST(:brokers AS text[])) AND o.revision = 0"
    " AND v.valid_until < CASE v.effect WHEN :reduces THEN CAST(:exits_before AS timestamptz)"
    " ELSE CAST(:entries_before AS timestamptz) END ORDER BY v.number"
)
VERDICTS = text(
    "SELECT * FROM risk.verdicts WHERE (:broker = '' OR broker = :broker) AND (:account = '' OR account = :account)"
    " AND (:strategy_id = '' OR strategy_id = :strategy_id)"
    " AND (:instrument_id = '' OR instrument_id = :instrument_id)"
    " AND (CAST(:approved AS boolean) IS NULL OR approved = :approved)"
    " AND (CAST(:since AS timestamptz) IS NULL OR decided_at >= :since)"
    " AND (CAST(:until AS timestamptz) IS NULL OR decided_at < :until)"
    " AND number < :before ORDER BY number DESC LIMIT :limit"
)
ADD_SWITCH = text(
    "INSERT INTO risk.kill_switches (broker, strategy_id, account, state, revision, changed_by, reason)"
    " VALUES (:broker, :strategy_id, :account, :state, 0, '', '') ON CONFLICT DO NOTHING"
)
_SWITCH = (
    "SELECT * FROM risk.kill_switches"
    " WHERE broker = :broker AND strategy_id = :strategy_id AND account = :account"
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


_ALIVE = "quantity <> 0 OR open_signal_id IS NOT NULL"
_ASKED = (
    "(strategy_id, instrument_id, product) IN (SELECT * FROM unnest(CAST(:strategies AS text[]),"
    " CAST(:instruments AS text[]), CAST(:products AS smallint[])))"
)


def _book(which: str, share: str) -> str:
    """What a decision reads, in one round trip. It waits for who changes a switch, and holds the switches with `share`.

    The switches are all but the accounts' own, which change under their accounts' locks. Who sets a strategy's locks the
    broker's first.
    """
    return (
        "WITH switches AS MATERIALIZED (SELECT strategy_id, state FROM risk.kill_switches WHERE broker = :broker"
        f" AND account = ''{share}),"
        " found AS MATERIALIZED (SELECT p, p.open_signal_id FROM risk.positions p WHERE broker = :broker"
        f" AND account = :account AND ({which}))"
        " SELECT ARRAY(SELECT strategy_id FROM switches) AS switched, ARRAY(SELECT state FROM switches) AS states,"
        " ARRAY(SELECT p FROM found) AS positions,"
        " ARRAY(SELECT o FROM risk.orders o WHERE signal_id IN (SELECT unnest(CAST(:ids AS uuid[]))"
        " UNION SELECT open_signal_id FROM found)) AS orders,"
        " ARRAY(SELECT signal_id FROM risk.verdicts WHERE signal_id = ANY(CAST(:ids AS uuid[]))) AS judged,"
        " ARRAY(SELECT d FROM risk.days d WHERE broker = :broker AND account = :account"
        " AND (strategy_id = '' OR strategy_id = ANY(CAST(:strategies AS text[])))) AS days"
    )


BOOK = {
    (whole, dry): text(_book(f"{_ASKED} OR {_ALIVE}" if whole else _ASKED, "" if dry else " FOR SHARE"))
    for whole in (False, True)
    for dry in (False, True)
}
"""By whether all that is alive is read, and whether nobody is to wait for the reader."""


def _save(table: str, columns: str, conflict: str = "") -> str:
    return f"INSERT INTO risk.{table} ({columns}) SELECT {columns} FROM {rows_of(f'risk.{table}', table)}{conflict}"


SAVES = {
    "orders": _save(
        "orders",
        f"signal_id, {_KEY}, side, quantity, filled, revision, final, value",
        " ON CONFLICT (signal_id) DO UPDATE SET filled = excluded.filled, revision = excluded.revision,"
        " final = excluded.final, value = excluded.value",
    ),
    "positions": _save(
        "positions",
        f"{_KEY}, quantity, opened_at, open_signal_id, waiting_signal_id, waiting, cost, round_trip, losses, lost_at,"
        " last_request, last_request_at",
        f" ON CONFLICT ({_KEY}) DO UPDATE SET quantity = excluded.quantity,"
        " opened_at = excluded.opened_at, open_signal_id = excluded.open_signal_id,"
        " waiting_signal_id = excluded.waiting_signal_id, waiting = excluded.waiting, cost = excluded.cost,"
        " round_trip = excluded.round_trip, losses = excluded.losses, lost_at = excluded.lost_at,"
        " last_request = excluded.last_request, last_request_at = excluded.last_request_at",
    ),
    "days": _save(
        "days",
        "broker, account, strategy_id, day, trades, realised, tripped, recent",
        " ON CONFLICT (broker, account, strategy_id) DO UPDATE SET day = excluded.day, trades = excluded.trades,"
        " realised = excluded.realised, tripped = excluded.tripped, recent = excluded.recent",
    ),
    "verdicts": _save(
        "verdicts",
        f"signal_id, correlation_id, {_KEY}, instrument_token, config_revision, approved, reason, message, side,"
        " quantity, order_type, effect, valid_until, decided_at, rules, largest_quantity",
    ),
}
"""What a decision writes, by table, whose rows come under its name."""
