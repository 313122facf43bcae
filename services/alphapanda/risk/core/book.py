"""The positions, orders and verdicts that decisions are made on. Replay keeps one whole; a store loads what a batch touches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from typing import TypeVar

from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect
from alphapanda.domain.order_events import Fill, OrderState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.risk.core.check import Inputs, StrategyRevisionUnknown
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.decide import Applied, apply_order, decide, refused
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.position import OrderProgress, PositionState
from alphapanda.risk.core.rules import daily_loss, order_rate
from alphapanda.risk.core.square_off import due_square_offs

K = TypeVar("K")
V = TypeVar("V")

DayKey = tuple[str, str, str]
"""Broker, account, and a strategy's id or WHOLE_ACCOUNT."""


class RiskBook:
    """One code path for every way of running. A method that raises has changed nothing.

    Args:
        positions: those that aren't flat and untouched.
        orders: those that were approved, or that an order event was about.
        judged: ids of signals that have their verdict.
        days: the newest counters of accounts and strategies.
        keeps_accounts: False where no limit will ever read costs, the day's counters or the last request: a replay's
            limits don't change, and that is a tenth of its time.
    """

    def __init__(
        self,
        positions: Iterable[PositionState] = (),
        orders: Iterable[OrderProgress] = (),
        judged: Iterable[str] = (),
        days: Mapping[DayKey, DayCounters] | None = None,
        *,
        keeps_accounts: bool = True,
    ) -> None:
        self.positions = {state.key: state for state in positions}
        self.orders = {order.signal_id: order for order in orders}
        self.judged = set(judged)
        self.days = dict(days or {})
        self.keeps_accounts = keeps_accounts

    def position(self, key: PositionKey) -> PositionState:
        """What is known under a key; flat where nothing is."""
        return self.positions.get(key) or PositionState(key)

    def alive(self, broker: str, account: str) -> Iterable[PositionState]:
        """The account's positions that are held or have an open order."""
        return [
            state
            for key, state in self.positions.items()
            if (state.quantity or state.open) and key.account == account and key.broker == broker
        ]

    def today(self, key: PositionKey, whose: str, inputs: Inputs) -> DayCounters | None:
        """The counters of the exchange's day; None where the market's time is unknown."""
        at = inputs.market.market_time
        return None if at is None else self._counters(key, whose, inputs.calendar.trading_day(at))

    def judge(self, signal: Signal, inputs: Inputs) -> list[Verdict]:
        """The verdicts that follow from a signal: its own, an older waiting one's, or none (it waits, or was seen).

        Raises:
            StrategyRevisionUnknown: its strategy's revision isn't known yet.
        """
        if signal.signal_id in self.judged:
            return []
        state = self.position(signal.key)
        if state.waiting is not None and state.waiting.signal_id == signal.signal_id:
            return []
        return self._decide(state, signal, inputs)

    def discard(self, signal: Signal, inputs: Inputs) -> list[Verdict]:
        """The verdict on a signal that a person gave up while it was parked; none where it has one already."""
        if signal.signal_id in self.judged:
            return []
        self.judged.add(signal.signal_id)
        return [refused(signal, inputs, "DISCARDED", "a person discarded it while it was parked")]

    def on_order(self, order: OrderState, inputs: Inputs, fill: Fill | None = None) -> list[Verdict]:
        """The verdicts that follow from an order event: the waiting target's where the open order has ended.

        Args:
            order: as it stands now.
            inputs: for the waiting target.
            fill: the one that the event tells of; None where it tells of none.

        Raises:
            StrategyRevisionUnknown: of the waiting target.
        """
        keeps = self.keeps_accounts
        before = self.orders.get(order.signal_id)
        applied = apply_order(self.position(order.key), before, order, fill, inputs, priced=keeps)
        if applied.order is None:
            return []
        undo = self._undo(order.key) if applied.freed is not None else None
        self.positions[order.key] = applied.state
        if keeps:
            if applied.gained or applied.unfilled:
                self._count(applied, order.market_time or inputs.market.market_time, inputs)
            self._trip(order.key, inputs)
        verdicts: list[Verdict] = []
        if applied.freed is not None:
            try:
                verdicts = self._decide(applied.state, applied.freed, inputs)
            except StrategyRevisionUnknown:
                if undo is not None:
                    undo()
                raise
        self.orders[order.signal_id] = applied.order
        return verdicts

    def release(self, key: PositionKey, signal_id: str, inputs: Inputs) -> list[Verdict]:
        """Ends the reservation of an order that never appeared and never will, as though it had failed unsent.

        Returns:
            The verdict on the target that waited for it; nothing where it has appeared after all, or has ended.

        Raises:
            StrategyRevisionUnknown: of the waiting target.
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
            order_type=OrderType.MARKET,
            effect=effect,
            status=OrderStatus.FAILED,
            revision=1,
            filled=0,
            leaves=0,
            average_price=None,
            market_time=inputs.market.market_time,
        )
        return self.on_order(never_sent, inputs)

    def due(self, inputs: Inputs, brokers: Collection[str], cause: str) -> list[Signal]:
        """The square-offs that are due at these brokers, to be judged like any signal; none while market time is unknown.

        Args:
            inputs: market time, calendar, instruments, the cut-off.
            brokers: simulated ones; a live broker squares off itself.
            cause: id of the frame whose market time made them due.
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
        )
        return [signal for signal in demands if signal.signal_id not in self.judged]

    def _decide(self, state: PositionState, signal: Signal, inputs: Inputs) -> list[Verdict]:
        limits = inputs.limits_for(signal.key)
        decision = decide(state, signal, inputs, limits, self)
        state = decision.state
        self.positions[state.key] = state
        if state.open is not None:
            self.orders[state.open.signal_id] = state.open
        for verdict in decision.verdicts:
            self.judged.add(verdict.signal_id)
            if self.keeps_accounts and isinstance(verdict, Approved):
                self._count_order(state.key, limits, inputs)
        if self.keeps_accounts:
            self._trip(state.key, inputs)
        return list(decision.verdicts)

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

    def _count(self, applied: Applied, at: datetime | None, inputs: Inputs) -> None:
        """Takes an order's outcome into the day it belongs to; one of an earlier day changes nothing."""
        key, last_request_at = applied.state.key, applied.state.history.last_request_at
        if at is None:
            return
        day = inputs.calendar.trading_day(at)
        of_today = last_request_at is not None and inputs.calendar.trading_day(last_request_at) == day
        unfilled = applied.unfilled and of_today
        for whose in (WHOLE_ACCOUNT, key.strategy_id):
            counters = self._counters(key, whose, day)
            if counters.day == day:
                self.days[key.broker, key.account, whose] = counters.with_outcome(
                    applied.gained, unfilled=unfilled
                )

    def _trip(self, key: PositionKey, inputs: Inputs) -> None:
        most = inputs.limits_for(key).of(daily_loss.LIMIT)
        today = None if most is None else self.today(key, WHOLE_ACCOUNT, inputs)
        if most is None or today is None or today.tripped:
            return
        why = daily_loss.tripping(today, most, self, key, inputs)
        if why:
            self.days[key.broker, key.account, WHOLE_ACCOUNT] = today.with_trip(why)

    def _counters(self, key: PositionKey, whose: str, day: date) -> DayCounters:
        """Those that are kept, or new ones where they are of an earlier day."""
        kept = self.days.get((key.broker, key.account, whose))
        return kept if kept is not None and kept.day >= day else DayCounters(day)

    def _undo(self, key: PositionKey) -> Callable[[], None]:
        """Puts a position and its counters back as they are now."""
        whose = [(key.broker, key.account, one) for one in (WHOLE_ACCOUNT, key.strategy_id)]
        state, days = self.positions.get(key), [(one, self.days.get(one)) for one in whose]

        def undo() -> None:
            _put_back(self.positions, key, state)
            for one, counters in days:
                _put_back(self.days, one, counters)

        return undo


def _put_back(where: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        where.pop(key, None)
    else:
        where[key] = value
