"""Measures orders: from risk's approval to the order, from sending to the first fill, and how orders end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from alphapanda.contract.wire import known
from alphapanda.domain.order import FailureReason, OrderStatus
from alphapanda.telemetry.figures import NOT_MEASURED, Figures, Stage, StartTimes
from alphapanda.trading.core.order import Order
from panda.events.v1.events_pb2 import Event

SERVICE: Final = "trading"


class OrderFigures:
    """Reports the latencies and ends of orders, and signals that have an order already.

    Args:
        figures: receives them.
        wall_clock: wall time, seconds since 1970.
    """

    def __init__(self, figures: Figures = NOT_MEASURED, wall_clock: Callable[[], float] = time.time) -> None:
        self._figures = figures
        self._wall_clock = wall_clock
        self._approved = StartTimes()
        self._sent = StartTimes()

    def approved(self, signal_id: str, made_at: float) -> None:
        """Notes an approval that has come; `made_at`: wall time of its event, seconds since 1970."""
        self._approved.note(signal_id, made_at)

    def received(self, orders: Iterable[Order], outcomes: Mapping[str, object | None]) -> None:
        """Reports orders that were stored, and those whose signals had one already: their outcome is None."""
        now = self._wall_clock()
        for order in orders:
            made_at = self._approved.take(order.signal_id)
            if outcomes[order.order_id] is None:
                self._figures.absorbed(SERVICE, order.key.broker, 1)
            elif made_at is not None:
                self._figures.passed(
                    Stage.VERDICT_TO_ORDER, order.key.broker, now - made_at, order.correlation_id
                )

    def sending(self, order_id: str, ago: float) -> None:
        """Notes that an order is sent, `ago` seconds after the decision; of its slices the first counts."""
        self._sent.note(order_id, self._wall_clock() - ago)

    def committed(self, events: Sequence[Event]) -> None:
        """Reports order events after their commit."""
        for event in events:
            match event.WhichOneof("payload"):
                case "order_filled":
                    self._filled(event)
                case "order_failed":
                    reason = known(FailureReason, event.order_failed.reason)
                    self._ended(event, event.order_failed.order.order_id, "failed", reason)
                case "order_cancelled":
                    self._ended(event, event.order_cancelled.order.order_id, "cancelled")

    def _filled(self, event: Event) -> None:
        order = event.order_filled.order
        sent_at = self._sent.take(order.order_id)
        if sent_at is not None:
            seconds = self._wall_clock() - sent_at
            self._figures.passed(Stage.ORDER_TO_FILL, event.broker, seconds, event.correlation_id)
        if known(OrderStatus, order.status) is OrderStatus.FILLED:
            self._figures.ended(event.broker, "filled", "")

    def _ended(self, event: Event, order_id: str, status: str, reason: FailureReason | None = None) -> None:
        self._sent.take(order_id)
        self._figures.ended(event.broker, status, "" if reason is None else reason.name)
