"""Orders on recorded bars: the paper exchange holds them until the next bar opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from tests.values import replace
from trading_room import NOON, Room, approved

from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.funds import Payable
from alphapanda.domain.order import FailureReason, OrderStatus
from alphapanda.domain.signal import PositionKey
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.held_orders import HeldOrders

OPEN_SLIPPED = (Decimal("102.02"), Decimal("102.08"))
"""An open of 102, with half to one and a half of 0.05 % of it, against the order, on a grid of 0.01."""
BAR = timedelta(minutes=5)


@pytest.fixture
async def room(opened) -> AsyncIterator[Room]:
    """A room open for trading, in which orders on bars fill at the next open."""
    async with opened(bars=True) as made:
        await made.open_for_trading()
        yield made


async def bar_ends(room: Room, at: datetime, opened: int, closed: int, token: int = 1) -> None:
    """A recorded bar of five minutes; prices in rupees."""
    end, start = nanoseconds(at), nanoseconds(at - BAR)
    frame = Frame(
        "run", 0, 1, end, 100, [token], [closed * 100], [end], [start], (),
        [opened * 100], [max(opened, closed) * 100], [min(opened, closed) * 100],
    )  # fmt: skip
    await room.prices.write([frame])


async def on_bars(room: Room) -> HeldOrders:
    """A bar has ended at noon."""
    await bar_ends(room, NOON, 95, 100)
    held = HeldOrders(room.exchange, room.store, room.executor.driver)
    assert not await held.step()
    return held


async def test_an_order_waits_for_the_next_open_and_holds_nobody_up(room: Room, opened) -> None:
    """It is OPEN and nobody looks it up; a restart keeps it, and the next bar's open fills it, with the bar's moment."""
    held, verdict = await on_bars(room), approved()
    await room.handle(verdict)
    assert (await room.order(verdict)).status is OrderStatus.OPEN
    assert await room.store.open_orders() == [order_id_of(verdict.signal_id)]
    assert not await room.store.has_orders_under_way()
    assert not await held.step()
    assert await room.rows("SELECT what FROM paper_exchange.calls WHERE what = 'orders_by_tag'") == []
    async with opened(bars=True) as later:
        await later.executor.start()
        again = HeldOrders(later.exchange, later.store, later.executor.driver)
        assert await again.step()
        assert not await again.step()
        assert (await later.order(verdict)).status is OrderStatus.OPEN
        await bar_ends(later, NOON + BAR, 102, 110)
        assert await again.step()
        assert not await again.step()
        order = await later.order(verdict)
        assert order.status is OrderStatus.FILLED
        assert min(OPEN_SLIPPED) <= order.average_price <= max(OPEN_SLIPPED)
        assert order.market_time == NOON
        assert [event.WhichOneof("payload") for event in await later.events(verdict)] == [
            "order_submitted",
            "order_filled",
        ]
        assert list((await later.calls()).values()) == [1]


async def test_slices_of_an_order_fill_at_one_open(room: Room) -> None:
    """Those sent once the first was filled came with it."""
    held, verdict = await on_bars(room), approved(quantity=250)
    await room.handle(verdict)
    await bar_ends(room, NOON + BAR, 102, 110)
    assert [await held.step() for _ in range(4)] == [True, True, True, False]
    order = await room.order(verdict)
    assert (order.status, len(order.intents)) == (OrderStatus.FILLED, 3)
    assert order.average_price is not None
    assert min(OPEN_SLIPPED) <= order.average_price <= max(OPEN_SLIPPED)


async def test_an_order_without_a_next_bar_ends_with_its_day(room: Room) -> None:
    """Another instrument's bar after the close cancels it, and the books stay as they were."""
    held, verdict = await on_bars(room), approved()
    await room.handle(verdict)
    await bar_ends(room, NOON + timedelta(hours=3, minutes=30), 50, 50, token=2)
    assert not await held.step()
    await bar_ends(room, NOON + timedelta(days=1), 50, 50, token=2)
    assert await held.step()
    order = await room.order(verdict)
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, 0)
    assert order.message == "the trading day ended without another price of the instrument"
    assert await room.store.open_orders() == []


async def test_what_an_earlier_process_has_settled_is_told(room: Room) -> None:
    """A process that dies between the exchange's fill and trading's row: the next one drives the order first of all."""
    await on_bars(room)
    first, second = approved(), replace(approved(1, token=2))
    await bar_ends(room, NOON, 95, 100, token=2)
    await room.handle(first, second)
    await bar_ends(room, NOON + BAR, 102, 110)
    assert await room.exchange.settle()
    held = HeldOrders(room.exchange, room.store, room.executor.driver)
    while await held.step():
        pass
    assert [(await room.order(one)).status for one in (first, second)] == [
        OrderStatus.FILLED,
        OrderStatus.OPEN,
    ]


async def test_orders_that_come_together_are_all_held(room: Room) -> None:
    """Of many placed at once, by several keys, each fills at the next open."""
    held = await on_bars(room)
    verdicts = [
        approved(number, key=replace(approved().key, strategy_id=f"s{number}")) for number in range(8)
    ]
    await room.handle(*verdicts)
    await bar_ends(room, NOON + BAR, 102, 110)
    while await held.step():
        pass
    assert {(await room.order(verdict)).status for verdict in verdicts} == {OrderStatus.FILLED}


async def test_what_the_funds_do_not_pay_at_the_open_is_rejected(room: Room) -> None:
    """Funds are asked with the fill's price, one order after the other; what is paid of an order fills, the rest doesn't."""
    asked = []

    async def payable(key: PositionKey, units: int, price: Decimal, at: datetime) -> Payable:
        asked.append((key.instrument_id, units, at))
        assert min(OPEN_SLIPPED) <= price <= max(OPEN_SLIPPED)
        return Payable(4 if key.instrument_id == "NSE:S1" else 0, "insufficient funds: more is needed")

    await bar_ends(room, NOON, 95, 100, token=2)
    await on_bars(room)
    held = HeldOrders(room.exchange, room.store, room.executor.driver, payable)
    verdicts = [
        approved(),
        replace(approved(1, token=2), key=replace(approved().key, instrument_id="NSE:S2")),
    ]
    await room.handle(*verdicts)
    while await held.step():
        pass
    for token in (1, 2):
        await bar_ends(room, NOON + BAR, 102, 110, token=token)
    assert await held.step()
    assert len(asked) == 1
    while await held.step():
        pass
    assert asked == [("NSE:S1", 10, NOON), ("NSE:S2", 10, NOON)]
    orders = [await room.order(one) for one in verdicts]
    assert [(one.status, one.filled, one.failure) for one in orders] == [
        (OrderStatus.REJECTED, 4, FailureReason.INSUFFICIENT_FUNDS),
        (OrderStatus.REJECTED, 0, FailureReason.INSUFFICIENT_FUNDS),
    ]
    assert await room.store.open_orders() == []


async def test_an_order_that_is_held_when_the_recording_ends_is_cancelled(room: Room) -> None:
    """Its end says so; then nothing is left to end."""
    held, verdict = await on_bars(room), approved()
    await room.handle(verdict)
    assert await held.end()
    assert not await held.end()
    order = await room.order(verdict)
    assert (order.status, order.message) == (
        OrderStatus.CANCELLED,
        "the recording ended without another price of the instrument",
    )
