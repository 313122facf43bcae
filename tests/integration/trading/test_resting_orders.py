"""Limit and stop orders at the paper exchange: they wait in its rows for a price, whoever runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from trading_room import ACTIVE, INSTRUMENTS, NOON, Room, approved, wall_clock

from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import frame_event
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Side, Validity
from alphapanda.domain.terms import Terms
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.paper_exchange.core.fill_models import FillModels, Slippage
from alphapanda.paper_exchange.frames import PaperFrames
from alphapanda.trading.held_orders import HeldOrders
from alphapanda.trading.traders.trader import BrokerRefused, Cancellation, Modification

SECOND = timedelta(seconds=1)
NEAR = Terms(OrderType.LIMIT, limit_price=Decimal(99))


@pytest.fixture
async def room(opened) -> AsyncIterator[Room]:
    """A room open for trading at noon, with every price at 100."""
    async with opened() as made:
        await made.open_for_trading()
        yield made


def held_by(room: Room) -> HeldOrders:
    return HeldOrders(room.exchange, room.store, room.executor.driver)


def ticks(at: datetime, *prices: str, token: int = 1, volume: int | None = None) -> Frame:
    """A frame with ticks of one instrument; prices in rupees, the day's volume after all of them."""
    moment, count = nanoseconds(at), len(prices)
    paise = [int(Decimal(price) * 100) for price in prices]
    return Frame(
        "run",
        0,
        2,
        moment,
        100,
        [token] * count,
        paise,
        [moment] * count,
        volume=() if volume is None else [volume] * count,
    )


async def trades(room: Room) -> list[tuple[object, ...]]:
    return await room.rows(
        "SELECT price, quantity, market_price, model FROM paper_exchange.trades ORDER BY exchange_trade_id"
    )


async def test_a_limit_order_waits_for_a_tick_that_came_after_it(room: Room, opened) -> None:
    """It is OPEN and nobody looks it up; another process goes on with it; its trade says which price made it."""
    verdict, held = approved(terms=NEAR), held_by(room)
    await room.handle(verdict)
    assert (await room.order(verdict)).status is OrderStatus.OPEN
    assert not await room.store.has_orders_under_way()
    await held.see(ticks(NOON, "98"))  # what it knew when it came
    await held.see(ticks(NOON + SECOND, "99.5", "99.05"))
    assert (await room.order(verdict)).status is OrderStatus.OPEN
    async with opened() as later:
        await later.executor.start()
        await held_by(later).see(ticks(NOON + 2 * SECOND, "99.5", "98.5", "99.5"))
        order = await later.order(verdict)
        assert (order.status, order.average_price) == (OrderStatus.FILLED, 99)
        assert order.market_time == NOON + 2 * SECOND
        assert [tuple(row) for row in await trades(later)] == [(99, 10, Decimal("98.5"), "limit")]
        assert list((await later.calls()).values()) == [1]
    await held.see(ticks(NOON + 3 * SECOND, "90"))  # this process has not heard of it
    assert len(await trades(room)) == 1


async def test_a_stop_triggers_and_pays_what_the_market_gives_within_its_limit(room: Room) -> None:
    """While it waits it says so; a tick beyond the limit triggers it, and it rests there until the price is back."""
    stop = Terms(OrderType.SL, limit_price=Decimal(95), trigger_price=Decimal(96))
    verdict, held = approved(side=Side.SELL, terms=stop), held_by(room)
    await room.handle(verdict)
    shown = await room.exchange.orders_by_tag("paper", "default", (await room.order(verdict)).intents[0].tag)
    assert (shown[0].trigger_pending, shown[0].terms, shown[0].quantity) == (True, stop, 10)
    await held.see(ticks(NOON + SECOND, "97", "94"))
    assert (await room.order(verdict)).status is OrderStatus.OPEN
    shown = await room.exchange.orders_by_tag("paper", "default", (await room.order(verdict)).intents[0].tag)
    assert not shown[0].trigger_pending
    await held.see(ticks(NOON + 2 * SECOND, "95.1"))
    assert (await room.order(verdict)).average_price == 95


async def test_the_stop_and_the_target_of_one_tick_fill_in_the_order_in_which_they_came(room: Room) -> None:
    """Each is an order of its own: the exchange knows of no pairs."""
    first, second = (
        approved(n, side=Side.SELL, terms=terms, effect=PositionEffect.REDUCES)
        for n, terms in enumerate(
            (
                Terms(OrderType.SL_M, trigger_price=Decimal(97)),
                Terms(OrderType.LIMIT, limit_price=Decimal(103)),
            )
        )
    )
    await room.handle(first)
    await room.handle(second)
    await held_by(room).see(ticks(NOON + SECOND, "96", "104"))
    assert [row[2:] for row in await trades(room)] == [(96, "trigger, slippage by percent"), (104, "limit")]


async def test_a_day_order_ends_with_its_day(room: Room) -> None:
    """The first frame after the close cancels it, whatever instrument it is of."""
    verdict = approved(terms=NEAR)
    await room.handle(verdict)
    await held_by(room).see(ticks(NOON + timedelta(hours=4), "90", token=2))
    order = await room.order(verdict)
    assert (order.status, order.message) == (
        OrderStatus.CANCELLED,
        "the trading day ended before the order was filled",
    )


async def test_an_ioc_order_is_cancelled_at_once(room: Room) -> None:
    """What can't fill now doesn't wait; nothing is left at the exchange."""
    verdict = approved(terms=Terms(OrderType.LIMIT, Validity.IOC, limit_price=Decimal(99)))
    await room.handle(verdict)
    assert (await room.order(verdict)).status is OrderStatus.CANCELLED
    assert not room.exchange.holds


def changes(tag: str, quantity: int, terms: Terms) -> Modification:
    instrument = INSTRUMENTS.by_id("NSE:S1")
    assert instrument is not None
    return Modification("default", tag, "1", instrument, Side.BUY, quantity, approved().key.product, terms)


async def test_an_order_is_modified_and_cancelled_by_its_tag(room: Room) -> None:
    """The journal has each call; what has ended is refused in a sentence, and so is what an exchange wouldn't take."""
    verdict, trader = approved(terms=NEAR), room.traders.by_broker["paper"]
    await room.handle(verdict)
    tag = (await room.order(verdict)).intents[0].tag
    lower = Terms(OrderType.LIMIT, limit_price=Decimal(98))
    changed = await trader.modify_order(changes(tag, 25, lower))
    assert (changed.quantity, changed.terms, changed.fills) == (25, lower, ())
    with pytest.raises(BrokerRefused, match="too few"):
        await trader.modify_order(changes(tag, 0, lower))
    await held_by(room).see(ticks(NOON + SECOND, "98.5"))
    assert room.exchange.holds
    cancelled = await trader.cancel_order(Cancellation("default", tag, "1"))
    assert (cancelled.status.value, cancelled.message) == ("cancelled", "cancelled as asked")
    for call in (
        trader.cancel_order(Cancellation("default", tag, "1")),
        trader.modify_order(changes(tag, 30, lower)),
    ):
        with pytest.raises(BrokerRefused, match="has ended"):
            await call
    journal = await room.rows(
        "SELECT what, quantity FROM paper_exchange.calls WHERE what <> 'orders_by_tag' ORDER BY seq"
    )
    assert [tuple(row) for row in journal] == [("place", 10), ("modify", 25), ("cancel", 25)]


async def test_a_modification_to_a_price_that_trades_fills_at_once(room: Room) -> None:
    """It is as an order that comes now."""
    verdict, trader = approved(terms=NEAR), room.traders.by_broker["paper"]
    await room.handle(verdict)
    tag = (await room.order(verdict)).intents[0].tag
    filled = await trader.modify_order(changes(tag, 10, Terms(OrderType.LIMIT, limit_price=Decimal(101))))
    assert filled.status.value == "complete"
    assert Decimal("100.02") <= filled.fills[0].price <= Decimal("100.10")


async def test_what_another_process_has_changed_is_not_changed_from_memory(room: Room, opened) -> None:
    """A tick and a cancel race in two processes: one of them wins, the other hears so."""
    verdict, held = approved(terms=NEAR), held_by(room)
    await room.handle(verdict)
    tag = (await room.order(verdict)).intents[0].tag
    while await held.step():  # it knows the order now
        pass
    async with opened() as other:
        await other.traders.by_broker["paper"].cancel_order(Cancellation("default", tag, "1"))
    await held.see(ticks(NOON + SECOND, "98"))
    assert await trades(room) == []
    with pytest.raises(BrokerRefused, match="has ended"):
        await room.traders.by_broker["paper"].cancel_order(Cancellation("default", tag, "1"))


async def test_the_exchange_follows_the_frames_while_an_order_waits(room: Room) -> None:
    """It reads the log from before the order came, so that no price is missed; without an order it reads nothing."""
    topics = TopicMap(ACTIVE, ("zerodha",))
    log = SqliteEventLog(":memory:")
    await log.start()
    await log.ensure(topics.specs())
    held = held_by(room)
    frames = PaperFrames(room.exchange, held, log, topics)

    async def publish(frame: Frame) -> None:
        await log.publish([to_record(frame_event(frame, "test", wall_clock()), topics)])

    await publish(ticks(NOON + SECOND, "90"))
    await frames.start()
    verdict = approved(terms=NEAR)
    await room.handle(verdict)
    await publish(ticks(NOON + 2 * SECOND, "99.5"))
    await publish(ticks(NOON + 3 * SECOND, "98.75"))
    assert (await room.ended(verdict)).average_price == 99
    assert [row[2:] for row in await trades(room)] == [(Decimal("98.75"), "limit")]
    await frames.stop()
    await log.stop()


async def test_an_order_fills_in_parts_of_what_is_traded(opened) -> None:
    """Each part is a trade and an event; a process that starts meanwhile goes on with what is left, from the volume as stored."""
    share = FillModels(fill_share=Decimal(10), slippage=Slippage.SPREAD)
    async with opened(models=share) as room:
        await room.open_for_trading()
        await room.prices.write([ticks(NOON, "100", volume=1_000)])
        verdict, held = approved(terms=NEAR), held_by(room)
        await room.handle(verdict)
        await held.see(ticks(NOON + SECOND, "99.5", volume=2_000))
        await held.see(ticks(NOON + 2 * SECOND, "99", volume=2_045))
        order = await room.order(verdict)
        assert (order.status, order.filled, order.leaves) == (OrderStatus.PARTIALLY_FILLED, 4, 6)
        async with opened(models=share) as later:
            await later.executor.start()
            await held_by(later).see(ticks(NOON + 3 * SECOND, "98", volume=2_075))
            assert (await later.order(verdict)).filled == 7
            trader = later.traders.by_broker["paper"]
            cancelled = await trader.cancel_order(Cancellation("default", order.intents[0].tag, "1"))
            assert [fill.quantity for fill in cancelled.fills] == [4, 3]
            assert [row[1:] for row in await trades(later)] == [(4, 99, "limit"), (3, 98, "limit")]
        assert [event.WhichOneof("payload") for event in await room.events(verdict)] == [
            "order_submitted",
            "order_filled",
            "order_filled",
        ]


async def test_the_slippage_of_a_stop_is_named_on_its_trade(opened) -> None:
    """Half of a spread of four steps against it, and the trade says so."""
    async with opened(models=FillModels(slippage=Slippage.SPREAD, spread_ticks=4)) as room:
        await room.open_for_trading()
        verdict = approved(terms=Terms(OrderType.SL_M, trigger_price=Decimal(103)))
        await room.handle(verdict)
        await held_by(room).see(ticks(NOON + SECOND, "104"))
        assert [tuple(row) for row in await trades(room)] == [
            (Decimal("104.02"), 10, 104, "trigger, slippage by spread")
        ]


async def test_with_latency_a_market_order_waits_for_the_first_tick_after_it(opened) -> None:
    """What the market does until the order has arrived is nothing to it."""
    async with opened(models=FillModels(latency=2 * SECOND)) as room:
        await room.open_for_trading()
        verdict, held = approved(), held_by(room)
        await room.handle(verdict)
        await held.see(ticks(NOON + SECOND, "120"))
        assert (await room.order(verdict)).status is OrderStatus.OPEN
        await held.see(ticks(NOON + 3 * SECOND, "110"))
        assert Decimal("110.02") <= (await room.order(verdict)).average_price <= Decimal("110.09")
