"""What the broker didn't show in time: exits tried again, late arrivals adopted, on a real PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from trading_room import VISIBILITY_WINDOW, approved, terminal
from typing_extensions import override

from alphapanda.contract.validation import violations
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.core.late_arrival import adopted_id
from alphapanda.trading.late_arrivals import LateArrivals
from alphapanda.trading.traders.paper import PaperTrader
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Placement


class Unclear(PaperTrader):
    """Loses the answers to the calls numbered in `lost`, and the calls in `dropped`; shows nothing while `hides`."""

    def __init__(
        self, exchange: PaperExchange, lost: tuple[int, ...] = (), dropped: tuple[int, ...] = ()
    ) -> None:
        super().__init__("paper", exchange, VISIBILITY_WINDOW)
        self.calls = 0
        self.hides = True
        self._lost = lost
        self._dropped = dropped

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        self.calls += 1
        if self.calls in self._dropped:
            raise NoClearAnswer("lost on its way")
        told = await super().execute_order(placement)
        if self.calls in self._lost:
            raise NoClearAnswer("the answer was lost")
        return told

    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        return None if self.hides else await super().look_up(account, tag)


async def test_an_absent_exit_ends_flat(opened) -> None:
    """An exit whose call got lost is sent once more as a new intent after the position was read, and ends flat."""
    async with opened(trader=lambda exchange: Unclear(exchange, dropped=(2,))) as room:
        await room.open_for_trading()
        entry = approved(1)
        await room.handle(entry)
        leaving = approved(2, side=Side.SELL, effect=PositionEffect.REDUCES)
        await room.handle(leaving)
        order = await room.ended(leaving)
        assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
        assert [intent.status for intent in order.intents] == [OrderStatus.FAILED, OrderStatus.FILLED]
        assert sorted((await room.calls()).values()) == [1, 1]
        assert len(terminal(await room.events(leaving))) == 1
        (held,) = await room.rows("SELECT quantity FROM trading.positions")
        assert held.quantity == 0


async def test_a_late_arrival_is_adopted_once(opened) -> None:
    """What shows up after it was given up is booked as an order of its own; two that see it book it once."""
    made: list[Unclear] = []

    def trader(exchange: PaperExchange) -> Unclear:
        made.append(Unclear(exchange, lost=(1,)))
        return made[0]

    async with opened(trader=trader) as room:
        await room.open_for_trading()
        verdict = approved()
        await room.handle(verdict)
        order = await room.ended(verdict)
        assert (order.status, order.failure) == (OrderStatus.FAILED, FailureReason.ABSENT)
        context = room.executor._context
        watchers = [LateArrivals(context) for _ in range(2)]
        await watchers[0].look()
        assert await room.store.find(adopted_id(order.intents[0])) is None
        made[0].hides = False
        for watcher in (*watchers, watchers[0]):
            await watcher.look()

        adopted = await room.store.find(adopted_id(order.intents[0]))
        assert adopted is not None
        assert (adopted.order.status, adopted.order.filled) == (OrderStatus.FILLED, 10)
        assert (await room.order(verdict)).failure is FailureReason.ABSENT
        told = await room.rows(
            "SELECT count(*) AS events FROM trading.outbox WHERE event_type = 'order_filled'"
        )
        assert told[0].events == 1
        (held,) = await room.rows("SELECT quantity FROM trading.positions")
        assert held.quantity == 10
        assert await room.store.absent_intents(context.wall_clock() - timedelta(days=1)) == []
        assert list((await room.calls()).values()) == [1]


class TellsLate(PaperTrader):
    """Says that an order was cancelled without a trade, and tells its trades when it is looked up."""

    def __init__(self, exchange: PaperExchange, mode: ExecutionMode) -> None:
        super().__init__("paper", exchange, VISIBILITY_WINDOW)
        self.mode = mode

    @override
    def get_execution_mode(self) -> ExecutionMode:
        return self.mode

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        whole = await super().execute_order(placement)
        return BrokerOrder(whole.broker_order_id, BrokerOrderStatus.CANCELLED, (), "cancelled")

    @override
    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        whole = await super().look_up(account, tag)
        assert whole is not None
        return BrokerOrder(whole.broker_order_id, BrokerOrderStatus.CANCELLED, whole.fills, "cancelled")


@pytest.mark.parametrize("mode", [ExecutionMode.PAPER, ExecutionMode.LIVE])
async def test_a_fill_after_the_orders_end_is_booked_once_with_an_alarm(opened, mode: ExecutionMode) -> None:
    """At a simulated and at a live broker: one more event with the next revision, the position moves, the end stays."""
    async with opened(trader=lambda exchange: TellsLate(exchange, mode)) as room:
        await room.open_for_trading()
        verdict = approved()
        await room.handle(verdict)
        order = await room.ended(verdict)
        assert (order.status, order.filled) == (OrderStatus.CANCELLED, 0)
        watchers = [LateArrivals(room.executor._context) for _ in range(2)]
        with capture_logs() as log:
            for watcher in (*watchers, watchers[0]):
                await watcher.look()
        (alarm,) = [line for line in log if line["event"] == "order.filled_late"]
        assert (alarm["alarm"], alarm["order_id"], alarm["filled"]) == (True, order.order_id, 10)
        order = await room.order(verdict)
        assert (order.status, order.filled, order.leaves) == (OrderStatus.CANCELLED, 10, 0)
        events = await room.events(verdict)
        assert [violations(event) for event in events] == [[]] * 3
        submitted, cancelled, filled = events
        states = submitted.order_submitted.order, cancelled.order_cancelled.order, filled.order_filled.order
        assert [state.order_revision for state in states] == [1, 2, 3]
        assert states[2].status == states[1].status
        assert (states[2].filled_quantity, states[2].leaves_quantity) == (10, 0)
        (held,) = await room.rows("SELECT quantity FROM trading.positions")
        assert held.quantity == 10
