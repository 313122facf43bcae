"""Bugs planted in what changes orders and protects positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulation.services import Parts
from tests.values import replace
from typing_extensions import override

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import TradingState
from alphapanda.trading.change_calls import ChangeCalls
from alphapanda.trading.core.intent import Intent
from alphapanda.trading.core.order import Order
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest
from alphapanda.trading.core.protection_facts import Surroundings
from alphapanda.trading.core.protection_record import ProtectionRecord
from alphapanda.trading.driver import OrderDriver
from alphapanda.trading.execution_context import ExecutionContext
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.order_changes import OrderChanges
from alphapanda.trading.protection_reading import ProtectionReading
from alphapanda.trading.protections import Protections
from alphapanda.trading.store.port import TradingTransaction


class _With(OrderChanges):
    """Changes orders by other calls."""

    calls: type[ChangeCalls]

    def __init__(self, context: ExecutionContext, driver: OrderDriver, options: TradingOptions) -> None:
        super().__init__(context, driver, options)
        self._calls = self.calls(context, driver, options)


class _TwiceCalls(ChangeCalls):
    @override
    async def _ask_broker(
        self, order: Order, intent: Intent, change: ChangeRequest
    ) -> tuple[BrokerOrder | None, str]:
        report, refused = await super()._ask_broker(order, intent, change)
        if report is None and change.kind is ChangeKind.MODIFY:
            return await super()._ask_broker(order, intent, change)
        return report, refused


class ModifiesTwice(_With):
    """Modifies an order again where the call had no clear answer."""

    calls = _TwiceCalls


class _BelievingCalls(ChangeCalls):
    @override
    async def _ask_broker(
        self, order: Order, intent: Intent, change: ChangeRequest
    ) -> tuple[BrokerOrder | None, str]:
        report, refused = await super()._ask_broker(order, intent, change)
        if report is None and change.kind is ChangeKind.CANCEL:
            return BrokerOrder(intent.broker_order_id, BrokerOrderStatus.CANCELLED), refused
        return report, refused


class BelievesItsCancellation(_With):
    """Takes an order for cancelled though the call had no clear answer."""

    calls = _BelievingCalls


class _LateCalls(ChangeCalls):
    def __init__(self, context: ExecutionContext, driver: OrderDriver, options: TradingOptions) -> None:
        super().__init__(context, driver, replace(options, send_window_seconds=600.0))


class ChangesLate(_With):
    """Calls however long ago it committed CALLING."""

    calls = _LateCalls


class _LawlessCalls(ChangeCalls):
    @override
    async def _forbidden(
        self,
        transaction: TradingTransaction,
        order: Order,
        intent: Intent,
        change: ChangeRequest,
        seen: tuple[MarketView, Mapping[str, TradingState]],
    ) -> str:
        return ""


class ModifiesWhileHalted(_With):
    """Asks nobody whether an order may be modified."""

    calls = _LawlessCalls


class NeverResumes(OrderChanges):
    """Leaves alone what another process, or an earlier one, has stored."""

    @override
    async def resume(self) -> None:
        """Resumes nothing."""

    @override
    def keep(self, order_id: str) -> None:
        """Keeps nothing."""


class _Forgetful(ProtectionReading):
    @override
    async def around(
        self, transaction: TradingTransaction, key: Any, records: Sequence[ProtectionRecord], *market: Any
    ) -> Surroundings | None:
        around = await super().around(transaction, key, records, *market)
        if around is None:
            return None
        leaving = {one.stop_order_id for one in records if one.guard.leaving is not None}
        orders = {order_id: one for order_id, one in around.orders.items() if order_id not in leaving}
        return replace(around, orders=orders)


class SendsBoth(Protections):
    """Forgets its stop once it leaves the position: the target's exit doesn't wait for the cancellation."""

    def __init__(self, context: ExecutionContext, driver: OrderDriver, *others: Any) -> None:
        super().__init__(context, driver, *others)
        self._reading = _Forgetful(context, others[1])


class NeverLooksAgain(Protections):
    """Leaves a stop or an exit that was stored, and whose call broke off, to nobody."""

    @override
    def _keep_going(self, around: Surroundings | None) -> None:
        """Keeps nothing going."""


class LeavesItNaked(Protections):
    """Doesn't look at positions at all once their stop was cancelled."""

    @override
    async def nudge(self, key: Any) -> None:
        """Does nothing."""

    @override
    async def look(self) -> None:
        await self.reload()


CHANGES_PLANTED: dict[str, Parts] = {
    "a modification without a clear answer is called again": Parts(changes=ModifiesTwice),
    "a cancellation without a clear answer is taken for done": Parts(changes=BelievesItsCancellation),
    "a change is called long after its commit": Parts(changes=ChangesLate),
    "an order is modified while trading is halted": Parts(changes=ModifiesWhileHalted),
    "a change that another process has stored is never carried out": Parts(changes=NeverResumes),
    "the target is sent beside the stop": Parts(protections=SendsBoth),
    "a stop whose call broke off is left there": Parts(protections=NeverLooksAgain),
    "a position is left without its stop": Parts(protections=LeavesItNaked),
}
