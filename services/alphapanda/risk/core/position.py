"""A position and what is on its way to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alphapanda.domain.order import Side
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import MANUAL, PositionKey, Signal
from alphapanda.domain.value import quickly_built


@quickly_built
@dataclass(frozen=True, slots=True)
class OrderProgress:
    """How far an order has got, as risk was told.

    Attributes:
        signal_id: the signal (or manual intent) it executes.
        key: whose position it moves.
        side: direction.
        quantity: units ordered, > 0.
        filled: units filled so far.
        revision: of the newest order event applied; 0 before the first.
        final: True once nothing can follow; the reservation has ended.
    """

    signal_id: str
    key: PositionKey
    side: Side
    quantity: int
    filled: int = 0
    revision: int = 0
    final: bool = False

    @property
    def on_its_way(self) -> int:
        """Signed units that may still fill."""
        return 0 if self.final else self.side.sign * (self.quantity - self.filled)


@quickly_built
@dataclass(frozen=True, slots=True)
class PositionState:
    """What risk knows under one position key.

    Attributes:
        key: whose it is.
        quantity: signed units held, fills of order events added up.
        opened_at: market time of the fill that took it from flat or across; None where flat or unknown.
        open: the one order that may still fill, None where there is none.
        waiting: the target to be decided when `open` ends, None where none waits.
    """

    key: PositionKey
    quantity: int = 0
    opened_at: datetime | None = None
    open: OrderProgress | None = None
    waiting: Signal | None = None


def is_square_off(signal: Signal) -> bool:
    """Whether it is risk's own demand to be flat at the cut-off; no strategy's target takes its place."""
    return signal.target == 0 and signal.config_revision == 0 and signal.key.strategy_id != MANUAL


def progressed(before: OrderProgress | None, order: OrderState) -> OrderProgress | None:
    """The order after an event; None where the event is old news (its revision was seen, or a later one)."""
    if before is not None and order.revision <= before.revision:
        return None
    return OrderProgress(
        order.signal_id,
        order.key,
        order.side,
        order.quantity,
        order.filled,
        order.revision,
        order.status.is_final,
    )


def moved(state: PositionState, delta: int, at: datetime | None) -> PositionState:
    """The position after `delta` signed units filled at a market time (None: unknown)."""
    if not delta:
        return state
    quantity = state.quantity + delta
    if quantity == 0:
        opened_at = None
    elif state.quantity * quantity > 0:
        opened_at = state.opened_at or at
    else:
        opened_at = at
    return PositionState(state.key, quantity, opened_at, state.open, state.waiting)
