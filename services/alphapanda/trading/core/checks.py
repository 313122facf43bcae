"""What is checked just before an order is sent; the first that fails decides.

Fails closed for entries and lets exits through (rule 4): an unknown input never keeps an exit from a live broker, but
a simulated one can't fill without a price and a market time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from msgspec import Struct

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import FailureReason, TradingState
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import MANUAL
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.slicing import slices

OptIns = Callable[[str], Collection[str]]
"""The brokers that a strategy opted in to; empty for one that isn't known."""


@dataclass(frozen=True, slots=True)
class Go:
    """It may be sent: the unsent intents as they shall be, units each."""

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NotSent:
    """It ends here: why, and one sentence for a person."""

    reason: FailureReason
    message: str


class Circumstances(Struct, frozen=True):
    """What the checks look at besides the order.

    Attributes:
        instrument: the order's; None where it isn't known.
        market: price and market time.
        position: units held under the order's key by trading's own fills, signed; asked of late exits only.
        state: what may be traded at the broker, the strictest that is known.
        simulated: True where the broker is a paper exchange.
    """

    instrument: Instrument | None
    market: MarketView
    position: int
    state: TradingState
    simulated: bool


class PreSubmitChecks:
    """The checks.

    Args:
        router: which brokers get what.
        opt_ins: what each strategy opted in to.
        calendar: sessions.
        price_max_age: market time after which an entry's price is stale.
    """

    def __init__(
        self,
        router: ExecutionRouter,
        opt_ins: OptIns,
        calendar: TradingCalendar,
        price_max_age: timedelta,
    ) -> None:
        self._router = router
        self._opt_ins = opt_ins
        self._calendar = calendar
        self._price_max_age = price_max_age

    def judge(self, order: Order, at: Circumstances) -> Go | NotSent:
        """Whether the next intent may be sent."""
        instrument = at.instrument
        if instrument is None:
            return NotSent(
                FailureReason.NOT_EXECUTABLE, f"no instrument {order.key.instrument_id!r} is known"
            )
        refused = (
            self._routed(order) or _permitted(order, at.state) or self._in_session(order, instrument, at)
        )
        if refused is not None:
            return refused
        quantity = _in_time(order, at)
        if isinstance(quantity, NotSent):
            return quantity
        return self._priced(order, at) or _fitting(quantity, instrument.lot_size, instrument.freeze_quantity)

    def _routed(self, order: Order) -> NotSent | None:
        broker, strategy = order.key.broker, order.key.strategy_id
        if not self._router.is_enabled(broker):
            return NotSent(FailureReason.NOT_ROUTED, f"broker {broker!r} is off")
        # An exit follows the position, wherever the strategy trades now.
        if strategy == MANUAL or not order.effect.is_entry:
            return None
        if broker not in self._router.brokers(self._opt_ins(strategy)):
            return NotSent(FailureReason.NOT_ROUTED, f"strategy {strategy!r} trades no longer at {broker!r}")
        return None

    def _in_session(self, order: Order, instrument: Instrument, at: Circumstances) -> NotSent | None:
        market_time = at.market.market_time
        if market_time is None:
            if order.effect.is_entry or at.simulated:
                return NotSent(FailureReason.MARKET_TIME_UNKNOWN, "market time is unknown")
            return None
        try:
            session = self._calendar.session_at(market_time, instrument.session_segment)
        except CalendarNotCovered as unknown:
            return NotSent(FailureReason.MARKET_CLOSED, str(unknown)) if order.effect.is_entry else None
        if session is None:
            return NotSent(
                FailureReason.MARKET_CLOSED,
                f"the session of {instrument.symbol} doesn't hold {market_time.isoformat()}",
            )
        return None

    def _priced(self, order: Order, at: Circumstances) -> NotSent | None:
        entry = order.effect.is_entry
        if not entry and not at.simulated:
            return None
        last = at.market.prices.get(order.instrument_token)
        if last is None:
            return NotSent(FailureReason.NO_PRICE, f"no price of {order.key.instrument_id} is known")
        market_time = at.market.market_time
        if entry and market_time is not None and market_time - last.traded_at > self._price_max_age:
            return NotSent(
                FailureReason.STALE_PRICE,
                f"the price of {order.key.instrument_id} is of {last.traded_at.isoformat()},"
                f" older than {self._price_max_age.total_seconds():g} s at {market_time.isoformat()}",
            )
        return None


def _permitted(order: Order, state: TradingState) -> NotSent | None:
    if state.permits(entry=order.effect.is_entry):
        return None
    return NotSent(FailureReason.KILL_SWITCH, f"{order.key.broker!r} is {state.name}")


def _in_time(order: Order, at: Circumstances) -> int | NotSent:
    """Units to send. A late entry isn't sent, a late exit only as far as there is something left to exit."""
    unsent = order.unsent()
    market_time = at.market.market_time
    if market_time is None or market_time <= order.valid_until:
        return unsent
    late = f"valid until {order.valid_until.isoformat()}, it is {market_time.isoformat()}"
    if order.effect.is_entry:
        return NotSent(FailureReason.EXPIRED, late)
    quantity = min(unsent, max(-order.side.sign * at.position, 0))
    if quantity == 0:
        return NotSent(FailureReason.NOTHING_TO_EXIT, f"{late}; the position is {at.position}")
    return quantity


@lru_cache(maxsize=4096)
def _fitting(quantity: int, lot_size: int, freeze_quantity: int) -> Go | NotSent:
    try:
        return Go(slices(quantity, lot_size, freeze_quantity))
    except InvalidInput as unfit:
        return NotSent(FailureReason.NOT_EXECUTABLE, str(unfit))
