"""Signals and order events in, verdicts out."""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.order_wire import order_update_from
from alphapanda.contract.wire import signal_from
from alphapanda.risk.decision_service import DecisionService, by_account

GROUP = "risk"
SIGNAL_PAYLOADS = ("trading_signal",)
"""The payloads of the topics RawSignalHandler reads."""
ORDER_PAYLOADS = ("order_submitted", "order_filled", "order_failed", "order_cancelled")
"""The payloads of the topics OrderEventHandler reads."""


class RawSignalHandler:
    """Judges signals; the verdict's row is the inbox (rule 1)."""

    def __init__(self, decisions: DecisionService) -> None:
        self._decisions = decisions

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Judges a batch, one decision an account."""
        signals = [signal_from(delivery.event) for delivery in batch]
        for (broker, account), places in by_account([signal.key for signal in signals]).items():
            await self._decisions.judge(broker, account, [signals[at] for at in places])

    async def discard(self, delivery: Delivery) -> None:
        """Refuses a parked signal as DISCARDED."""
        await self._decisions.discard(signal_from(delivery.event))


class OrderEventHandler:
    """Moves positions and ends reservations; the order's highest revision is the inbox (rule 6)."""

    def __init__(self, decisions: DecisionService) -> None:
        self._decisions = decisions

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Applies a batch, one decision an account."""
        events = [order_update_from(delivery.event) for delivery in batch]
        for (broker, account), places in by_account([event.order.key for event in events]).items():
            await self._decisions.apply(broker, account, [events[at] for at in places])
