"""A process's way to the exchange: calls without a clear answer, taken or not, and what the exchange tells of its own accord."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.exchange import CANCEL, MODIFY, Exchange
from tests.simulation.loop import CURRENT
from tests.simulation.world import World
from typing_extensions import override

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.trading.traders.trader import (
    Cancellation,
    Changed,
    ExecutionMode,
    Modification,
    NoClearAnswer,
    Placement,
    Trader,
)


class SimulatedTrader(Trader):
    """The trader of one process."""

    def __init__(self, world: World, exchange: Exchange, mode: ExecutionMode) -> None:
        self.broker = exchange.broker
        self.visibility_window = exchange.visibility
        self._world = world
        self._exchange = exchange
        self._mode = mode

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return self._mode

    @override
    def follow(self, changed: Changed) -> None:
        self._exchange.listeners.append((CURRENT.get(), changed))

    @override
    async def initialize(self) -> None:
        """Nothing to do."""

    @override
    async def shutdown(self) -> None:
        """Nothing to do."""

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        world, tag = self._world, placement.tag
        self._exchange.asked(tag)
        fate = self._exchange.fate(tag)
        what = f"place {world.named(tag)}"
        world.tell(what, fault=fate.told)

        def effect() -> BrokerOrder:
            if not fate.accepted:
                raise NoClearAnswer("the call got lost on its way")
            told = self._exchange.place(placement, fate.hidden).as_told()
            if fate.unclear:
                raise NoClearAnswer("the answer got lost on its way")
            return told

        return await world.request(what, effect, NoClearAnswer)

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        world = self._world
        return await world.request(
            f"look up {world.named(tag)}", lambda: self._exchange.by_tag(tag), NoClearAnswer
        )

    @override
    async def cancel_order(self, cancellation: Cancellation) -> BrokerOrder:
        tag = cancellation.tag
        return await self._change(CANCEL, tag, lambda: self._exchange.cancel(tag))

    @override
    async def modify_order(self, modification: Modification) -> BrokerOrder:
        asked = modification
        return await self._change(
            MODIFY, asked.tag, lambda: self._exchange.modify(asked.tag, asked.quantity, asked.terms)
        )

    async def _change(self, kind: str, tag: str, change: Callable[[], BrokerOrder]) -> BrokerOrder:
        world, exchange = self._world, self._exchange
        exchange.change_asked(kind, tag)
        fate = exchange.fate(tag)
        what = f"{kind} {world.named(tag)}"
        world.tell(what, fault=fate.told)

        def effect() -> BrokerOrder:
            if not fate.accepted:
                raise NoClearAnswer("the call got lost on its way")
            if fate.unclear and fate.hidden > exchange.visibility / 2:
                exchange.later(fate.hidden, change)
                raise NoClearAnswer("the answer got lost on its way")
            told = change()
            if fate.unclear:
                raise NoClearAnswer("the answer got lost on its way")
            return told

        return await world.request(what, effect, NoClearAnswer)
