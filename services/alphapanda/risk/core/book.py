"""The positions, orders and verdicts that decisions are made on. Replay keeps one whole; a store loads what a batch touches."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from alphapanda.domain.order_events import OrderState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import Verdict
from alphapanda.risk.core.check import Inputs
from alphapanda.risk.core.decide import Decision, apply_order, decide
from alphapanda.risk.core.position import OrderProgress, PositionState
from alphapanda.risk.core.square_off import due_square_offs


class RiskBook:
    """One code path for every way of running. A method that raises has changed nothing.

    Args:
        positions: those that aren't flat and untouched.
        orders: those that were let through or told of.
        judged: ids of signals that have their verdict.
    """

    def __init__(
        self,
        positions: Iterable[PositionState] = (),
        orders: Iterable[OrderProgress] = (),
        judged: Iterable[str] = (),
    ) -> None:
        self.positions = {state.key: state for state in positions}
        self.orders = {order.signal_id: order for order in orders}
        self.judged = set(judged)

    def position(self, key: PositionKey) -> PositionState:
        """What is known under a key; flat where nothing is."""
        return self.positions.get(key) or PositionState(key)

    def judge(self, signal: Signal, inputs: Inputs) -> list[Verdict]:
        """The verdicts that follow from a signal: its own, an older waiting one's, or none (it waits, or was seen).

        Raises:
            StandingUnknown: its strategy's revision isn't known yet.
        """
        if signal.signal_id in self.judged:
            return []
        state = self.position(signal.key)
        if state.waiting is not None and state.waiting.signal_id == signal.signal_id:
            return []
        return self._take(decide(state, signal, inputs))

    def on_order(self, order: OrderState, inputs: Inputs) -> list[Verdict]:
        """The verdicts that follow from an order event: the waiting target's where the open order has ended.

        Raises:
            StandingUnknown: of the waiting target.
        """
        before = self.orders.get(order.signal_id)
        return self._take(apply_order(self.position(order.key), before, order, inputs))

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

    def _take(self, decision: Decision) -> list[Verdict]:
        state = decision.state
        self.positions[state.key] = state
        for order in (decision.order, state.open):
            if order is not None:
                self.orders[order.signal_id] = order
        self.judged.update(verdict.signal_id for verdict in decision.verdicts)
        return list(decision.verdicts)
