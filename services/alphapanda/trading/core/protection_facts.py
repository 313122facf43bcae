"""The facts on which the next step of a protection is decided, from orders, changes and the market."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import OrderStatus, Side
from alphapanda.domain.price_grid import GridRule, grid_rule
from alphapanda.domain.session import Session
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest, ChangeStatus
from alphapanda.trading.core.protection import Facts, OwnOrder, Standing
from alphapanda.trading.core.protection_record import ProtectionRecord
from alphapanda.trading.core.slicing import MOST_SLICES

ASKED_BY: Final = "protection"
"""Who asks for the changes of a protection's own orders and entries."""
PAUSE: Final = timedelta(seconds=30)
"""Market time after an order of its own that ended short, before the next one where pauses are due."""
STUCK: Final = timedelta(seconds=5)
"""Market time within which a stop fills once it is known that it has triggered."""

_IST: Final = ZoneInfo("Asia/Kolkata")
_REFUSED: Final = (ChangeStatus.REFUSED, ChangeStatus.ABSENT)
_BEFORE_SENDING: Final = (OrderStatus.PENDING_SUBMIT, OrderStatus.SUBMITTING, OrderStatus.UNKNOWN)

SessionAt = Callable[[datetime], Session | None]
"""The instrument's session at a moment; None if none is open. Raises CalendarNotCovered where it isn't known."""


class Surroundings(Struct, frozen=True):
    """What is known around a protected position.

    Attributes:
        position: units held by trading's own fills, signed.
        orders: the position's open orders, the protection's own and its entries, by id.
        changes: the changes of these orders, oldest first, by order id.
        market: prices and market time.
        wall_time: aware; used where market time is unknown.
        instrument: the instrument.
        session: the session that is open; None if none is, or it isn't known.
        closed: whether it is known that none is open.
        blocked: why nothing can be sent though one is; empty: it can.
        ended_early: ids of the protection's own orders that ended before their day was over.
        triggered_at: when it was first seen that a stop had triggered, by order id.
    """

    position: int
    orders: Mapping[str, Order]
    changes: Mapping[str, Sequence[ChangeRequest]]
    market: MarketView
    wall_time: datetime
    instrument: Instrument
    session: Session | None
    closed: bool
    blocked: str
    ended_early: frozenset[str]
    triggered_at: Mapping[str, datetime]

    @property
    def now(self) -> datetime:
        """Market time, or wall time where it is unknown."""
        return self.market.market_time or self.wall_time

    @property
    def day(self) -> date:
        """The day whose price grid is in force."""
        return self.now.astimezone(_IST).date() if self.session is None else self.session.day

    @property
    def grid(self) -> GridRule:
        """The instrument's price grid."""
        return grid_rule(self.instrument, self.day)

    def parts(self, quantity: int) -> tuple[int, ...]:
        """The slices of an order; what needs more than there may be is left out."""
        freeze, lot = self.instrument.freeze_quantity, self.instrument.lot_size
        most = freeze - freeze % lot
        if not most or quantity <= freeze:
            return (quantity,)
        quantity = min(quantity, most * MOST_SLICES)
        whole, rest = divmod(quantity, most)
        return (most,) * whole + ((rest,) if rest else ())


def facts_of(record: ProtectionRecord, around: Surroundings) -> Facts:
    """The facts about a protection that is in force."""
    guard, last = record.guard, around.market.prices.get(record.instrument_token)
    stop, exit_ = (_own(order_id, around) for order_id in (record.stop_order_id, record.exit_order_id))
    own = {record.stop_order_id, record.exit_order_id}
    entries = [around.orders[order_id] for order_id in record.entries if order_id in around.orders]
    entries = [entry for entry in entries if not entry.status.is_final]
    bar = None if last is None else last.bar
    best = None
    if bar is not None and record.since is not None and bar.start >= record.since:
        best = bar.high if guard.side is Side.BUY else bar.low
    price = None if last is None else last.price
    return Facts(
        held=max(around.position * guard.side.sign, 0),
        stop=stop,
        exit=exit_,
        price=price,
        best=best,
        entry_open=bool(entries),
        entry_cancelling=all(cancelling(around.changes.get(entry.order_id, ())) for entry in entries),
        exit_waits=any(
            other.order_id not in own and is_other_exit(other, guard.side) for other in around.orders.values()
        ),
        closed=around.closed,
        blocked=around.blocked,
        pausing=_pausing(record, around),
        tick=around.grid.tick(guard.stop_loss or price or Decimal(1)),
    )


def note_triggered(
    noted: dict[str, datetime],
    records: Sequence[ProtectionRecord],
    orders: Mapping[str, Order],
    market: MarketView,
) -> None:
    """Notes since when a stop has triggered and not filled, by order id: the price is beyond its trigger, and it doesn't wait.

    Args:
        noted: what was noted before; it is changed.
        records: the protections of a position.
        orders: its orders by id.
        market: prices and market time.
    """
    for record in records:
        stop, last = orders.get(record.stop_order_id), market.prices.get(record.instrument_token)
        if stop is None or last is None or market.market_time is None:
            continue
        trigger, works = (
            stop.terms.trigger_price,
            stop.status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED),
        )
        through = trigger is not None and record.guard.is_through(last.price, trigger)
        if works and through and not stop.trigger_pending:
            noted.setdefault(stop.order_id, market.market_time)
        else:
            noted.pop(stop.order_id, None)


def ended_early(
    orders: Iterable[Order], is_closed: Callable[[datetime], bool], now: datetime
) -> frozenset[str]:
    """The ids of the orders that ended before their day was over.

    A DAY order ends with its day, however late that is seen: by the first tick of the next morning, or once its broker is asked.

    Args:
        orders: a position's.
        is_closed: whether it is known that the instrument's session is closed at a moment.
        now: stands for when an order ended where nobody knows it.
    """
    return frozenset(
        order.order_id
        for order in orders
        if order.status.is_final
        and not (_next_day(order, order.market_time or now) or is_closed(order.market_time or now))
    )


def _next_day(order: Order, ended: datetime) -> bool:
    """Whether it ended on a later day than its own; `valid_until` is on the day on which it was made."""
    return ended.astimezone(_IST).date() > order.valid_until.astimezone(_IST).date()


def is_other_exit(order: Order, side: Side) -> bool:
    """Whether an order that isn't the protection's own would take units out of a position that `side` has opened.

    One that would rest isn't sent beside a protection, so nothing makes room for it.
    """
    unsent = order.status is OrderStatus.PENDING_RISK or (
        order.status is OrderStatus.PENDING_SUBMIT and order.terms.rests
    )
    return order.side is not side and not (order.protective or order.status.is_final or unsent)


def _own(order_id: str, around: Surroundings) -> OwnOrder | None:
    order = around.orders.get(order_id)
    if order is None:
        return None
    changes = around.changes.get(order_id, ())
    called = [change for change in changes if change.kind is ChangeKind.MODIFY and change.calls]
    since = around.triggered_at.get(order_id)
    return OwnOrder(
        _standing(order, changes, around),
        order.quantity,
        order.filled,
        order.terms.trigger_price,
        changing=any(not change.status.is_final for change in changes),
        cancelling=cancelling(changes),
        modifications=len(called),
        change_refused=bool(changes) and changes[-1].status in _REFUSED,
        triggered=since is not None or order.filled > 0,
        stuck=since is not None and not order.status.is_final and around.now - since >= STUCK,
    )


def _standing(order: Order, changes: Sequence[ChangeRequest], around: Surroundings) -> Standing:
    status = order.status
    if not status.is_final:
        current = order.current
        waits = current is None or current.unanswered or status in _BEFORE_SENDING
        return Standing.UNDER_WAY if waits else Standing.WORKING
    if status is OrderStatus.FILLED:
        return Standing.FILLED
    if status is OrderStatus.CANCELLED:
        if any(change.kind is ChangeKind.CANCEL and change.status is ChangeStatus.DONE for change in changes):
            return Standing.CANCELLED
        return Standing.LOST if order.order_id in around.ended_early else Standing.EXPIRED
    sent = any(intent.epoch or intent.broker_order_id for intent in order.intents)
    return Standing.LOST if sent or status is OrderStatus.REJECTED else Standing.NOT_SENT


def cancelling(changes: Sequence[ChangeRequest]) -> bool:
    """Whether a cancellation was asked for, and not refused."""
    return any(change.kind is ChangeKind.CANCEL and change.status not in _REFUSED for change in changes)


def _pausing(record: ProtectionRecord, around: Surroundings) -> bool:
    ended = [
        order.market_time
        for order_id in record.own_orders
        if (order := around.orders.get(order_id)) is not None and order.status.is_final and order.market_time
    ]
    return bool(ended) and around.now - max(ended) < PAUSE
