"""The positions, orders and verdicts of risk, and the decisions on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, TypeVar

from alphapanda.domain.funds import AccountFunds, Payable
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import OrderStatus, PositionEffect
from alphapanda.domain.order_events import Fill, OrderState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.risk.core.check import Inputs, StrategyRevisionUnknown
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.decide import Applied, apply_order, decide, refused
from alphapanda.risk.core.funds import after_order, payable, reblocked
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.position import OrderProgress, PositionState
from alphapanda.risk.core.rejections import RejectionKey, Rejections, rejection_key
from alphapanda.risk.core.rules import daily_loss, order_rate
from alphapanda.risk.core.square_off import due_square_offs


class Superseded(NamedTuple):
    """A target waits for an order that rests at the exchange, so the order is to be cancelled: ids of both their signals."""

    key: PositionKey
    order_signal_id: str
    target_signal_id: str


K = TypeVar("K")
V = TypeVar("V")

DayKey = tuple[str, str, str]
"""(broker, account, strategy id or WHOLE_ACCOUNT)."""

AccountName = tuple[str, str]
"""(broker, account)."""


_TAKEN = frozenset({OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED})
_LONGEST_MESSAGE = 200


class RiskBook:
    """Decides signals and applies order events, on positions, orders and verdicts in memory.

    The services load the part of the book that a batch needs from the store; a replay keeps the whole book. A method that
    raises has changed nothing.

    Args:
        positions: positions with a quantity, an order or a history; a key without one is flat.
        orders: orders that were approved, or of which an order event came.
        judged: ids of signals that have a verdict.
        days: the newest day counters of accounts and strategies.
        funds: funds of simulated accounts; an account that is absent has unknown funds, or a live broker's.
        rejections: the broker's rejections in a row.
        tracks_history: False if no limit will ever read costs, day counters or last requests. A replay, whose limits
            don't change, saves a tenth of its time by that.
    """

    def __init__(
        self,
        positions: Iterable[PositionState] = (),
        orders: Iterable[OrderProgress] = (),
        judged: Iterable[str] = (),
        days: Mapping[DayKey, DayCounters] | None = None,
        funds: Mapping[AccountName, AccountFunds] | None = None,
        rejections: Mapping[RejectionKey, Rejections] | None = None,
        *,
        tracks_history: bool = True,
    ) -> None:
        self.positions = {state.key: state for state in positions}
        self.orders = {order.signal_id: order for order in orders}
        self.judged = set(judged)
        self.days = dict(days or {})
        self.funds = dict(funds or {})
        self.rejections = dict(rejections or {})
        self.tracks_history = tracks_history
        self.superseded: list[Superseded] = []

    def take_superseded(self) -> list[Superseded]:
        """The orders that targets were found to wait for since the last call, and that still work."""
        found, self.superseded = self.superseded, []
        working = []
        for one in found:
            order = self.position(one.key).open
            if order is not None and order.signal_id == one.order_signal_id:
                working.append(one)
        return working

    def position(self, key: PositionKey) -> PositionState:
        """The position under a key; flat if none is known."""
        return self.positions.get(key) or PositionState(key)

    def active_positions(self, broker: str, account: str) -> Iterable[PositionState]:
        """The account's positions that are held or have an open order."""
        return [
            state
            for key, state in self.positions.items()
            if (state.quantity or state.open) and key.account == account and key.broker == broker
        ]

    def funds_of(self, key: PositionKey) -> AccountFunds | None:
        """The funds of the account that a key names; None if they are unknown, or not tracked."""
        return self.funds.get((key.broker, key.account))

    def rejections_of(self, key: PositionKey) -> Rejections | None:
        """The broker's last rejections in a row in the instrument and product that a key names; None if there are none."""
        return self.rejections.get(rejection_key(key)) if self.rejections else None

    def today(self, key: PositionKey, whose: str, inputs: Inputs) -> DayCounters | None:
        """The counters of the exchange's current day; None if the market's time is unknown."""
        at = inputs.market.market_time
        return None if at is None else self._counters(key, whose, inputs.calendar.trading_day(at))

    def judge(self, signal: Signal, inputs: Inputs) -> list[Verdict]:
        """Decides a signal.

        Returns:
            Its verdict, or that on an older target which it replaces; empty if it waits for an open order, or was
            decided before.

        Raises:
            StrategyRevisionUnknown: the revision of its strategy isn't known yet.
        """
        if signal.signal_id in self.judged:
            return []
        state = self.position(signal.key)
        if state.waiting is not None and state.waiting.signal_id == signal.signal_id:
            return []
        return self._decide(state, signal, inputs)

    def waiting(self, signals: Iterable[Signal]) -> Iterable[str]:
        """The ids of those signals that wait for an open order."""
        for signal in signals:
            waits = self.position(signal.key).waiting
            if waits is not None and waits.signal_id == signal.signal_id:
                yield signal.signal_id

    def discard(self, signal: Signal, inputs: Inputs) -> list[Verdict]:
        """Refuses a signal that a person discarded while it was parked; empty if it has a verdict already."""
        if signal.signal_id in self.judged:
            return []
        self.judged.add(signal.signal_id)
        return [refused(signal, inputs, "DISCARDED", "a person discarded it while it was parked")]

    def on_order(
        self, order: OrderState, inputs: Inputs, fill: Fill | None = None, rejected: str | None = None
    ) -> list[Verdict]:
        """Applies an order event; if the open order has ended, decides the target that waited for it.

        Args:
            order: the order's state after the event.
            inputs: for the decision on the waiting target.
            fill: the event's fill; None if it has none.
            rejected: the broker's words where it rejected the order, else None.

        Returns:
            The verdict on the waiting target; empty if none waited or the order is still open.

        Raises:
            StrategyRevisionUnknown: the revision of the waiting target's strategy isn't known yet.
        """
        keeps, priced = self.tracks_history, self.tracks_history or inputs.funds is not None
        before, held = self.orders.get(order.signal_id), self.position(order.key)
        applied = apply_order(held, before, order, fill, inputs, priced=priced)
        if applied.order is None:
            return []
        charges = applied.order.charges - (before.charges if before is not None else ZERO)
        undo = self._undo(order.key) if applied.next_target is not None else None
        state = applied.state
        if inputs.funds is not None:
            at = order.market_time or inputs.market.market_time
            day = None if at is None else inputs.calendar.trading_day(at)
            state = after_order(held, state, before, applied.order, inputs, day)
            if (
                before is not None
                and before.revision
                and before.filled == order.filled
                and not applied.order.final
            ):
                state = reblocked(state, order, inputs, day)
            self._move_funds(held, state, applied.realised - charges)
        self.positions[order.key] = state
        self._supersede(state)
        if keeps:
            if applied.realised or applied.trades or charges:
                self._count(applied, charges, order.market_time or inputs.market.market_time, inputs)
            self._trip(order.key, inputs)
        self._count_rejection(order, rejected, inputs)
        verdicts: list[Verdict] = []
        if applied.next_target is not None:
            try:
                verdicts = self._decide(state, applied.next_target, inputs)
            except StrategyRevisionUnknown:
                if undo is not None:
                    undo()
                raise
        self.orders[order.signal_id] = applied.order
        return verdicts

    def payable(self, key: PositionKey, units: int, price: Decimal, at: datetime, inputs: Inputs) -> Payable:
        """What the account pays of an order that the exchange has held, at the price at which it fills.

        Args:
            key: the order's position.
            units: signed units of it that may fill now, not 0; what else of the order may still fill has to be paid, too.
            price: of the fill, rupees, slippage included.
            at: market time of the fill.
            inputs: instruments, calendar and terms.
        """
        terms = inputs.funds
        if terms is None or not terms.enforced:
            return Payable(abs(units))
        state = self.position(key)
        open_still = state.open.on_its_way if state.open is not None else 0
        whole = open_still if open_still * units > 0 else units
        instrument, day = inputs.instruments.by_id(key.instrument_id), inputs.calendar.trading_day(at)
        paid = payable(state, self.funds_of(key), whole, price, instrument, terms, day)
        return Payable(abs(units)) if paid.units >= abs(units) else paid

    def has_applied(self, order: OrderState) -> bool:
        """Whether an order event, or a later one of its order, was applied before."""
        before = self.orders.get(order.signal_id)
        return before is not None and before.revision >= order.revision

    def release(self, key: PositionKey, signal_id: str, inputs: Inputs) -> list[Verdict]:
        """Ends the reservation of an order that never appeared and never will, as if the order had failed unsent.

        Returns:
            The verdict on the target that waited for it; empty if none waited, or an event of the order has come.

        Raises:
            StrategyRevisionUnknown: the revision of the waiting target's strategy isn't known yet.
        """
        open_order = self.position(key).open
        if open_order is None or open_order.signal_id != signal_id or open_order.revision:
            return []
        effect = PositionEffect.of(self.position(key).quantity, open_order.on_its_way)
        never_sent = OrderState(
            order_id="",
            signal_id=signal_id,
            key=key,
            instrument_token=0,
            side=open_order.side,
            quantity=open_order.quantity,
            terms=AT_MARKET,
            effect=effect,
            status=OrderStatus.FAILED,
            revision=1,
            filled=0,
            leaves=0,
            average_price=None,
            market_time=inputs.market.market_time,
        )
        return self.on_order(never_sent, inputs)

    def due(
        self, inputs: Inputs, brokers: Collection[str], cause: str, live: Collection[str] = ()
    ) -> list[Signal]:
        """The square-off signals that are due at these brokers; empty while market time is unknown.

        Args:
            inputs: market time, calendar, instruments, the cut-off.
            brokers: the brokers.
            cause: id of the frame whose market time made them due.
            live: those of them whose orders reach a real exchange; there contracts are closed before they expire, too.
        """
        if inputs.market.market_time is None:
            return []
        demands = due_square_offs(
            self.positions.values(),
            market_time=inputs.market.market_time,
            calendar=inputs.calendar,
            instruments=inputs.instruments,
            cut_off=inputs.limits.mis_cut_off,
            brokers=brokers,
            cause=cause,
            live=live,
        )
        return [signal for signal in demands if signal.signal_id not in self.judged]

    def _decide(self, state: PositionState, signal: Signal, inputs: Inputs) -> list[Verdict]:
        limits = inputs.limits_for(signal.key)
        decision = decide(state, signal, inputs, limits, self)
        if decision.state is not state and inputs.funds is not None:
            self._move_funds(state, decision.state)
        state = decision.state
        self.positions[state.key] = state
        if state.open is not None:
            self.orders[state.open.signal_id] = state.open
            self._supersede(state)
        for verdict in decision.verdicts:
            self.judged.add(verdict.signal_id)
            if self.tracks_history and isinstance(verdict, Approved):
                self._count_order(state.key, limits, inputs)
        if self.tracks_history:
            self._trip(state.key, inputs)
        return list(decision.verdicts)

    def _supersede(self, state: PositionState) -> None:
        """Notes an open order that rests where a target waits for it."""
        order, target = state.open, state.waiting
        if target is not None and order is not None and order.rests:
            self.superseded.append(Superseded(state.key, order.signal_id, target.signal_id))

    def _move_funds(self, before: PositionState, after: PositionState, realised: Decimal = ZERO) -> None:
        """Moves the account's funds by what a position realised, less charges, and by what it now blocks."""
        margin, blocked = after.margin - before.margin, after.blocked - before.blocked
        whose = (after.key.broker, after.key.account)
        funds = self.funds.get(whose)
        if funds is not None and (realised or margin or blocked):
            self.funds[whose] = funds.moved(realised, margin, blocked)

    def _count_order(self, key: PositionKey, limits: Limits, inputs: Inputs) -> None:
        at = inputs.market.market_time
        if at is None:
            return
        day = inputs.calendar.trading_day(at)
        for whose, rate in (
            (WHOLE_ACCOUNT, limits.of(order_rate.OF_ACCOUNT)),
            (key.strategy_id, limits.of(order_rate.OF_STRATEGY)),
        ):
            counters = self._counters(key, whose, day)
            remembered = None if rate is None else limits.required(order_rate.WINDOW)
            self.days[key.broker, key.account, whose] = counters.with_order(at, remembered)

    def _count(self, applied: Applied, charges: Decimal, at: datetime | None, inputs: Inputs) -> None:
        """Adds an order's outcome to its day's counters; an outcome of an earlier day changes nothing."""
        key, last_request_at = applied.state.key, applied.state.history.last_request_at
        if at is None:
            return
        day = inputs.calendar.trading_day(at)
        of_today = last_request_at is not None and inputs.calendar.trading_day(last_request_at) == day
        trades = applied.trades if of_today else 0
        for whose in (WHOLE_ACCOUNT, key.strategy_id):
            counters = self._counters(key, whose, day)
            if counters.day == day:
                self.days[key.broker, key.account, whose] = counters.with_outcome(
                    applied.realised, trades, charges
                )

    def _count_rejection(self, order: OrderState, rejected: str | None, inputs: Inputs) -> None:
        """Counts a rejection in a row; an order that the broker took ends the row."""
        if rejected is None and not self.rejections:
            return
        before = self.rejections.get(whose := rejection_key(order.key))
        if rejected is None:
            if before is not None and before.count and (order.filled or order.status in _TAKEN):
                self.rejections[whose] = Rejections(before.day, 0, "")
            return
        at = order.market_time or inputs.market.market_time
        if at is not None:
            day = inputs.calendar.trading_day(at)
            count = before.count if before is not None and before.day == day else 0
            self.rejections[whose] = Rejections(day, count + 1, rejected[:_LONGEST_MESSAGE])

    def _trip(self, key: PositionKey, inputs: Inputs) -> None:
        most = inputs.limits_for(key).of(daily_loss.LIMIT)
        today = None if most is None else self.today(key, WHOLE_ACCOUNT, inputs)
        if most is None or today is None or today.tripped:
            return
        why = daily_loss.tripping(today, most, self, key, inputs)
        if why:
            self.days[key.broker, key.account, WHOLE_ACCOUNT] = today.with_trip(why)

    def _counters(self, key: PositionKey, whose: str, day: date) -> DayCounters:
        """The stored counters, or new ones if the stored ones are of an earlier day."""
        kept = self.days.get((key.broker, key.account, whose))
        return kept if kept is not None and kept.day >= day else DayCounters(day)

    def _undo(self, key: PositionKey) -> Callable[[], None]:
        """Returns a function that restores a position and its counters to their current values."""
        whose = [(key.broker, key.account, one) for one in (WHOLE_ACCOUNT, key.strategy_id)]
        state, days = self.positions.get(key), [(one, self.days.get(one)) for one in whose]
        account = (key.broker, key.account)
        funds = self.funds.get(account)
        rejections = self.rejections.get(rejection_key(key))

        def undo() -> None:
            _put_back(self.positions, key, state)
            _put_back(self.rejections, rejection_key(key), rejections)
            for one, counters in days:
                _put_back(self.days, one, counters)
            _put_back(self.funds, account, funds)

        return undo


def _put_back(where: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        where.pop(key, None)
    else:
        where[key] = value
