"""A position with its open order, its waiting target and the history of its trades."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from alphapanda.domain.money import ZERO, to_paisa
from alphapanda.domain.order import Side
from alphapanda.domain.order_events import AdjustmentKind, Fill, OrderState
from alphapanda.domain.signal import MANUAL, PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET

_EXACT = Decimal("0.0001")
"""Precision of prices, and so of costs."""


class OrderProgress(Struct, frozen=True, gc=False):
    """An order's progress, from the order events applied so far.

    Attributes:
        signal_id: the signal (or manual intent) that it executes.
        key: the position that it changes.
        side: direction.
        quantity: units ordered, > 0.
        filled: units filled so far.
        revision: revision of the newest order event applied; 0 before the first.
        final: True if no further fill can follow; the reservation has ended.
        value: value of the fills in rupees, >= 0, before charges.
        charges: charges of the fills in rupees, >= 0.
        rests: whether it may wait at the exchange for a price: a target that comes then takes its place.
    """

    signal_id: str
    key: PositionKey
    side: Side
    quantity: int
    filled: int = 0
    revision: int = 0
    final: bool = False
    value: Decimal = ZERO
    charges: Decimal = ZERO
    rests: bool = False

    @property
    def on_its_way(self) -> int:
        """Signed units that may still fill."""
        return 0 if self.final else self.side.sign * (self.quantity - self.filled)


class TradeHistory(Struct, frozen=True, gc=False):
    """The history of trades under a position key, for rules on losses and repeated signals.

    Attributes:
        cost: signed rupees for which the held units were bought (or, if short, sold); 0 if flat or unknown.
        round_trip: rupees realised since the position was last flat or changed sides, less charges.
        losses: number of losing round trips in a row.
        lost_at: market time at which the last of them ended; None if there is none or the time is unknown.
        last_request: what the last approved signal asked for, as text; empty if none was approved.
        last_request_at: market time of that approval; None if it was unknown.
    """

    cost: Decimal = ZERO
    round_trip: Decimal = ZERO
    losses: int = 0
    lost_at: datetime | None = None
    last_request: str = ""
    last_request_at: datetime | None = None


NO_TRADES = TradeHistory()


class PositionState(Struct, frozen=True, gc=False):
    """The state of one position.

    Attributes:
        key: its key.
        quantity: signed units held: the sum of the fills in order events.
        opened_at: market time of the fill that opened it, or that changed its side; None if flat or unknown.
        open: the open order; None if there is none.
        waiting: the target that is decided when `open` ends; None if none waits.
        history: history of its trades.
        margin: rupees of the account's funds that the position blocks; 0 where they aren't tracked.
        blocked: rupees that the open order blocks besides.
    """

    key: PositionKey
    quantity: int = 0
    opened_at: datetime | None = None
    open: OrderProgress | None = None
    waiting: Signal | None = None
    history: TradeHistory = NO_TRADES
    margin: Decimal = ZERO
    blocked: Decimal = ZERO

    @property
    def max_units(self) -> int:
        """The largest number of units, long or short, that the position can reach with its open order."""
        in_flight = self.open.on_its_way if self.open is not None else 0
        return max(abs(self.quantity), abs(self.quantity + in_flight))


def is_square_off(signal: Signal) -> bool:
    """Whether a signal is a square-off made by risk; a strategy's target never replaces a waiting one."""
    return signal.target == 0 and signal.config_revision == 0 and signal.key.strategy_id != MANUAL


def request_of(signal: Signal) -> str:
    """What a signal asks for, as text; the same text for the same request."""
    if signal.side is None:
        return f"target {signal.target}"
    return f"{signal.side.name} {signal.quantity}"


def after_event(
    before: OrderProgress | None, order: OrderState, fill: Fill | None = None, *, priced: bool = True
) -> OrderProgress | None:
    """The order's progress after an event; None if this revision, or a later one, was applied before.

    Args:
        before: the order's progress so far; None if it wasn't known.
        order: the order's state after the event.
        fill: the event's fill; if more units filled since `before`, the order's average price counts instead.
        priced: False if the value of fills isn't needed.
    """
    if before is not None and order.revision <= before.revision:
        return None
    filled, value, charges = (
        (before.filled, before.value, before.charges) if before is not None else (0, ZERO, ZERO)
    )
    if priced and order.filled != filled:
        if fill is not None and filled + fill.quantity == order.filled:
            value += fill.quantity * fill.price
            charges += fill.commission
        elif order.average_price is not None:
            value = to_paisa(order.filled * order.average_price)
            charges = order.charges if order.charges is not None else charges
    return OrderProgress(
        order.signal_id,
        order.key,
        order.side,
        order.quantity,
        order.filled,
        order.revision,
        order.status.is_final,
        value,
        charges,
        order.terms is not AT_MARKET and order.terms.rests,
    )


def after_fill(
    state: PositionState, delta: int, value: Decimal | None, at: datetime | None, charges: Decimal = ZERO
) -> tuple[PositionState, Decimal]:
    """The position after a fill, and the rupees that the fill realised, before charges.

    A partial close removes its share of the cost, rounded to the paisa; a full close removes all of it.

    Args:
        state: the position before.
        delta: signed units filled.
        value: signed rupees: positive if paid, negative if received; None if they aren't needed, and the history then
            stays as it is.
        at: market time of the fill; None if it is unknown.
        charges: rupees that it cost. Of a fill that turns the position each round trip bears its units' share.
    """
    if not delta:
        return state, ZERO
    held, history = state.quantity, state.history
    quantity, cost = held + delta, history.cost
    if value is None:
        opened_at = None if not quantity else (state.opened_at or at) if held * quantity > 0 else at
        return _held(state, quantity, opened_at, history), ZERO
    if held * delta >= 0:
        opened_at = (state.opened_at or at) if held else at
        more = cost + value if cost or not held else ZERO
        after = TradeHistory(
            more,
            history.round_trip - charges,
            history.losses,
            history.lost_at,
            history.last_request,
            history.last_request_at,
        )
        return _held(state, quantity, opened_at, after), ZERO
    carried = ZERO
    if held * quantity > 0:
        removed = to_paisa(cost * abs(delta) / abs(held))
        realised = -value - removed if cost else ZERO
        left = cost - removed
    else:
        opening = (value * abs(quantity) / abs(delta)).quantize(_EXACT)
        realised = opening - value - cost if cost else ZERO
        left = opening
        carried = to_paisa(charges * abs(quantity) / abs(delta)) if charges else ZERO
    round_trip = history.round_trip + realised - (charges - carried)
    losses, lost_at = history.losses, history.lost_at
    opened_at = state.opened_at or at
    if held * quantity <= 0:
        losses, lost_at = (losses + 1, at) if round_trip < 0 else (0, None)
        round_trip, opened_at = -carried, at if quantity else None
    after = TradeHistory(left, round_trip, losses, lost_at, history.last_request, history.last_request_at)
    return _held(state, quantity, opened_at, after), realised


def after_adjustment(
    state: PositionState, delta: int, value: Decimal, at: datetime | None, kind: AdjustmentKind
) -> PositionState:
    """The position after units of it changed without a trade: their cost comes or goes with them, and nothing is realised.

    Args:
        state: the position before.
        delta: signed change of the units.
        value: signed rupees that they cost, rounded.
        at: market time; None if it is unknown.
        kind: why.
    """
    held, history = state.quantity, state.history
    quantity, cost = held + delta, history.cost
    if kind is AdjustmentKind.CORPORATE_ACTION:
        after = cost
    elif held * delta >= 0:
        after = cost + value if cost or not held else ZERO
    elif held * quantity > 0:
        after = cost - to_paisa(cost * abs(delta) / abs(held))
    else:
        after = (value * abs(quantity) / abs(delta)).quantize(_EXACT)
    opened_at = None if not quantity else (state.opened_at or at) if held * quantity > 0 else at
    return _held(state, quantity, opened_at, replace(history, cost=after))


def _held(
    state: PositionState, quantity: int, opened_at: datetime | None, history: TradeHistory
) -> PositionState:
    return PositionState(
        state.key, quantity, opened_at, state.open, state.waiting, history, state.margin, state.blocked
    )
