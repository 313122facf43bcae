"""Reads risk's verdicts from the log and executes the approved ones."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from alphapanda.consuming.delivery import CannotDiscard, Delivery, Handler
from alphapanda.contract.topics import TopicPartition
from alphapanda.contract.wire import approved_from, refused_from, seconds_of
from alphapanda.domain.signal import MANUAL
from alphapanda.domain.verdict import Approved, Verdict
from alphapanda.eventlog.port import Assignment
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.manual import ManualOrders
from alphapanda.trading.measuring import OrderFigures
from alphapanda.trading.order_changes import OrderChanges
from alphapanda.trading.order_spans import UNRECORDED, OrderSpans

GROUP = "trading"
PAYLOADS = ("signal_validated", "signal_rejected")
"""Payloads of the topics it reads. Of the rejections it handles only those of manual orders."""


class TradingConsumer(Handler):
    """Executes the signals that risk approved, and passes risk's verdicts on manual orders to those that place them.

    No inbox table is needed: an order's row has its signal's id, so a duplicate continues from the row (rule 1).
    Manual orders are continued in the background: however many of them wait for a broker, no signal waits for them.

    Args:
        executor: executes approved signals.
        manual: continues manual orders.
        measured: reports latencies of orders; None: they aren't measured.
        spans: records the orders' spans.
    """

    def __init__(
        self,
        executor: OrderExecutor,
        manual: ManualOrders,
        measured: OrderFigures | None = None,
        spans: OrderSpans = UNRECORDED,
    ) -> None:
        self._executor = executor
        self._manual = manual
        self._measured = measured or OrderFigures()
        self._spans = spans

    @override
    async def handle(self, batch: Sequence[Delivery]) -> None:
        approved: list[tuple[Approved, str]] = []
        by_hand: list[tuple[Verdict, str]] = []
        for delivery in batch:
            event = delivery.event
            is_approved = event.WhichOneof("payload") == "signal_validated"
            verdict = approved_from(event) if is_approved else refused_from(event)
            if verdict.key.strategy_id == MANUAL:
                by_hand.append((verdict, event.event_id))
            elif isinstance(verdict, Approved):
                approved.append((verdict, event.event_id))
                self._measured.approved(verdict.signal_id, seconds_of(event.occurred_at))
                self._spans.received(delivery)
        if by_hand:
            approved += await self._manual.apply_verdicts(by_hand)
        if approved:
            await self._executor.execute(approved)

    async def discard(self, delivery: Delivery) -> None:
        """Ends a parked signal as FAILED(DISCARDED).

        Raises:
            CannotDiscard: the record is not an approved signal, or part of its order was sent.
        """
        if delivery.event.WhichOneof("payload") != "signal_validated":
            raise CannotDiscard("only an approved signal has an order to end")
        await self._executor.discard(approved_from(delivery.event), delivery.event.event_id)


class TradingAssignment(Assignment):
    """Resumes all open orders when partitions are assigned, before new records are handled (rule 1).

    A member that failed may have left orders that it was looking up, or that waited for their verdict, and whose offsets
    it had committed. All open orders are resumed, not only those of the new partitions. That is safe, because an order
    changes by compare-and-set only.
    """

    def __init__(self, executor: OrderExecutor, manual: ManualOrders, changes: OrderChanges) -> None:
        self._executor = executor
        self._manual = manual
        self._changes = changes

    @override
    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        await self._executor.resume()
        await self._manual.resume()
        await self._changes.resume()

    @override
    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Does nothing: an order changes by compare-and-set, so another member may continue it at any time."""
