"""The checks just before an order is sent; the first one that fails ends the order.

An unknown input refuses entries and lets exits pass (rule 4): it never keeps an exit from a live broker. A paper exit
needs a price and a market time, because the paper exchange can't fill without them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

from msgspec import Struct

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.capabilities import Can
from alphapanda.domain.capability_question import Phase
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import FailureReason, TradingState
from alphapanda.domain.order_acceptance import acceptance_of
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.domain.signal import MANUAL
from alphapanda.domain.terms import Terms, check_protection
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.slicing import slices

OptIns = Callable[[str], Collection[str]]
"""Returns the brokers that a strategy opted in to; empty for an unknown strategy."""

_CONTINUOUS: Final = Phase.CONTINUOUS
_YES: Final = Can.YES
_ACTIVE: Final = TradingState.ACTIVE


@dataclass(frozen=True, slots=True)
class Go:
    """The order may be sent; `parts` are the units of each intent still to send."""

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NotSent:
    """The order ends unsent, with the reason and one sentence for a person."""

    reason: FailureReason
    message: str


class CheckInputs(Struct, frozen=True, gc=False):
    """Inputs of the checks besides the order.

    Attributes:
        instrument: the order's instrument; None where it is unknown.
        market: prices and market time.
        position: units held under the order's key by trading's own fills, signed; used for late exits only.
        state: what may be traded, the strictest state known.
        simulated: True for a paper broker.
        not_ready: why the broker gets no orders now, in one line; empty where it does.
        whose: names the kill switch that has this state; empty: the broker's.
        freeze_quantity: most units of one order at the broker, 0 if no limit is known; None: the instrument's.
    """

    instrument: Instrument | None
    market: MarketView
    position: int
    state: TradingState
    simulated: bool
    not_ready: str = ""
    whose: str = ""
    freeze_quantity: int | None = None


class PreSubmitChecks:
    """Checks an order before each of its broker calls.

    Args:
        router: which brokers get a strategy's orders.
        opt_ins: the brokers each strategy opted in to.
        calendar: sessions.
        price_max_age: market time after which an entry's price is stale.
        ask_after: market time after its validity at which an exit isn't sent to a live broker any more, and a person is asked.
        paper_as_live: whether a paper broker gets no order that the exchange or Zerodha would refuse.
    """

    def __init__(
        self,
        router: ExecutionRouter,
        opt_ins: OptIns,
        calendar: TradingCalendar,
        price_max_age: timedelta,
        ask_after: timedelta = timedelta(minutes=30),
        *,
        paper_as_live: bool = True,
    ) -> None:
        self._router = router
        self._opt_ins = opt_ins
        self._calendar = calendar
        self._price_max_age = price_max_age
        self._ask_after = ask_after
        self._paper_as_live = paper_as_live
        self._acceptance = acceptance_of(calendar)

    def judge(self, order: Order, inputs: CheckInputs) -> Go | NotSent:
        """Decides whether the next intent may be sent."""
        instrument = inputs.instrument
        if instrument is None:
            return NotSent(
                FailureReason.NOT_EXECUTABLE, f"no instrument {order.key.instrument_id!r} is known"
            )
        refused = self._routed(order) or _permitted(order, inputs)
        if inputs.not_ready and refused is None:
            refused = _ready(order, inputs)
        if refused is not None:
            return refused
        freeze = instrument.freeze_quantity if inputs.freeze_quantity is None else inputs.freeze_quantity
        if order.filled and _is_filling(order, inputs):
            return _fitting(order.unsent(), instrument.lot_size, freeze)
        if (closed := self._in_session(order, instrument, inputs)) is not None:
            return closed
        quantity = _in_time(order, inputs, self._ask_after)
        if isinstance(quantity, NotSent):
            return quantity
        return (
            self._accepted(order, instrument, inputs)
            or self._priced(order, inputs)
            or (None if order.protection is None else _protectable(order, inputs, freeze))
            or _fitting(quantity, instrument.lot_size, freeze)
        )

    def _routed(self, order: Order) -> NotSent | None:
        broker, strategy = order.key.broker, order.key.strategy_id
        if not self._router.is_enabled(broker):
            return NotSent(FailureReason.NOT_ROUTED, f"broker {broker!r} is off")
        # An exit goes where the position is, even if the strategy no longer trades there.
        if strategy == MANUAL or not order.effect.is_entry:
            return None
        if broker not in self._router.brokers(self._opt_ins(strategy)):
            return NotSent(FailureReason.NOT_ROUTED, f"strategy {strategy!r} trades no longer at {broker!r}")
        return None

    def _in_session(self, order: Order, instrument: Instrument, inputs: CheckInputs) -> NotSent | None:
        market_time = inputs.market.market_time
        if market_time is None:
            if order.effect.is_entry or inputs.simulated:
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

    def _accepted(self, order: Order, instrument: Instrument, inputs: CheckInputs) -> NotSent | None:
        why = self.refusal(order, order.terms, instrument, inputs.market, simulated=inputs.simulated)
        return NotSent(FailureReason.NOT_EXECUTABLE, why) if why else None

    def refusal(
        self, order: Order, terms: Terms, instrument: Instrument, market: MarketView, *, simulated: bool
    ) -> str:
        """Why the exchange or the broker would refuse an order with these terms, one sentence; empty where they wouldn't.

        It is sent to no broker then, paper included (REAL_MONEY rule 3).
        """
        market_time, entry = market.market_time, order.effect.is_entry
        if market_time is None or (simulated and not self._paper_as_live):
            return ""
        last = market.prices.get(order.instrument_token)
        answer = self._acceptance.answer(
            instrument,
            order.side,
            order.key.product,
            terms,
            _CONTINUOUS,  # the session was checked
            self._calendar.trading_day(market_time),
            None if last is None else last.price,
            opens=entry,
        )
        passes = answer.can is _YES or (answer.can is Can.UNKNOWN and not entry)
        return "" if passes else f"{instrument.symbol}: {answer.message}"

    def _priced(self, order: Order, inputs: CheckInputs) -> NotSent | None:
        entry = order.effect.is_entry
        if not entry and not inputs.simulated:
            return None
        last = inputs.market.prices.get(order.instrument_token)
        if last is None:
            return NotSent(FailureReason.NO_PRICE, f"no price of {order.key.instrument_id} is known")
        market_time = inputs.market.market_time
        if last.bar is not None:  # it doesn't fill at this price
            return None
        if entry and market_time is not None and market_time - last.traded_at > self._price_max_age:
            return NotSent(
                FailureReason.STALE_PRICE,
                f"the price of {order.key.instrument_id} is of {last.traded_at.isoformat()},"
                f" older than {self._price_max_age.total_seconds():g} s at {market_time.isoformat()}",
            )
        return None


def _permitted(order: Order, inputs: CheckInputs) -> NotSent | None:
    if inputs.state is _ACTIVE or inputs.state.permits(entry=order.effect.is_entry):
        return None
    whose = inputs.whose or f"broker {order.key.broker!r}"
    return NotSent(FailureReason.KILL_SWITCH, f"{whose} is {inputs.state.name}")


def _ready(order: Order, inputs: CheckInputs) -> NotSent | None:
    """An entry is refused while its broker isn't ready. An exit isn't: whoever sends it waits for the broker."""
    if inputs.not_ready and order.effect.is_entry:
        return NotSent(FailureReason.BROKER_NOT_READY, inputs.not_ready)
    return None


def _is_filling(order: Order, inputs: CheckInputs) -> bool:
    """Whether it, filled in part, is the rest of an order that the paper exchange has held: its first slice has filled at this bar's open."""
    last = inputs.market.prices.get(order.instrument_token)
    return bool(last and last.bar and last.bar.start == order.market_time)


def _in_time(order: Order, inputs: CheckInputs, ask_after: timedelta) -> int | NotSent:
    """Units to send. After valid_until an entry isn't sent, and an exit is reduced to the position.

    Long after it an exit isn't sent to a live broker: the world may be another one by now (REAL_MONEY rule 13).
    """
    unsent = order.unsent()
    market_time = inputs.market.market_time
    if market_time is None or market_time <= order.valid_until:
        return unsent
    late = f"valid until {order.valid_until.isoformat()}, it is {market_time.isoformat()}"
    if order.effect.is_entry:
        return NotSent(FailureReason.EXPIRED, late)
    quantity = min(unsent, max(-order.side.sign * inputs.position, 0))
    if quantity == 0:
        return NotSent(FailureReason.NOTHING_TO_EXIT, f"{late}; the position is {inputs.position}")
    if not inputs.simulated and market_time - order.valid_until > ask_after:
        minutes = ask_after.total_seconds() / 60
        return NotSent(
            FailureReason.EXPIRED,
            f"{late}: an exit that is later than {minutes:g} minutes is for a person; the position is {inputs.position}",
        )
    return quantity


def _protectable(order: Order, inputs: CheckInputs, freeze_quantity: int) -> NotSent | None:
    """An entry isn't sent whose protection couldn't rest whole, or would close it at once."""
    wanted = order.protection
    if wanted is None or not order.effect.is_entry:
        return None
    if wanted.stop_loss is not None and 0 < freeze_quantity < order.quantity:
        return NotSent(
            FailureReason.NOT_EXECUTABLE,
            f"{order.quantity} units with a stop: a stop can't be larger than the exchange's freeze quantity {freeze_quantity}",
        )
    last = inputs.market.prices.get(order.instrument_token)
    price = order.terms.limit_price or order.terms.trigger_price or (None if last is None else last.price)
    try:
        check_protection(wanted, order.side, price)
    except InvalidInput as wrong:
        return NotSent(FailureReason.NOT_EXECUTABLE, str(wrong))
    return None


@lru_cache(maxsize=4096)
def _fitting(quantity: int, lot_size: int, freeze_quantity: int) -> Go | NotSent:
    try:
        return Go(slices(quantity, lot_size, freeze_quantity))
    except InvalidInput as unfit:
        return NotSent(FailureReason.NOT_EXECUTABLE, str(unfit))
