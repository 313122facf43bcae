"""Handlers of raw signals and of order events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.order_wire import order_update_from
from alphapanda.contract.wire import seconds_of, signal_from
from alphapanda.risk.decision_service import DecisionService, by_account
from alphapanda.risk.measuring import DecisionFigures

GROUP = "risk"
SIGNAL_PAYLOADS = ("trading_signal",)
"""Payloads of the topics that RawSignalHandler reads."""
ORDER_PAYLOADS = ("order_submitted", "order_filled", "order_failed", "order_cancelled")
"""Payloads of the topics that OrderEventHandler reads."""


async def nothing_to_cancel() -> None:
    """Where no target waits for an order that rests."""


class RawSignalHandler:
    """Decides signals. A signal that comes twice is recognised by the row of its verdict.

    Args:
        decisions: decides them.
        measured: is told when they were made; None: nothing is measured.
        make_way: has orders cancelled that targets of the batch wait for.
    """

    def __init__(
        self,
        decisions: DecisionService,
        measured: DecisionFigures | None = None,
        make_way: Callable[[], Awaitable[None]] = nothing_to_cancel,
    ) -> None:
        self._decisions = decisions
        self._measured = measured or DecisionFigures()
        self._make_way = make_way

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Decides a batch, with one decision per account, together with the batches of other partitions at the moment."""
        signals = [signal_from(delivery.event) for delivery in batch]
        for delivery in batch:
            self._measured.came(delivery.event.event_id, seconds_of(delivery.event.occurred_at))
        for (broker, account), places in by_account([signal.key for signal in signals]).items():
            await self._decisions.judge_together(broker, account, [signals[at] for at in places])
        for (
            signal
        ) in signals:  # that had a verdict, or waits for an open order: then its latency says nothing
            self._measured.left(signal.signal_id)
        await self._make_way()

    async def discard(self, delivery: Delivery) -> None:
        """Refuses a parked signal that a person discarded, with reason DISCARDED."""
        await self._decisions.discard(signal_from(delivery.event))


class OrderEventHandler:
    """Applies order events to positions and reservations. An event that comes twice is recognised by its order's revision."""

    def __init__(
        self, decisions: DecisionService, make_way: Callable[[], Awaitable[None]] = nothing_to_cancel
    ) -> None:
        self._decisions = decisions
        self._make_way = make_way

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Applies a batch, with one decision per account."""
        events = [order_update_from(delivery.event) for delivery in batch]
        for (broker, account), places in by_account([event.order.key for event in events]).items():
            await self._decisions.apply(broker, account, [events[at] for at in places])
        await self._make_way()
