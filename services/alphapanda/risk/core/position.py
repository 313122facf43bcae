"""A position and what is on its way to it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from alphapanda.domain.money import ZERO, to_paisa
from alphapanda.domain.order import Side
from alphapanda.domain.order_events import Fill, OrderState
from alphapanda.domain.signal import MANUAL, PositionKey, Signal

_EXACT = Decimal("0.0001")
"""The finest price there is, and so the finest cost."""


class OrderProgress(Struct, frozen=True):
    """How far an order has got, by the order events applied.

    Attributes:
        signal_id: the signal (or manual intent) it executes.
        key: whose position it moves.
        side: direction.
        quantity: units ordered, > 0.
        filled: units filled so far.
        revision: of the newest order event applied; 0 before the first.
        final: True once nothing can follow; the reservation has ended.
        value: rupees of what filled, >= 0, before charges.
    """

    signal_id: str
    key: PositionKey
    side: Side
    quantity: int
    filled: int = 0
    revision: int = 0
    final: bool = False
    value: Decimal = ZERO

    @property
    def on_its_way(self) -> int:
        """Signed units that may still fill."""
        return 0 if self.final else self.side.sign * (self.quantity - self.filled)


class TradeHistory(Struct, frozen=True):
    """What trading under a key has come to, as the rules of the day and of money read it.

    Attributes:
        cost: signed rupees that what is held was bought (or, short, sold) for; 0 where flat, or where it isn't known.
        round_trip: rupees realised since the position last was flat or crossed, before charges.
        losses: round trips in a row that lost.
        lost_at: market time at which the last of them ended; None where it is unknown or there is none.
        last_request: what the last approved signal asked for, as text; empty where none was approved.
        last_request_at: market time at which it was let through; None where it was unknown.
    """

    cost: Decimal = ZERO
    round_trip: Decimal = ZERO
    losses: int = 0
    lost_at: datetime | None = None
    last_request: str = ""
    last_request_at: datetime | None = None


NO_TRADES = TradeHistory()


class PositionState(Struct, frozen=True):
    """What risk knows under one position key.

    Attributes:
        key: whose it is.
        quantity: signed units held, fills of order events added up.
        opened_at: market time of the fill that took it from flat or across; None where flat or unknown.
        open: the one order that may still fill, None where there is none.
        waiting: the target to be decided when `open` ends, None where none waits.
        history: what its trades have come to.
    """

    key: PositionKey
    quantity: int = 0
    opened_at: datetime | None = None
    open: OrderProgress | None = None
    waiting: Signal | None = None
    history: TradeHistory = NO_TRADES

    @property
    def most(self) -> int:
        """Most units, long or short, that it can come to with what is on its way."""
        in_flight = self.open.on_its_way if self.open is not None else 0
        return max(abs(self.quantity), abs(self.quantity + in_flight))


def is_square_off(signal: Signal) -> bool:
    """Whether it is risk's own demand to be flat at the cut-off; no strategy's target takes its place."""
    return signal.target == 0 and signal.config_revision == 0 and signal.key.strategy_id != MANUAL


def request_of(signal: Signal) -> str:
    """What a signal asks for, as text; equal for equal requests."""
    if signal.side is None:
        return f"target {signal.target}"
    return f"{signal.side.name} {signal.quantity}"


def progressed(
    before: OrderProgress | None, order: OrderState, fill: Fill | None = None, *, priced: bool = True
) -> OrderProgress | None:
    """The order after an event; None where the event is old news (its revision was seen, or a later one).

    Args:
        before: the order as known; None where it wasn't.
        order: as it stands now.
        fill: the one that the event tells of; where it isn't all that filled since, the order's average counts.
        priced: False where nobody reads what fills were worth.
    """
    if before is not None and order.revision <= before.revision:
        return None
    filled, value = (before.filled, before.value) if before is not None else (0, ZERO)
    if priced and order.filled != filled:
        if fill is not None and filled + fill.quantity == order.filled:
            value += fill.quantity * fill.price
        elif order.average_price is not None:
            value = to_paisa(order.filled * order.average_price)
    return OrderProgress(
        order.signal_id,
        order.key,
        order.side,
        order.quantity,
        order.filled,
        order.revision,
        order.status.is_final,
        value,
    )


def moved(
    state: PositionState, delta: int, value: Decimal | None, at: datetime | None
) -> tuple[PositionState, Decimal]:
    """The position after a fill, and the rupees that it realised, before charges.

    A partial close takes its share of the cost, rounded to the paisa; a full close takes all of it.

    Args:
        state: before.
        delta: signed units filled.
        value: signed rupees they were worth: what was paid, or with a minus what was received; None where nobody
            reads them, the history then stays as it is.
        at: market time of the fill; None where it is unknown.
    """
    if not delta:
        return state, ZERO
    held, history = state.quantity, state.history
    quantity, cost = held + delta, history.cost
    if value is None:
        opened_at = None if not quantity else (state.opened_at or at) if held * quantity > 0 else at
        return PositionState(state.key, quantity, opened_at, state.open, state.waiting, history), ZERO
    if held * delta >= 0:
        opened_at = (state.opened_at or at) if held else at
        more = cost + value if cost or not held else ZERO
        after = TradeHistory(
            more,
            history.round_trip,
            history.losses,
            history.lost_at,
            history.last_request,
            history.last_request_at,
        )
        return PositionState(state.key, quantity, opened_at, state.open, state.waiting, after), ZERO
    if held * quantity > 0:
        removed = to_paisa(cost * abs(delta) / abs(held))
        gained = -value - removed if cost else ZERO
        left = cost - removed
    else:
        opening = (value * abs(quantity) / abs(delta)).quantize(_EXACT)
        gained = opening - value - cost if cost else ZERO
        left = opening
    round_trip, losses, lost_at = history.round_trip + gained, history.losses, history.lost_at
    opened_at = state.opened_at or at
    if held * quantity <= 0:
        losses, lost_at = (losses + 1, at) if round_trip < 0 else (0, None)
        round_trip, opened_at = ZERO, at if quantity else None
    after = TradeHistory(left, round_trip, losses, lost_at, history.last_request, history.last_request_at)
    return PositionState(state.key, quantity, opened_at, state.open, state.waiting, after), gained
