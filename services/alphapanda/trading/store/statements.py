"""The statements of trading's store. What changes orders is one statement, however many orders it changes."""

from __future__ import annotations

from functools import cache
from typing import Final

from sqlalchemy import TextClause, text

from alphapanda.domain.order import OrderStatus, Side
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.recordset import rows_of
from alphapanda.trading.store.rows import CHANGING_COLUMNS, INTENT_COLUMNS, ORDER_COLUMNS

OPEN: Final = f"status < {int(OrderStatus.FILLED)}"
"""Orders that have not ended; the index `orders_open` has the same words."""
GIVEN_UP: Final = f"i.status = {int(OrderStatus.FAILED)} AND i.epoch > 0 AND i.broker_order_id = ''"
"""Intents that ended as absent, of which the broker has shown nothing since; as the index `intents_given_up` has it."""

# -- orders are changed -----------------------------------------------------------------------------------------------

_GIVEN = f"{rows_of('trading.orders', 'orders')} WITH ORDINALITY AS given"
# What is new: neither an order of the signal nor a tombstone is seen. The statement has its lock on the table before it
# looks, so that who buries a signal, alone with the table, comes before (and is seen) or after (and sees the order).
_NEW = (
    f"chosen AS (SELECT given.* FROM {_GIVEN}"
    " WHERE NOT EXISTS (SELECT FROM trading.orders held WHERE held.signal_id = given.signal_id)"
    " AND NOT EXISTS (SELECT FROM trading.tombstones dead WHERE dead.signal_id = given.signal_id))"
)
# What still is as its writer knows it: locked, and after a wait compared anew with what the row has become.
_UNCHANGED = (
    f"chosen AS (SELECT given.* FROM trading.orders held JOIN {_GIVEN}"
    " ON held.order_id = given.order_id AND held.account_revision = given.account_revision"
    " ORDER BY held.order_id FOR UPDATE OF held)"
)
# The accounts' rows are taken after the orders', all in one order, so that nobody waits in a circle.
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
# Any unique key may be the one that another process's order of the same signal is met on.
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
_POSITION: Final = ("broker", "account", "strategy_id", "instrument_id", "product")
_KEY = ", ".join(_POSITION)
_MOVED = (
    f"moved AS (INSERT INTO trading.positions AS held ({_KEY}, quantity)"
    f" SELECT {_KEY}, sum(CASE side WHEN {int(Side.BUY)} THEN filled.quantity ELSE -filled.quantity END)::bigint"
    f" FROM filled JOIN numbered USING (order_id) GROUP BY {_KEY} ORDER BY {_KEY}"
    f" ON CONFLICT ({_KEY}) DO UPDATE SET quantity = held.quantity + excluded.quantity)"
)


class OrderWrites:
    """The two statements that change orders, with as much in them as there is to be written.

    Their parameters: `orders`, `intents` and `fills` are recordsets, the events are those of the outbox with
    `outbox_order_id`. They return `order_id` and `account_revision` of what they stored.

    Args:
        outbox: of schema `trading`.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._published = f"published AS ({outbox.insert_of('stored', 'order_id', 'uuid')})"
        self._notify = outbox.notify.removeprefix("SELECT ")
        self.add = cache(self._add)
        self.save = cache(self._save)

    def _add(self, *, fills: bool, events: bool) -> TextClause:
        return self._statement([_NEW, _RAISED, _NUMBERED, _ADDED, _INTENTS], fills=fills, events=events)

    def _save(self, *, fills: bool, events: bool) -> TextClause:
        parts = [_UNCHANGED, _RAISED, _NUMBERED, _SAVED, _INTENTS, _INTENTS_DROPPED]
        return self._statement(parts, fills=fills, events=events)

    def _statement(self, parts: list[str], *, fills: bool, events: bool) -> TextClause:
        parts += [_FILLS, _MOVED] if fills else []
        parts += [self._published] if events else []
        woken = f", {self._notify} AS woken" if events else ""
        return text(f"WITH {', '.join(parts)} SELECT order_id, account_revision{woken} FROM stored")


# A signal is buried by who has the table alone. Nobody is kept waiting often: only orders that never came are asked about.
ALONE = text("LOCK TABLE trading.orders IN SHARE ROW EXCLUSIVE MODE")
BURY = text(
    "INSERT INTO trading.tombstones (signal_id, buried_at) SELECT CAST(:signal_id AS uuid), :buried_at"
    " WHERE NOT EXISTS (SELECT FROM trading.orders WHERE signal_id = CAST(:signal_id AS uuid))"
    " ON CONFLICT (signal_id) DO NOTHING"
)
BURIED = text("SELECT EXISTS (SELECT FROM trading.tombstones WHERE signal_id = CAST(:signal_id AS uuid))")

# -- orders are read --------------------------------------------------------------------------------------------------

_SELECT = (
    "SELECT o.*, (SELECT json_agg(i ORDER BY i.number) FROM trading.intents i WHERE i.order_id = o.order_id) AS intents,"
    " (SELECT array_agg(f.fill_id) FROM trading.fills f WHERE f.order_id = o.order_id) AS fill_ids"
    " FROM trading.orders o"
)
ORDER = text(f"{_SELECT} WHERE order_id = :order_id")
# Locked first and read then: one statement would read the intents and fills as they were before it waited.
LOCK = text("SELECT FROM trading.orders WHERE order_id = :order_id FOR UPDATE")
ORDER_OF_SIGNAL = text(f"{_SELECT} WHERE signal_id = :signal_id")
OPEN_ORDERS = text(f"SELECT order_id FROM trading.orders WHERE {OPEN} ORDER BY seq")
ABSENT_INTENTS = text(
    "SELECT i.order_id, i.number, i.tag, o.broker, o.account FROM trading.intents i JOIN trading.orders o USING (order_id)"
    f" WHERE {GIVEN_UP} AND o.created_at >= :since ORDER BY o.seq, i.number"
)


@cache
def newest(*filters: str) -> TextClause:
    """Orders whose columns `filters` are as the parameters of their names, newest first; `statuses` is a list."""
    return text(f"{_SELECT} WHERE {_given(filters)} AND seq < :before ORDER BY seq DESC LIMIT :limit")


@cache
def changed(*filters: str) -> TextClause:
    """Orders of an account that changed after a revision, and are as `filters` say."""
    return text(
        f"{_SELECT} WHERE {_given(('broker', 'account', *filters))} AND account_revision > :after"
        " ORDER BY account_revision LIMIT :limit"
    )


@cache
def held(*filters: str) -> TextClause:
    """Positions that are held or have an order under way that risk let through."""
    chosen = _given(filters)
    return text(
        f"SELECT {_KEY}, sum(quantity)::bigint AS held FROM ("
        f" SELECT {_KEY}, quantity FROM trading.positions WHERE quantity <> 0 AND {chosen}"
        f" UNION ALL SELECT {_KEY}, 0 FROM trading.orders"
        f" WHERE {OPEN} AND status > {int(OrderStatus.PENDING_RISK)} AND {chosen}) AS exposed GROUP BY {_KEY}"
    )


def _given(filters: tuple[str, ...]) -> str:
    words = [
        "status = ANY(CAST(:statuses AS smallint[]))" if n == "statuses" else f"{n} = :{n}" for n in filters
    ]
    return " AND ".join(words) or "true"


POSITION = text(f"SELECT quantity FROM trading.positions WHERE {_given(_POSITION)}")
REVISION = text("SELECT revision FROM trading.accounts WHERE broker = :broker AND account = :account")
REVISIONS = text("SELECT broker, account, revision FROM trading.accounts")
NEXT_EPOCH = text("SELECT nextval('trading.epochs')")

# -- kill switches ----------------------------------------------------------------------------------------------------

_ASKED = "unnest(CAST(:brokers AS text[]), CAST(:strategies AS text[])) AS asked (broker, strategy_id)"
# Held in common by everybody who is about to submit, alone by who changes it: after the change is
# committed, nobody's submit that read the older state is still to be committed.
SWITCHES = text(
    f"SELECT broker, strategy_id, state, revision FROM trading.kill_switches held JOIN {_ASKED}"
    " USING (broker, strategy_id) ORDER BY broker, strategy_id FOR SHARE OF held"
)
SWITCHES_FIRST = text(
    f"INSERT INTO trading.kill_switches (broker, strategy_id, state, revision)"
    f" SELECT broker, strategy_id, :state, 0 FROM {_ASKED} ORDER BY broker, strategy_id ON CONFLICT DO NOTHING"
)
SWITCH_ALONE = text(
    "SELECT revision FROM trading.kill_switches WHERE broker = :broker AND strategy_id = :strategy_id FOR UPDATE"
)
SWITCH_CHANGE = text(
    "UPDATE trading.kill_switches SET state = :state, revision = :revision"
    " WHERE broker = :broker AND strategy_id = :strategy_id"
)
