"""Bugs planted on purpose: what the simulation is worth is what it finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tests.simulation.mutations_changes import CHANGES_PLANTED
from tests.simulation.services import Parts
from tests.values import replace
from typing_extensions import override

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.delivery import Delivery
from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.eventlog.port import StoredRecord
from alphapanda.resilience.attempts import attempted
from alphapanda.risk.consumer import RawSignalHandler
from alphapanda.storage.relay import OutboxRelay
from alphapanda.trading.broker_calls import BrokerCalls
from alphapanda.trading.core.checks import PreSubmitChecks
from alphapanda.trading.core.order import Order
from alphapanda.trading.decision import Call, Decision
from alphapanda.trading.decision_commits import DecisionCommits
from alphapanda.trading.execution_context import ExecutionContext, no_step
from alphapanda.trading.executor import OrderExecutor
from alphapanda.trading.options import TradingOptions
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

    def __init__(self, context: ExecutionContext, *others: Any) -> None:
        traders: Mapping[str, Trader] = {
            broker: _TriesAgain(trader) for broker, trader in context.traders.items()
        }
        super().__init__(replace(context, traders=traders), *others)


class _LateCalls(BrokerCalls):
    @override
    async def make(self, call: Call) -> tuple[bool, BrokerOrder | None]:
        self._attempts.forget(call.order.order_id)
        try:
            return True, await self._context.traders[call.order.key.broker].execute_order(call.placement)
        except NoClearAnswer:
            return True, None


class SendsLate(OrderExecutor):
    """Calls the broker however long ago it committed SUBMITTING."""

    def __init__(self, context: ExecutionContext, checks: PreSubmitChecks, options: TradingOptions) -> None:
        super().__init__(context, checks, options)
        self.driver.calls = _LateCalls(context, options, self.driver.attempts, no_step)


class _ForgottenCalls(BrokerCalls):
    @override
    async def make(self, call: Call) -> tuple[bool, BrokerOrder | None]:
        made, report = await super().make(call)
        self._attempts.decided(call)
        return made, report


class ForgetsItsCall(OrderExecutor):
    """Takes a call that it made, and whose answer it couldn't store, for one that was never made."""

    def __init__(self, context: ExecutionContext, checks: PreSubmitChecks, options: TradingOptions) -> None:
        super().__init__(context, checks, options)
        self.driver.calls = _ForgottenCalls(context, options, self.driver.attempts, no_step)


class _UnstoredDecisions(DecisionCommits):
    @override
    def _outcome(
        self, order: Order, decisions: Mapping[str, Decision], stored: Collection[str]
    ) -> Call | Order | None:
        return super()._outcome(order, decisions, {order.order_id})


class SendsUnstored(OrderExecutor):
    """Calls the broker for an order although its compare-and-set failed."""

    def __init__(self, context: ExecutionContext, checks: PreSubmitChecks, options: TradingOptions) -> None:
        super().__init__(context, checks, options)
        self.driver.commits = _UnstoredDecisions(context, checks, self.driver.attempts, no_step)


class CommitsFirst(ReliableConsumer):
    """Commits the offset before the effect is stored."""

    @override
    async def _process_records(self, at: TopicPartition, records: Sequence[StoredRecord]) -> None:
        await attempted(self._reader.commit({at: records[-1].offset + 1}))
        await super()._process_records(at, records)


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
    "a call that was made is taken for one that never was": Parts(executor=ForgetsItsCall),
    "an order is sent that another had stored": Parts(executor=SendsUnstored),
    "an offset is committed before the effect": Parts(consumer=CommitsFirst),
    "an outbox is published out of order": Parts(relay=PublishesBackwards),
    "a later signal of a key is decided first": Parts(signal_handler=DecidesBackwards),
    **CHANGES_PLANTED,
}
