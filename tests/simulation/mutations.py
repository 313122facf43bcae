"""Bugs planted on purpose: what the simulation is worth is what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.services import Parts
from typing_extensions import override

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.port import StoredRecord
from alphapanda.resilience.attempts import attempted
from alphapanda.risk.consumer import RawSignalHandler
from alphapanda.storage.relay import OutboxRelay
from alphapanda.trading.core.broker_order import BrokerOrder
from alphapanda.trading.core.order import Order
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.surroundings import Surroundings
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Placement, Trader


class _TriesAgain(Trader):
    def __init__(self, trader: Trader) -> None:
        self.broker = trader.broker
        self.visibility_window = trader.visibility_window
        self._trader = trader

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return self._trader.get_execution_mode()

    @override
    async def initialize(self) -> None:
        """Nothing to do."""

    @override
    async def shutdown(self) -> None:
        """Nothing to do."""

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        try:
            return await self._trader.execute_order(placement)
        except NoClearAnswer:
            return await self._trader.execute_order(placement)

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        return await self._trader.look_up(account, tag)


class SubmitsTwice(OrderExecutor):
    """Sends an order again that got no clear answer."""

    def __init__(self, surroundings: Surroundings, *others: Any) -> None:
        traders: Mapping[str, Trader] = {
            broker: _TriesAgain(trader) for broker, trader in surroundings.traders.items()
        }
        super().__init__(replace(surroundings, traders=traders), *others)


class SendsLate(OrderExecutor):
    """Calls the broker however long ago it committed SUBMITTING."""

    @override
    async def _send(self, order: Order) -> Order:
        call = await self._decide(order, self._with.boot_clock())
        if isinstance(call, Order):
            return call
        try:
            told = await self._with.traders[order.key.broker].execute_order(call.placement)
        except NoClearAnswer:
            told = None
        return await self._answer(order.order_id, call, told)


class CommitsFirst(ReliableConsumer):
    """Commits the offset before the effect is stored."""

    @override
    async def _work_through(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        await attempted(self._reader.commit({at: records[-1].offset + 1}))
        await super()._work_through(at, records)


class PublishesBackwards(OutboxRelay):
    """Publishes the newest rows of a batch first."""

    @override
    async def _publish(self, connection: Any, rows: Sequence[Any]) -> None:
        await super()._publish(connection, rows[::-1])


class DecidesBackwards(RawSignalHandler):
    """Judges the newest signal of a batch first."""

    @override
    async def handle(self, batch: Sequence[Delivery]) -> None:
        await super().handle(batch[::-1])


PLANTED: dict[str, Parts] = {
    "an order that got no clear answer is sent again": Parts(executor=SubmitsTwice),
    "a sender that thaws late still calls": Parts(executor=SendsLate),
    "an offset is committed before the effect": Parts(consumer=CommitsFirst),
    "an outbox is published out of order": Parts(relay=PublishesBackwards),
    "a later signal of a key is decided first": Parts(signal_handler=DecidesBackwards),
}
