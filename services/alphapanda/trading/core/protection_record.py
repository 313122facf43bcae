"""The protection of a position as it is stored, and the orders that it makes.

A protection begins with the entry that asks for it (ARMED), is in force from the entry's first fill (ACTIVE), and ends when
nothing is held and nothing of it can fill (ENDED). A position has at most one that is ACTIVE: a later entry with levels of its
own hands them over to it. Its id is the id of its first entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Final

from alphapanda.domain import ids
from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Side
from alphapanda.domain.price_grid import GridRule
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET, Protection, Terms
from alphapanda.trading.core.intent import PRODUCER, intents_of
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.core.protection import Guard, with_levels
from alphapanda.trading.core.protection_actions import PlaceStop, Reason, SendExit

EXIT_LIFE: Final = timedelta(seconds=60)
"""Market time after which an exit of its own is reduced to what is held."""
STOP_LIMIT: Final = Decimal("0.03")
"""How far beyond its trigger a stop's limit is, as a share of the trigger. A stop is an SL order, because SL-M orders are
blocked on some segments; where the price jumps over the limit, the stop doesn't fill and the position is exited at the market."""


class ProtectionState(IntEnum):
    """State of a protection; numbered as in panda.trading.v1."""

    ARMED = 1
    ACTIVE = 2
    ENDED = 3


@dataclass(slots=True)
class ProtectionRecord:
    """The protection of a position.

    Attributes:
        protection_id: id of the entry that it began with.
        key: the position.
        instrument_token: the broker's token.
        correlation_id: of the entry.
        levels: what the newest entry asked for.
        guard: what it remembers.
        state: ARMED, ACTIVE or ENDED.
        entries: ids of the entries that it protects.
        stop_order_id: its newest stop; empty if there was none since its levels were set anew.
        exit_order_id: its newest exit; likewise.
        stops: stops placed.
        exits: exits sent.
        since: market time from which it was in force; a bar that began before doesn't show what its position saw.
        ended: why it ended; None before.
        message: what a person has to know of it, one sentence; may be empty.
    """

    protection_id: str
    key: PositionKey
    instrument_token: int
    correlation_id: str
    levels: Protection
    guard: Guard
    state: ProtectionState = ProtectionState.ARMED
    entries: list[str] = field(default_factory=list)
    stop_order_id: str = ""
    exit_order_id: str = ""
    stops: int = 0
    exits: int = 0
    since: datetime | None = None
    ended: Reason | None = None
    message: str = ""

    @classmethod
    def armed(cls, entry: Order, levels: Protection) -> ProtectionRecord:
        """The protection that an entry asks for."""
        return cls(
            entry.order_id,
            entry.key,
            entry.instrument_token,
            entry.correlation_id,
            levels,
            Guard(entry.side, levels.stop_loss, levels.target, levels.trail),
            entries=[entry.order_id],
        )

    @property
    def own_orders(self) -> tuple[str, ...]:
        """Ids of its newest stop and exit."""
        return tuple(filter(None, (self.stop_order_id, self.exit_order_id)))

    def end(self, reason: Reason, message: str = "") -> None:
        """Ends it."""
        self.state, self.ended = ProtectionState.ENDED, reason
        self.message = message or self.message

    def hand_over(self, to: ProtectionRecord, orders: Mapping[str, Order]) -> None:
        """Gives its levels and its entry to the position's protection that is in force, and ends."""
        to.levels, to.entries = self.levels, [*to.entries, *self.entries]
        to.guard = with_levels(to.guard, self.levels.stop_loss, self.levels.target, self.levels.trail)
        for name in ("stop_order_id", "exit_order_id"):
            order = orders.get(getattr(to, name))
            if order is not None and order.status.is_final:
                setattr(to, name, "")
        self.end(Reason.REPLACED, f"its levels went to the protection of order {to.protection_id}")

    def order_of(
        self,
        action: PlaceStop | SendExit,
        grid: GridRule,
        parts: Sequence[int],
        now: datetime,
        session_close: datetime | None,
    ) -> Order:
        """The order that carries an action out; it is noted as the newest one of its kind.

        Args:
            action: a stop or an exit.
            grid: the instrument's price grid on the day.
            parts: units of each slice.
            now: market time, or wall time where that is unknown.
            session_close: end of the open session; None if it isn't known.
        """
        terms, valid_until = AT_MARKET, now + EXIT_LIFE
        if isinstance(action, PlaceStop):
            signal_id = self._signal_id("stop", self.stops)
            terms = stop_terms(self.guard.exits_with, action.trigger, grid)
            valid_until = session_close or valid_until
            self.stop_order_id, self.stops = order_id_of(signal_id), self.stops + 1
        else:
            signal_id = self._signal_id("exit", self.exits)
            self.exit_order_id, self.exits = order_id_of(signal_id), self.exits + 1
        order_id = order_id_of(signal_id)
        return Order(
            order_id=order_id,
            signal_id=signal_id,
            correlation_id=self.correlation_id,
            causation_id=self.protection_id,
            key=self.key,
            instrument_token=self.instrument_token,
            config_revision=0,
            side=self.guard.exits_with,
            quantity=action.quantity,
            terms=terms,
            effect=PositionEffect.REDUCES,
            valid_until=valid_until,
            status=OrderStatus.PENDING_SUBMIT,
            intents=intents_of(order_id, parts, 0),
            protective=True,
        )

    def _signal_id(self, kind: str, number: int) -> str:
        return ids.output_id(PRODUCER, self.protection_id, f"protective {kind}", number)


def stop_terms(side: Side, trigger: Decimal, grid: GridRule) -> Terms:
    """The terms of a stop: an SL order whose limit leaves room beyond its trigger."""
    sign = side.sign
    limit = grid.against(trigger * (1 + sign * STOP_LIMIT), buys=side is Side.BUY)
    return Terms(OrderType.SL, limit_price=limit, trigger_price=trigger)
