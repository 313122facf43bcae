"""What every trader does alike: paper, Zerodha at the stub exchange, and a third broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from trader_desks import LAST, Broker, broker_of
from trading_room import terminal

from alphapanda.domain.order import OrderStatus, OrderType, Validity
from alphapanda.domain.terms import Terms
from alphapanda.trading.core.order_record import order_id_of
from panda.trading.v1 import trading_pb2 as trading

D = Decimal
BELOW = Terms(OrderType.LIMIT, limit_price=D(736))


@pytest.fixture(params=["paper", "zerodha", "dealer"])
async def broker(request, opened) -> AsyncIterator[Broker]:
    """A broker, and a room that trades with it."""
    async with broker_of(request.param, opened) as made, made.trading():
        yield made


def rests(order) -> bool:
    return order.status is OrderStatus.OPEN


async def bought(broker: Broker) -> None:
    """Buys what an exit can sell."""
    verdict = broker.entry()
    await broker.room.handle(verdict)
    assert (await broker.room.ended(verdict)).status is OrderStatus.FILLED


async def test_a_market_order_fills(broker: Broker) -> None:
    """At about the last price, once; the end is published once, and the fills say what was paid."""
    verdict = broker.entry()
    await broker.room.handle(verdict)
    order = await broker.room.ended(verdict)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
    assert abs(order.average_price - LAST) < 10
    events = await broker.room.events(verdict)
    assert sum(event.order_filled.quantity for event in events) == 10
    assert len(terminal(events)) == 1
    assert await broker.placed() == 1


async def test_a_limit_order_waits_for_its_price(broker: Broker) -> None:
    """It rests, and fills at its limit or better when the market comes there."""
    verdict = broker.entry(terms=BELOW)
    await broker.room.handle(verdict)
    await broker.when(verdict, rests)
    await broker.trades_at(741)
    assert (await broker.when(verdict, lambda _: True)).filled == 0
    await broker.trades_at(735)
    order = await broker.when(verdict, lambda one: one.status.is_final)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
    assert order.average_price <= 736


@pytest.mark.parametrize(
    "terms",
    [
        Terms(OrderType.SL_M, trigger_price=D(726)),
        Terms(OrderType.SL, limit_price=D(716), trigger_price=D(726)),
    ],
)
async def test_a_stop_sells_once_its_trigger_is_reached(broker: Broker, terms: Terms) -> None:
    """Above its trigger it rests whatever the market does; at the trigger it sells, within its limit."""
    await bought(broker)
    verdict = broker.exit(terms=terms)
    await broker.room.handle(verdict)
    await broker.when(verdict, rests)
    await broker.trades_at(728)
    await broker.trades_at(745)
    assert (await broker.when(verdict, lambda _: True)).filled == 0
    await broker.trades_at(725)
    order = await broker.when(verdict, lambda one: one.status.is_final)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
    assert 716 <= order.average_price <= 731


async def test_what_an_ioc_order_does_not_get_at_once_is_cancelled(broker: Broker) -> None:
    """Nothing is left at the broker to fill later."""
    verdict = broker.entry(terms=Terms(OrderType.LIMIT, Validity.IOC, D(736)))
    await broker.room.handle(verdict)
    order = await broker.when(verdict, lambda one: one.status.is_final)
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, 0)
    await broker.trades_at(726)
    assert (await broker.when(verdict, lambda _: True)).filled == 0


async def test_a_part_fills_and_the_rest_is_cancelled(broker: Broker) -> None:
    """What has filled stays; the cancellation takes the rest, and a later price finds nothing."""
    verdict = broker.entry(terms=BELOW)
    await broker.room.handle(verdict)
    await broker.when(verdict, rests)
    await broker.trades_at(741)
    await broker.trades_at(735, units=4)
    order = await broker.when(verdict, lambda one: one.filled > 0)
    assert (order.status, order.filled) == (OrderStatus.PARTIALLY_FILLED, 4)
    request = trading.CancelOrderRequest(request_id="c", order_id=order_id_of(verdict.signal_id))
    answer = await broker.room.api.CancelOrder(request, None)
    assert answer.change.status == trading.ORDER_CHANGE_STATUS_DONE
    await broker.trades_at(726)
    order = await broker.when(verdict, lambda one: one.status.is_final)
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, 4)


async def test_a_modification_moves_price_and_quantity(broker: Broker) -> None:
    """The order is the same one, with one more revision; it fills by its new terms."""
    verdict = broker.entry(terms=BELOW)
    await broker.room.handle(verdict)
    before = await broker.when(verdict, rests)
    request = trading.ModifyOrderRequest(request_id="m", order_id=before.order_id, quantity=6)
    request.limit_price.value = "726"
    answer = await broker.room.api.ModifyOrder(request, None)
    assert answer.change.status == trading.ORDER_CHANGE_STATUS_DONE
    await broker.trades_at(731)
    order = await broker.when(verdict, lambda _: True)
    assert (order.filled, order.quantity, order.terms.limit_price) == (0, 6, 726)
    assert order.revision == before.revision + 1
    await broker.trades_at(725)
    order = await broker.when(verdict, lambda one: one.status.is_final)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 6)
    assert await broker.placed() == 1


async def test_a_refusal_ends_the_order_with_the_brokers_words(broker: Broker) -> None:
    """It is one terminal event, and nothing is left to fill."""
    verdict = await broker.refuses()
    await broker.room.handle(verdict)
    order = await broker.room.ended(verdict)
    assert order.status in (OrderStatus.REJECTED, OrderStatus.FAILED)
    assert order.message
    assert len(terminal(await broker.room.events(verdict))) == 1


async def test_open_orders_outlive_a_restart(broker: Broker) -> None:
    """Another process follows them from their rows; none is sent again, and each ends as it does at the broker."""
    verdicts = [
        broker.entry(number, f"s{number}", terms=Terms(OrderType.LIMIT, limit_price=D(736 - number)))
        for number in range(3)
    ]
    for verdict in verdicts:
        await broker.room.handle(verdict)
        await broker.when(verdict, rests)
    await broker.room.hints.stop()
    await broker.room.changes.stop()
    await broker.room.executor.stop()
    async with broker.trading():
        for verdict in verdicts:
            assert rests(await broker.room.order(verdict))
        await broker.trades_at(726)
        for verdict in verdicts:
            order = await broker.when(verdict, lambda one: one.status.is_final)
            assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
        assert await broker.placed() == 3


async def test_what_is_told_before_the_call_has_returned_is_not_lost(broker: Broker) -> None:
    """A broker may tell of an order, which has filled, before the call that placed it is answered: it is booked once."""
    trader = broker.room.traders.by_broker[broker.name]
    call = trader.execute_order

    async def told_first(placement):
        answer = await call(placement)
        broker.room.hints.changed(placement.account, placement.tag)
        await asyncio.sleep(0.1)
        return answer

    trader.execute_order = told_first
    verdict = broker.entry()
    await broker.room.handle(verdict)
    order = await broker.room.ended(verdict)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
    assert len(terminal(await broker.room.events(verdict))) == 1
