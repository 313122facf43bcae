"""Many manual orders at once: they share their statements, are bounded an account, and hold nobody else up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from sqlalchemy import event
from tests.statements import Sent
from trading_room import PATIENT, VISIBILITY_WINDOW, Room, approved
from typing_extensions import override

from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.verdict import Approved, Refused
from alphapanda.mesh.errors import TooMany
from alphapanda.mesh.failures import failure_of
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.consumer import TradingAssignment
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.traders.paper import PaperTrader
from alphapanda.trading.traders.trader import Placement
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

Opened = Callable[..., AbstractAsyncContextManager[Room]]
FILLED = common.ORDER_STATUS_FILLED


class Risk:
    """Approves each order as an opening, once it is there; refuses those of `refused` units."""

    def __init__(self, refused: int = 0) -> None:
        self.is_there = True
        self.refused = refused
        self.asked: list[risk.AuthorizeOrderRequest] = []

    async def AuthorizeOrder(  # noqa: N802 - the contract's name
        self, request: risk.AuthorizeOrderRequest
    ) -> risk.AuthorizeOrderResponse:
        self.asked.append(request)
        if not self.is_there:
            no = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, no, no, "away")
        passes = request.quantity != self.refused
        verdict = risk.Verdict(
            signal_id=request.intent_id,
            approved=passes,
            side=request.side,
            quantity=request.quantity,
            position_effect=common.POSITION_EFFECT_OPENS,
            reason="" if passes else "ORDER_QUANTITY",
        )
        return risk.AuthorizeOrderResponse(verdict=verdict)


class Silent(PaperTrader):
    """Doesn't answer to a purchase until it may."""

    def __init__(self, exchange: PaperExchange) -> None:
        super().__init__("paper", exchange, VISIBILITY_WINDOW)
        self.may_answer = asyncio.Event()

    @override
    async def execute_order(self, placement: Placement) -> BrokerOrder:
        if placement.side is Side.BUY:
            await self.may_answer.wait()
        return await super().execute_order(placement)


async def place(room: Room, number: int, quantity: int = 1) -> trading.Order:
    request = trading.PlaceOrderRequest(
        request_id=f"r{number}", symbol=f"NSE:S{number % 40 + 1}", side=common.SIDE_BUY, quantity=quantity
    )
    return (await room.api.PlaceOrder(request, None)).order


async def stored(room: Room, count: int) -> list[Any]:
    """The rows of that many orders, once they are there."""
    async with asyncio.timeout(30):
        rows: list[Any] = []
        while len(rows) < count:
            await asyncio.sleep(0.02)
            rows = await room.rows("SELECT * FROM trading.orders ORDER BY seq")
    return rows


async def test_a_burst_shares_its_statements_and_holds_few_connections(opened: Opened) -> None:
    """Two hundred orders at once, refused ones among them: one statement each at most, and five connections."""
    sent, held, most = Sent(), 0, 0

    def taken(*_: object) -> None:
        nonlocal held, most
        held += 1
        most = max(most, held)

    def given_back(*_: object) -> None:
        nonlocal held
        held -= 1

    async with opened(risk=Risk(refused=2)) as room:
        sent.listen(room.engine)
        event.listen(room.engine.sync_engine, "checkout", taken)
        event.listen(room.engine.sync_engine, "checkin", given_back)
        await room.open_for_trading()
        sent.statements.clear()
        orders = await asyncio.gather(*(place(room, number, 1 + number % 2) for number in range(200)))
        cost = len(sent.statements)
        by_status = [order.state.status for order in orders]
        assert by_status == [FILLED, common.ORDER_STATUS_FAILED] * 100
        assert cost <= 200, "\n".join(sent.statements[:200])
        assert most <= 5


async def test_an_order_beyond_the_bound_is_refused_at_once(opened: Opened) -> None:
    """It is told to come again; one placed before gets its own answer all the same, and when they are done all pass."""
    vetting = Risk()
    vetting.is_there = False
    async with opened(risk=vetting, options=TradingOptions(manual_orders_under_way=3)) as room:
        await room.open_for_trading()
        placing = [asyncio.create_task(place(room, number)) for number in range(3)]
        await stored(room, 3)
        with pytest.raises(TooMany, match="3 manual orders of account 'default' at 'paper'") as refused:
            await place(room, 3)
        assert failure_of(refused.value).retry
        again = asyncio.create_task(place(room, 0))
        await asyncio.sleep(0.1)
        assert not again.done()
        vetting.is_there = True
        orders = await asyncio.gather(*placing, again)
        assert [order.state.status for order in orders] == [FILLED] * 4
        assert orders[0] == orders[-1]
        assert (await place(room, 3)).state.status == FILLED


async def test_a_burst_holds_no_exit_up(opened: Opened) -> None:
    """Manual entries whose broker is silent, their verdicts on the topic before an exit: the exit is done at once."""
    silent: list[Silent] = []

    def trader(exchange: PaperExchange) -> Silent:
        silent.append(Silent(exchange))
        return silent[0]

    async with opened(trader=trader, risk=Risk(), options=PATIENT) as room:
        await room.open_for_trading()
        placing = [asyncio.create_task(place(room, number)) for number in range(30)]
        rows = await stored(room, 30)
        verdicts = [
            approved(
                signal_id=str(row.signal_id),
                key=PositionKey("paper", "default", "manual", row.instrument_id, Product.MIS),
                quantity=1,
            )
            for row in rows
        ]
        leaving = approved(1, side=Side.SELL, effect=PositionEffect.REDUCES)
        async with asyncio.timeout(20):
            await room.handle(*verdicts, leaving)
        assert (await room.order(leaving)).status is OrderStatus.FILLED
        assert not any(task.done() for task in placing)
        silent[0].may_answer.set()
        assert {order.state.status for order in await asyncio.gather(*placing)} == {FILLED}


async def test_an_order_whose_member_died_before_its_verdict_is_resumed(opened: Opened) -> None:
    """Who gets partitions next asks risk for it again."""
    away, there = Risk(), Risk()
    away.is_there = False
    async with opened(risk=there) as survivor:
        await survivor.open_for_trading()
        async with opened(risk=away) as dying:
            placing = asyncio.create_task(place(dying, 0))
            (row,) = await stored(dying, 1)
            placing.cancel()
        assigned = TradingAssignment(survivor.executor, survivor.manual, survivor.changes)
        await assigned.on_assigned([TopicPartition("paper.signals.validated", 0)])
        await survivor.executor.driver.wait_for_end(str(row.order_id), 30)
        found = await survivor.store.find(str(row.order_id))
        assert found is not None
        assert found.order.status is OrderStatus.FILLED
        assert [asked.intent_id for asked in there.asked] == [str(row.signal_id)]


async def test_an_approved_order_that_nobody_placed_here_is_executed(room: Room) -> None:
    """Whoever asked risk for it: an approval becomes an order, a refusal needs none."""
    key = PositionKey("paper", "default", "manual", "NSE:S1", Product.MIS)
    passed: Approved = approved(1, key=key)
    other = approved(2).signal_id
    await room.handle(passed, Refused(other, other, key, 1, 0, "LATE", "no more", None, ()))
    assert (await room.order(passed)).status is OrderStatus.FILLED
    assert len(await room.rows("SELECT 1 FROM trading.orders")) == 1
