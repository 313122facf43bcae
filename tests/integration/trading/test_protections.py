"""Protected positions at the paper exchange, on rows: whoever runs them, and whenever a process ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from trading_room import NOON, Room, approved

from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import OrderStatus, OrderType, PositionEffect, Side, TradingState
from alphapanda.domain.terms import Protection, Terms
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.core.protection_actions import Reason
from alphapanda.trading.core.protection_record import ProtectionRecord, ProtectionState
from alphapanda.trading.held_orders import HeldOrders
from panda.trading.v1 import protections_pb2 as messages
from panda.trading.v1 import trading_pb2 as trading

SECOND = timedelta(seconds=1)
BRACKET = Protection(Decimal(95), Decimal(110))


@pytest.fixture
async def room(opened) -> AsyncIterator[Room]:
    """A room open for trading at noon, with every price at 100."""
    async with opened() as made:
        await made.open_for_trading()
        yield made


async def at(room: Room, moment: datetime, *prices: str) -> None:
    """Ticks of instrument 1: the exchange sees them, the price cache has the last of them, the protections are stepped."""
    ns = nanoseconds(moment)
    paise = [int(Decimal(price) * 100) for price in prices]
    frame = Frame("run", 0, 2, ns, 100, [1] * len(paise), paise, [ns] * len(paise))
    await room.prices.write([frame])
    await HeldOrders(room.exchange, room.store, room.executor.driver).see(frame)
    await room.protections.look()


async def record(room: Room, entry: Approved) -> ProtectionRecord:
    stored = await room.store.protections.find(order_id_of(entry.signal_id))
    assert stored is not None
    return stored.record


async def held(room: Room, entry: Approved) -> int:
    async with room.store.transaction() as transaction:
        return await transaction.position(entry.key)


async def own(room: Room, entry: Approved) -> list[tuple[str, str, int, int]]:
    """(type, status, units, filled) of each order that protects, oldest first."""
    rows = await room.rows(
        "SELECT order_type, status, quantity, filled FROM trading.orders WHERE protective ORDER BY seq"
    )
    return [
        (OrderType(row.order_type).name, OrderStatus(row.status).name, row.quantity, row.filled)
        for row in rows
    ]


async def test_an_entrys_stop_rests_at_the_exchange_and_ends_the_position(room: Room) -> None:
    """The stop is placed with the entry's fill, is hit by a tick that came later, and the protection has ended: stopped."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    assert await own(room, entry) == [("SL", "OPEN", 10, 0)]
    assert (await record(room, entry)).state is ProtectionState.ACTIVE
    await at(room, NOON + SECOND, "96", "94.5")
    assert await own(room, entry) == [("SL", "FILLED", 10, 10)]
    ended = await record(room, entry)
    assert (ended.state, ended.ended, await held(room, entry)) == (ProtectionState.ENDED, Reason.STOPPED, 0)


async def test_the_target_cancels_the_stop_and_closes_the_position(room: Room) -> None:
    """A tick at the target: the stop is cancelled first, ten units are sold once at the market."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await at(room, NOON + SECOND, "110")
    assert await own(room, entry) == [("SL", "CANCELLED", 10, 0), ("MARKET", "FILLED", 10, 10)]
    assert (await record(room, entry)).ended is Reason.TARGET
    assert await held(room, entry) == 0


@pytest.mark.parametrize("quantity", [10, 4])
async def test_a_strategys_exit_passes_once_the_stop_is_cancelled(room: Room, quantity: int) -> None:
    """All of it ends the protection; a part leaves a stop for the rest. A square-off of more is cut to what is held."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    out = approved(1, side=Side.SELL, quantity=quantity, effect=PositionEffect.REDUCES)
    await room.handle(out)
    assert (await room.ended(out)).status is OrderStatus.FILLED
    await room.protections.look()
    orders = await own(room, entry)
    assert orders[0] == ("SL", "CANCELLED", 10, 0)
    assert orders[1:] == ([] if quantity == 10 else [("SL", "OPEN", 6, 0)])
    assert await held(room, entry) == 10 - quantity


async def test_an_exit_that_would_rest_is_refused_and_leaves_the_stop_where_it_is(room: Room) -> None:
    """A limit above the market would keep the stop away for as long as it rests."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    rests = Terms(OrderType.LIMIT, limit_price=Decimal(120))
    out = approved(1, side=Side.SELL, effect=PositionEffect.REDUCES, terms=rests)
    await room.handle(out)
    assert "keep its stop away" in (await room.ended(out)).message
    assert await own(room, entry) == [("SL", "OPEN", 10, 0)]


async def test_an_exit_that_risk_approved_before_it_knew_of_the_stop_sells_nothing(room: Room) -> None:
    """The stop has closed the position: an exit and a flip that come after it are ended, and none crosses zero."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await at(room, NOON + SECOND, "94")
    late = approved(1, side=Side.SELL, effect=PositionEffect.REDUCES)
    flip = approved(2, side=Side.SELL, quantity=20, effect=PositionEffect.FLIPS)
    await room.handle(late)
    await room.handle(flip)
    for order in (await room.ended(late), await room.ended(flip)):
        assert (order.status, order.filled) == (OrderStatus.FAILED, 0)
        assert "closed the position" in order.message
    assert await held(room, entry) == 0


async def test_a_position_that_needs_nothing_costs_no_transaction(room: Room, monkeypatch) -> None:
    """Prices alone are compared, until one matters or an order of the account changes."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await room.protections.look()
    begun = []
    transaction = room.store.transaction
    monkeypatch.setattr(room.store, "transaction", lambda: begun.append(1) or transaction())
    ns = nanoseconds(NOON + SECOND)
    await room.prices.write([Frame("run", 0, 2, ns, 100, [1], [10_400], [ns])])
    await room.protections.look()
    assert not begun
    await room.handle(approved(1, token=2))
    await room.protections.look()
    assert begun
    begun.clear()
    await at(room, NOON + 2 * SECOND, "110")
    assert await held(room, entry) == 0


async def test_a_restart_continues_from_the_rows(room: Room, opened) -> None:
    """The process that placed the stop is gone: another one moves it with the trail, and takes the profit."""
    entry = approved(protection=Protection(Decimal(95), Decimal(110), Decimal(5)))
    await room.handle(entry)
    async with opened() as later:
        await later.executor.start()
        assert later.protections.concerns(entry.key)
        await at(later, NOON + SECOND, "104")
        (stop,) = await later.rows("SELECT * FROM trading.orders WHERE protective")
        assert stop.trigger_price == 99
        await at(later, NOON + 2 * SECOND, "110")
        assert await held(later, entry) == 0
        assert (await record(later, entry)).ended is Reason.TARGET


async def test_a_kill_between_the_entrys_fill_and_its_stop_leaves_it_protected_after_the_restart(
    room: Room, opened
) -> None:
    """Nobody stepped the protection after the fill: the next start does, with its first look."""
    entry = approved(protection=BRACKET)

    async def killed(_: object) -> None:
        return None

    room.protections.nudge = killed  # type: ignore[method-assign]
    await room.handle(entry)
    assert await own(room, entry) == []
    async with opened() as later:
        await later.executor.start()
        await later.changes.start()
        await later.protections.look()
        assert await own(later, entry) == [("SL", "OPEN", 10, 0)]


async def test_a_halted_broker_is_an_alarm_and_the_stop_comes_when_it_may(room: Room) -> None:
    """No stop can be sent while HALTED: the protection says so, and places it once orders pass again."""
    entry = approved(protection=BRACKET)

    async def later(_: object) -> None:
        return None

    nudge = room.protections.nudge
    room.protections.nudge = later  # type: ignore[method-assign]
    await room.handle(entry)
    room.protections.nudge = nudge  # type: ignore[method-assign]
    await room.mirror.write("paper", TradingState.HALTED, 1)
    await room.protections.look()
    assert "HALTED" in (await record(room, entry)).message
    await room.mirror.write("paper", TradingState.ACTIVE, 2)
    await room.protections.look()
    assert await own(room, entry) == [("SL", "OPEN", 10, 0)]


async def test_a_later_entry_brings_its_levels_for_the_whole_position(room: Room) -> None:
    """Ten more units with a stop at 97: one stop of twenty at 97, and the later protection is part of the first."""
    entry, more = approved(protection=BRACKET), approved(1, protection=Protection(Decimal(97)))
    await room.handle(entry)
    await room.handle(more)
    await room.protections.look()
    (stop,) = await room.rows("SELECT * FROM trading.orders WHERE protective")
    assert (stop.quantity, stop.trigger_price) == (20, 97)
    first = await record(room, entry)
    assert (first.state, first.levels.target, len(first.entries)) == (ProtectionState.ACTIVE, None, 2)


async def test_a_person_ends_a_protection_and_its_orders_are_not_cancelled_by_themselves(room: Room) -> None:
    """CancelOrder refuses the stop by name, CancelAllOrders leaves it, CancelProtection cancels it; the position stays."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    order_id = order_id_of(entry.signal_id)
    found = await room.api.GetProtection(messages.GetProtectionRequest(order_id=order_id), None)
    stop = found.protection.stop_order_id
    with pytest.raises(Exception, match="unprotect"):
        await room.api.CancelOrder(trading.CancelOrderRequest(request_id="1", order_id=stop), None)
    assert not (
        await room.api.CancelAllOrders(trading.CancelAllOrdersRequest(request_id="2"), None)
    ).cancellations
    request = messages.CancelProtectionRequest(request_id="3", order_id=stop)
    ended = await room.api.CancelProtection(request, None)
    assert ended.protection.reason == "cancelled"
    assert (await room.api.CancelProtection(request, None)).protection == ended.protection
    await room.changes.wait([stop], 5)
    assert await own(room, entry) == [("SL", "CANCELLED", 10, 0)]
    await room.protections.look()
    assert await held(room, entry) == 10
    listed = await room.api.ListProtections(messages.ListProtectionsRequest(), None)
    assert not listed.protections
    listed = await room.api.ListProtections(messages.ListProtectionsRequest(ended_too=True), None)
    assert [one.order_id for one in listed.protections] == [order_id]
