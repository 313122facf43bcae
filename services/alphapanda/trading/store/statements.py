"""The SQL statements of trading's store. Orders are added or changed by one statement, however many there are."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Final

from sqlalchemy import TextClause, text

from alphapanda.domain.order import OrderStatus, Side
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.purging import Purge, oldest
from alphapanda.storage.recordset import rows_of
from alphapanda.trading.store.rows import CHANGING_COLUMNS, INTENT_COLUMNS, ORDER_COLUMNS
from alphapanda.trading.store.tables import ABSENT_CONDITIONS, LIVE, OPEN, ended_short

_ABSENT: Final = " AND ".join(f"i.{condition}" for condition in ABSENT_CONDITIONS)
# Of the orders whose index this is, a rejected intent without a fill never reached the exchange.
_SHORT: Final = (
    f"{ended_short('o.')} AND i.filled < i.quantity"
    f" AND (i.status = {int(OrderStatus.CANCELLED)} OR (i.status = {int(OrderStatus.REJECTED)} AND i.filled > 0))"
)

# -- writing orders ---------------------------------------------------------------------------------------------------

_GIVEN = f"{rows_of('trading.orders', 'orders')} WITH ORDINALITY AS given"
# The orders whose signals have neither an order nor a tombstone. The INSERT locks the table before this is evaluated, and
# ADD_TOMBSTONE locks it exclusively. So either this statement sees the tombstone, or ADD_TOMBSTONE sees the order.
_UNKNOWN = (
    "NOT EXISTS (SELECT FROM trading.orders held WHERE held.signal_id = given.signal_id)"
    " AND NOT EXISTS (SELECT FROM trading.tombstones dead WHERE dead.signal_id = given.signal_id)"
)
_NEW = f"chosen AS (SELECT given.* FROM {_GIVEN} WHERE {_UNKNOWN})"
# The kill switches are locked as SWITCHES does, in the statement that stores what was decided by them. A switch that has
# changed since is not among the rows: FOR SHARE compares again after waiting for the change.
_SWITCHES_HELD = (
    "switches AS MATERIALIZED (SELECT held.broker FROM trading.kill_switches held JOIN unnest("
    "CAST(:switch_brokers AS text[]), CAST(:switch_strategies AS text[]), CAST(:switch_states AS smallint[]),"
    " CAST(:switch_revisions AS bigint[])) AS known (broker, strategy_id, state, revision)"
    " USING (broker, strategy_id, state, revision) ORDER BY held.broker, held.strategy_id FOR SHARE OF held),"
    " compared AS MATERIALIZED (SELECT count(*) = cardinality(CAST(:switch_brokers AS text[])) AS unchanged FROM switches)"
)
_UNCHANGED_SWITCHES: Final = "(SELECT unchanged FROM compared)"
_NEW_IF_UNCHANGED = f"chosen AS (SELECT given.* FROM {_GIVEN} WHERE {_UNCHANGED_SWITCHES} AND {_UNKNOWN})"
# The orders whose rows still have the version that the writer knows. FOR UPDATE compares again after waiting for a lock.
_UNCHANGED = (
    f"chosen AS (SELECT given.* FROM trading.orders held JOIN {_GIVEN}"
    " ON held.order_id = given.order_id AND held.account_revision = given.account_revision"
    " ORDER BY held.order_id FOR UPDATE OF held)"
)
# Accounts are locked after orders, and in sorted order, to prevent deadlocks.
_RAISED = (
    "raised AS (INSERT INTO trading.accounts AS held (broker, account, revision)"
    " SELECT broker, account, count(*) FROM chosen GROUP BY broker, account ORDER BY broker, account"
    " ON CONFLICT (broker, account) DO UPDATE SET revision = held.revision + excluded.revision"
    " RETURNING broker, account, revision)"
)
_NUMBERED = (
    "numbered AS (SELECT chosen.*, raised.revision - count(*) OVER (PARTITION BY broker, account)"
    " + row_number() OVER (PARTITION BY broker, account ORDER BY chosen.ordinality) AS new_revision"
    " FROM chosen JOIN raised USING (broker, account))"
)
# No conflict target: another process's order of the same signal may conflict on any of the unique keys.
_ADDED = (
    f"stored AS (INSERT INTO trading.orders ({', '.join(ORDER_COLUMNS)}, created_at, account_revision)"
    f" SELECT {', '.join(ORDER_COLUMNS)}, created_at, new_revision FROM numbered ORDER BY ordinality"
    " ON CONFLICT DO NOTHING RETURNING order_id, account_revision)"
)
_SAVED = (
    f"stored AS (UPDATE trading.orders held SET {', '.join(f'{name} = numbered.{name}' for name in CHANGING_COLUMNS)},"
    " account_revision = numbered.new_revision FROM numbered WHERE held.order_id = numbered.order_id"
    " RETURNING held.order_id, held.account_revision)"
)
_INTENTS = (
    f"intents_written AS (INSERT INTO trading.intents ({', '.join(INTENT_COLUMNS)})"
    f" SELECT {', '.join(INTENT_COLUMNS)} FROM {rows_of('trading.intents', 'intents')} AS given"
    " JOIN stored USING (order_id)"
    " ON CONFLICT (intent_id) DO UPDATE SET quantity = excluded.quantity, status = excluded.status,"
    " epoch = excluded.epoch, broker_order_id = excluded.broker_order_id, filled = excluded.filled)"
)
_INTENTS_DROPPED = (
    "intents_dropped AS (DELETE FROM trading.intents AS held USING"
    f" (SELECT order_id, max(number) AS last FROM {rows_of('trading.intents', 'intents')} AS given GROUP BY order_id)"
    " AS kept JOIN stored USING (order_id) WHERE held.order_id = kept.order_id AND held.number > kept.last)"
)
_FILLS = (
    "filled AS (INSERT INTO trading.fills (fill_id, order_id, exchange_trade_id, quantity, price, commission, traded_at)"
    " SELECT fill_id, order_id, exchange_trade_id, quantity, price, commission, traded_at"
    f" FROM {rows_of('trading.fills', 'fills')} AS given JOIN stored USING (order_id)"
    " RETURNING order_id, quantity)"
)
_PROTECTION: Final = (
    "order_id", "broker", "account", "strategy_id", "instrument_id", "product", "instrument_token", "correlation_id", "side",
    "stop_loss", "target", "trail", "created_at"
)  # fmt: skip
_ARMED = (
    f"armed AS (INSERT INTO trading.protections ({', '.join(_PROTECTION)}, stop_trigger, entries)"
    f" SELECT {', '.join(_PROTECTION)}, stop_loss, ARRAY[order_id] FROM numbered JOIN stored USING (order_id)"
    " WHERE stop_loss IS NOT NULL OR target IS NOT NULL ORDER BY ordinality)"
)
_POSITION: Final = ("broker", "account", "strategy_id", "instrument_id", "product")
_KEY = ", ".join(_POSITION)
_MOVED = (
    f"moved AS (INSERT INTO trading.positions AS held ({_KEY}, quantity)"
    f" SELECT {_KEY}, sum(CASE side WHEN {int(Side.BUY)} THEN filled.quantity ELSE -filled.quantity END)::bigint"
    f" FROM filled JOIN numbered USING (order_id) GROUP BY {_KEY} ORDER BY {_KEY}"
    f" ON CONFLICT ({_KEY}) DO UPDATE SET quantity = held.quantity + excluded.quantity)"
)


class OrderWrites:
    """The statements that add and change orders; each is made with only the parts that are needed.

    A new order that carries a protection has it stored as ARMED.

    Parameters: the recordsets `orders`, `intents` and `fills`, and the outbox's parameters with `outbox_order_id`.
    They return the `order_id` and `account_revision` of each order stored. `add_if_unchanged` takes kill switches too, and
    returns at least one row: `unchanged`, and an order or nulls.

    Args:
        outbox: of schema `trading`.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._published = f"published AS ({outbox.insert_of('stored', 'order_id', 'uuid')})"
        self._notify = outbox.notify.removeprefix("SELECT ")
        self.add = cache(self._add)
        self.add_if_unchanged = cache(self._add_if_unchanged)
        self.save = cache(self._save)

    def _add(self, *, fills: bool, events: bool, protected: bool) -> TextClause:
        parts = [_NEW, _RAISED, _NUMBERED, _ADDED, _INTENTS, *([_ARMED] if protected else [])]
        return self._statement(parts, fills=fills, events=events)

    def _add_if_unchanged(self, *, fills: bool, events: bool, protected: bool) -> TextClause:
        parts = [_SWITCHES_HELD, _NEW_IF_UNCHANGED, _RAISED, _NUMBERED, _ADDED, _INTENTS]
        parts += [_ARMED] if protected else []
        source = "compared LEFT JOIN stored ON true"
        return self._statement(parts, fills=fills, events=events, more="unchanged, ", source=source)

    def _save(self, *, fills: bool, events: bool, protected: bool) -> TextClause:  # noqa: ARG002 - only new orders arm
        parts = [_UNCHANGED, _RAISED, _NUMBERED, _SAVED, _INTENTS, _INTENTS_DROPPED]
        return self._statement(parts, fills=fills, events=events)

    def _statement(
        self, parts: list[str], *, fills: bool, events: bool, more: str = "", source: str = "stored"
    ) -> TextClause:
        parts += [_FILLS, _MOVED] if fills else []
        parts += [self._published] if events else []
        woken = f", {self._notify} AS woken" if events else ""
        return text(f"WITH {', '.join(parts)} SELECT {more}order_id, account_revision{woken} FROM {source}")


# Adding a tombstone locks the table against inserts. That is rare: risk asks only about orders that are overdue.
LOCK_TABLE = text("LOCK TABLE trading.orders IN SHARE ROW EXCLUSIVE MODE")
ADD_TOMBSTONE = text(
    "INSERT INTO trading.tombstones (signal_id, buried_at) SELECT CAST(:signal_id AS uuid), :buried_at"
    " WHERE NOT EXISTS (SELECT FROM trading.orders WHERE signal_id = CAST(:signal_id AS uuid))"
    " ON CONFLICT (signal_id) DO NOTHING"
)
HAS_TOMBSTONE = text(
    "SELECT EXISTS (SELECT FROM trading.tombstones WHERE signal_id = CAST(:signal_id AS uuid))"
)

# -- reading orders ---------------------------------------------------------------------------------------------------

_SELECT = (
    "SELECT o.*, (SELECT json_agg(i ORDER BY i.number) FROM trading.intents i WHERE i.order_id = o.order_id) AS intents,"
    " (SELECT array_agg(f.fill_id) FROM trading.fills f WHERE f.order_id = o.order_id) AS fill_ids"
    " FROM trading.orders o"
)
ORDER = text(f"{_SELECT} WHERE order_id = :order_id")
# Lock first, then read: one statement would read intents and fills from before its wait for the lock.
LOCK_ORDER = text("SELECT FROM trading.orders WHERE order_id = :order_id FOR UPDATE")
ORDER_OF_SIGNAL = text(f"{_SELECT} WHERE signal_id = :signal_id")
ORDERS_BY_ID = text(f"{_SELECT} WHERE order_id = ANY(CAST(:order_ids AS uuid[]))")
WITHOUT_VERDICT = text(f"{_SELECT} WHERE {OPEN} AND status = {int(OrderStatus.PENDING_RISK)} ORDER BY seq")
OPEN_ORDERS = text(f"SELECT order_id FROM trading.orders WHERE {OPEN} ORDER BY seq")
_ACCEPTED: Final = f"i.status IN ({int(OrderStatus.OPEN)}, {int(OrderStatus.PARTIALLY_FILLED)})"
_HAS_ACCEPTED = f"EXISTS (SELECT FROM trading.intents i WHERE i.order_id = o.order_id AND {_ACCEPTED})"
ACCEPTED_ORDERS = text(f"SELECT order_id FROM trading.orders o WHERE {OPEN} AND {_HAS_ACCEPTED} ORDER BY seq")
ORDERS_UNDER_WAY = text(f"SELECT EXISTS (SELECT FROM trading.orders o WHERE {OPEN} AND NOT {_HAS_ACCEPTED})")
ORDERS_OF_TAGS = text(
    "SELECT order_id FROM unnest(CAST(:tags AS text[])) WITH ORDINALITY AS wanted (tag, number)"
    " JOIN trading.intents USING (tag) ORDER BY wanted.number"
)
_ENDED_INTENTS = (
    "SELECT i.order_id, i.number, i.tag, o.broker, o.account FROM trading.intents i JOIN trading.orders o USING (order_id)"
    " WHERE {} AND o.created_at >= :since ORDER BY o.seq, i.number"
)
ABSENT_INTENTS = text(_ENDED_INTENTS.format(_ABSENT))
INTENTS_ENDED_SHORT = text(_ENDED_INTENTS.format(_SHORT))


@cache
def newest(*filters: str) -> TextClause:
    """Orders, newest first, whose columns named in `filters` equal the parameters of the same name; `statuses` is a list."""
    return text(f"{_SELECT} WHERE {_conditions(filters)} AND seq < :before ORDER BY seq DESC LIMIT :limit")


@cache
def newest_protections(*filters: str, live_only: bool) -> TextClause:
    """Protections, newest first, whose columns named in `filters` equal the parameters of the same name."""
    live = f" AND {LIVE}" if live_only else ""
    return text(
        f"SELECT p.* FROM trading.protections p WHERE {_conditions(filters)}{live} AND seq < :before"
        " ORDER BY seq DESC LIMIT :limit"
    )


@cache
def changed(*filters: str) -> TextClause:
    """Orders of an account that changed after a revision and match the columns named in `filters`."""
    return text(
        f"{_SELECT} WHERE {_conditions(('broker', 'account', *filters))} AND account_revision > :after"
        " ORDER BY account_revision LIMIT :limit"
    )


@cache
def held(*filters: str) -> TextClause:
    """Positions that are held or have an open order that risk approved."""
    chosen = _conditions(filters)
    return text(
        f"SELECT {_KEY}, sum(quantity)::bigint AS held FROM ("
        f" SELECT {_KEY}, quantity FROM trading.positions WHERE quantity <> 0 AND {chosen}"
        f" UNION ALL SELECT {_KEY}, 0 FROM trading.orders"
        f" WHERE {OPEN} AND status > {int(OrderStatus.PENDING_RISK)} AND {chosen}) AS exposed GROUP BY {_KEY}"
    )


def _conditions(filters: tuple[str, ...]) -> str:
    conditions = [
        "status = ANY(CAST(:statuses AS smallint[]))" if n == "statuses" else f"{n} = :{n}" for n in filters
    ]
    return " AND ".join(conditions) or "true"


AROUND = text(
    f"{_SELECT} WHERE order_id = ANY(CAST(:order_ids AS uuid[])) OR ({OPEN} AND {_conditions(_POSITION)})"
)
POSITION = text(f"SELECT quantity FROM trading.positions WHERE {_conditions(_POSITION)}")
REVISION = text("SELECT revision FROM trading.accounts WHERE broker = :broker AND account = :account")
REVISIONS = text("SELECT broker, account, revision FROM trading.accounts")
NEXT_EPOCH = text("SELECT nextval('trading.epochs')")

# -- kill switches ----------------------------------------------------------------------------------------------------

_ASKED = "unnest(CAST(:brokers AS text[]), CAST(:strategies AS text[])) AS asked (broker, strategy_id)"
# Every submit locks its switches FOR SHARE, a change locks FOR UPDATE. So once a change is committed, no submit that
# read the older state can still commit.
SWITCHES = text(
    f"SELECT broker, strategy_id, state, revision FROM trading.kill_switches held JOIN {_ASKED}"
    " USING (broker, strategy_id) ORDER BY broker, strategy_id FOR SHARE OF held"
)
ADD_SWITCHES = text(
    f"INSERT INTO trading.kill_switches (broker, strategy_id, state, revision)"
    f" SELECT broker, strategy_id, :state, 0 FROM {_ASKED} ORDER BY broker, strategy_id ON CONFLICT DO NOTHING"
)
LOCK_SWITCH = text(
    "SELECT state, revision FROM trading.kill_switches WHERE broker = :broker AND strategy_id = :strategy_id FOR UPDATE"
)
COPIES = text(
    "SELECT strategy_id, state, revision FROM trading.kill_switches WHERE broker = :broker AND revision > 0"
    " ORDER BY strategy_id"
)
CHANGE_SWITCH = text(
    "UPDATE trading.kill_switches SET state = :state, revision = :revision"
    " WHERE broker = :broker AND strategy_id = :strategy_id"
)


def tombstones_purge(keep: timedelta) -> Purge:
    """Tombstones of signals that no record on any topic names any more."""
    return Purge("trading.tombstones", oldest("trading.tombstones", "buried_at"), keep)
