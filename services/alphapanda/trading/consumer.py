"""Reads risk's verdicts from the log and executes the approved ones."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from alphapanda.consuming.delivery import CannotDiscard, Delivery, Handler
from alphapanda.contract.topics import TopicPartition
from alphapanda.contract.wire import approved_from, refused_from
from alphapanda.domain.signal import MANUAL
from alphapanda.domain.verdict import Approved
from alphapanda.eventlog.port import Assignment
from alphapanda.trading.executor import OrderExecutor

GROUP = "trading"
PAYLOADS = ("signal_validated", "signal_rejected")
"""Payloads of the topics it reads. Of the rejections it handles only those of manual orders."""


class TradingConsumer(Handler):
    """Executes the signals that risk approved, and ends the manual orders that risk rejected.

    No inbox table is needed: an order's row has its signal's id, so a duplicate continues from the row (rule 1).
    """

    def __init__(self, executor: OrderExecutor) -> None:
        self._executor = executor

    @override
    async def handle(self, batch: Sequence[Delivery]) -> None:
        approved: list[tuple[Approved, str]] = []
        for delivery in batch:
            if delivery.event.WhichOneof("payload") == "signal_validated":
                approved.append((approved_from(delivery.event), delivery.event.event_id))
            else:
                await self._refused(delivery)
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

    async def _refused(self, delivery: Delivery) -> None:
        refused = refused_from(delivery.event)
        if refused.key.strategy_id == MANUAL:
            message = f"{refused.reason}: {refused.message}"
            await self._executor.refuse(
                refused.signal_id, message, delivery.event.event_id, refused.decided_at
            )


class TradingAssignment(Assignment):
    """Resumes all open orders when partitions are assigned, before new records are handled (rule 1).

    A member that failed may have left orders that it was looking up and whose offsets it had committed. All open orders
    are resumed, not only those of the new partitions. That is safe, because an order changes by compare-and-set only.
    """

    def __init__(self, executor: OrderExecutor) -> None:
        self._executor = executor

    @override
    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        await self._executor.resume()

    @override
    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Does nothing: an order changes by compare-and-set, so another member may continue it at any time."""
