"""Verdicts in, orders executed."""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.consuming.delivery import CannotDiscard, Delivery
from alphapanda.contract.topics import TopicPartition
from alphapanda.contract.wire import approved_from, refused_from
from alphapanda.domain.signal import MANUAL
from alphapanda.domain.verdict import Approved
from alphapanda.trading.executor import OrderExecutor

GROUP = "trading"
PAYLOADS = ("signal_validated", "signal_rejected")
"""The payloads of the topics it reads; of the rejections only those of manual orders concern it."""


class TradingConsumer:
    """Executes the signals that risk let through.

    An order's row under its signal's id is its inbox: a duplicate goes on from the row's state (rule 1).
    """

    def __init__(self, executor: OrderExecutor) -> None:
        self._executor = executor

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """See consuming.delivery.Handler."""
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
            CannotDiscard: it is no signal that risk let through, or part of its order was sent.
        """
        if delivery.event.WhichOneof("payload") != "signal_validated":
            raise CannotDiscard("only a signal that risk let through has an order to end")
        await self._executor.discard(approved_from(delivery.event), delivery.event.event_id)

    async def _refused(self, delivery: Delivery) -> None:
        refused = refused_from(delivery.event)
        if refused.key.strategy_id == MANUAL:
            message = f"{refused.reason}: {refused.message}"
            await self._executor.refuse(
                refused.signal_id, message, delivery.event.event_id, refused.decided_at
            )


class TradingAssignment:
    """Resumes open orders before new records are handled (rule 1).

    A member that died for good may have left orders whose records it had committed: it was looking them up. All of
    them are resumed, not only those of the new partitions: each is changed by compare-and-set, so that does no harm.
    """

    def __init__(self, executor: OrderExecutor) -> None:
        self._executor = executor

    async def on_assigned(self, _: Sequence[TopicPartition]) -> None:
        """See eventlog.port.Assignment."""
        await self._executor.resume()

    async def on_revoked(self, _: Sequence[TopicPartition]) -> None:
        """Nothing is to be let go of: whoever drives an order changes its row only as it knows it."""
