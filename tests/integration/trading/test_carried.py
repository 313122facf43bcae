"""Protected positions that are carried over night: on rows, at the paper exchange and at the stub, over restarts (REAL_MONEY rule 11)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest
import trading_room
from structlog.testing import capture_logs
from tests.values import replace
from trading_room import NOON, Room, approved
from zerodha_room import Live, Opened, at_the_stub

from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import OrderStatus, OrderType, Product
from alphapanda.domain.terms import Protection
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.held_orders import HeldOrders

BRACKET: Final = Protection(Decimal(95), Decimal(110))
MONDAY: Final = datetime.fromisoformat("2026-11-23T09:15:00+05:30")
"""The next session after NOON, which is on a Friday."""
SECOND: Final = timedelta(seconds=1)
EARLY: Final = MONDAY - timedelta(minutes=45) - NOON
"""After the broker's day has begun, and before the session."""
Days = Callable[[timedelta], None]


@pytest.fixture
def days_pass(monkeypatch: pytest.MonkeyPatch) -> Days:
    """Sets the wall clock to so much after NOON, in rooms that are opened or running."""
    ahead = [timedelta(0)]
    monkeypatch.setattr(trading_room, "wall_clock", lambda: NOON + ahead[0])

    def pass_(time: timedelta) -> None:
        ahead[0] = time

    return pass_


def carried(number: int = 0) -> Approved:
    """An entry for delivery, with a stop and a target."""
    verdict = approved(number, protection=BRACKET)
    return replace(verdict, key=replace(verdict.key, product=Product.CNC))


async def own(room: Room) -> list[tuple[str, str, int, int]]:
    """(type, status, units, filled) of each order that protects, oldest first."""
    rows = await room.rows(
        "SELECT order_type, status, quantity, filled FROM trading.orders WHERE protective ORDER BY seq"
    )
    return [
        (OrderType(row.order_type).name, OrderStatus(row.status).name, row.quantity, row.filled)
        for row in rows
    ]


async def at(room: Room, moment: datetime, rupees: str) -> None:
    """A tick of instrument 1: the exchange sees it, the price cache has it, the protections are stepped."""
    ns = nanoseconds(moment)
    frame = Frame("run", 0, 2, ns, 100, [1], [int(Decimal(rupees) * 100)], [ns])
    await room.prices.write([frame])
    await HeldOrders(room.exchange, room.store, room.executor.driver).see(frame)
    await room.protections.look()


@pytest.mark.parametrize("open_at", ["99", "90"])
async def test_rule_11_a_restart_over_night_brings_the_stop_back_with_the_next_open(
    opened: Opened, days_pass: Days, open_at: str
) -> None:
    """On paper: Friday's stop ends with Friday, whoever sees that; Monday's first price brings another one, or the exit."""
    entry = carried()
    async with opened() as friday:
        await friday.open_for_trading()
        await friday.handle(entry)
        assert await own(friday) == [("SL", "OPEN", 10, 0)]
    days_pass(EARLY)
    async with opened() as monday:
        await monday.executor.start()
        await monday.changes.start()
        await at(monday, MONDAY, open_at)
        stop, second = await own(monday)
        assert stop == ("SL", "CANCELLED", 10, 0)
        if open_at == "90":
            assert second == ("MARKET", "FILLED", 10, 10)
            return
        assert second == ("SL", "OPEN", 10, 0)
        await at(monday, MONDAY + SECOND, "94")
        assert (await own(monday))[1] == ("SL", "FILLED", 10, 10)


async def entered(live: Live) -> Approved:
    """Ten shares at Zerodha for delivery, whose stop waits there for its trigger."""
    live.price(Decimal(750))
    await price_is(live, NOON, 750)
    entry = live.signal(protection=Protection(Decimal(730), Decimal(800)))
    entry = replace(entry, key=replace(entry.key, product=Product.CNC))
    await live.room.handle(entry)
    assert (await live.room.ended(entry)).filled == 10
    await live.room.protections.look()
    (stop,) = [order for order in live.book() if order.order_type == "SL"]
    assert (stop.status, stop.quantity, stop.product) == ("TRIGGER PENDING", 10, "CNC")
    return entry


async def price_is(live: Live, moment: datetime, rupees: int) -> None:
    ns, token = nanoseconds(moment), live.instrument.instrument_token
    frame = Frame("run", 0, 1, ns, 100, [token], [rupees * 100], [ns], simulated=False)
    await live.room.prices.write([frame])


async def stop_of(live: Live, entry: Approved) -> str:
    stored = await live.room.store.protections.find(order_id_of(entry.signal_id))
    assert stored is not None
    return stored.record.stop_order_id


def next_day(live: Live) -> None:
    live.stub.do(lambda exchange: exchange.desk.list_day())


@pytest.mark.parametrize("open_at", [745, 720])
async def test_rule_11_a_stop_that_zerodha_ends_with_the_day_comes_back_at_the_next_open(
    opened: Opened, days_pass: Days, open_at: int
) -> None:
    """Its cancellation in the evening is no incident, and nothing is sent before the open; then a stop, or the exit."""
    async with at_the_stub(opened) as live:
        entry = await entered(live)
        await price_is(live, NOON.replace(hour=10, minute=0, second=1), 750)  # 15:30:01 in India
        live.stub.do(lambda exchange: exchange.desk.close_day())
        with capture_logs() as logs:
            await live.room.executor.driver.drive(await stop_of(live, entry))
            await live.room.protections.look()
            days_pass(EARLY)
            next_day(live)
            await live.room.protections.look()
            assert live.book() == []
            live.price(Decimal(open_at))
            await price_is(live, MONDAY, open_at)
            await live.room.protections.look()
        (order,) = live.book()
        shown = (order.order_type, order.status, order.quantity, order.filled)
        assert shown == (
            ("SL", "TRIGGER PENDING", 10, 0) if open_at == 745 else ("LIMIT", "COMPLETE", 10, 10)
        )
        assert not [one for one in logs if one["event"] == "protection.incident"]


async def test_rule_11_a_restart_after_zerodhas_book_of_the_day_is_gone_ends_the_stop_and_places_another(
    opened: Opened, days_pass: Days
) -> None:
    """Nobody looked in the evening. The account holds what we do, so the stop can't have filled: it ended with its day."""
    async with at_the_stub(opened) as live:
        stop = await stop_of(live, await entered(live))
        await live.room.executor.stop()
        next_day(live)
        days_pass(EARLY)
        await live.room.executor.start()
        await live.room.executor.driver.wait_for_end(stop, 60)
        await live.room.protections.look()
        assert live.book() == []
        await price_is(live, MONDAY, 745)
        await live.room.protections.look()
        assert [(order.order_type, order.status) for order in live.book()] == [("SL", "TRIGGER PENDING")]
        assert await own(live.room) == [("SL", "CANCELLED", 10, 0), ("SL", "OPEN", 10, 0)]


async def test_rule_11_a_stop_that_may_have_filled_meanwhile_is_for_a_person(
    opened: Opened, days_pass: Days
) -> None:
    """The account holds less than we think: nothing is sent in place of the stop, with an alarm."""
    async with at_the_stub(opened) as live:
        stop = await stop_of(live, await entered(live))
        await live.room.executor.stop()
        live.price(Decimal(728))
        next_day(live)
        days_pass(EARLY)
        with capture_logs() as logs:
            await live.room.executor.start()
            await live.room.executor.driver.drive(stop)
            await price_is(live, MONDAY, 728)
            await live.room.protections.look()
        assert live.book() == []
        assert "order.unresolved" in [one["event"] for one in logs if one.get("alarm")]
        assert await own(live.room) == [("SL", "OPEN", 10, 0)]
