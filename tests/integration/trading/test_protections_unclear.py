"""Protected positions at a broker that fills in parts, loses answers and ends orders by itself; and processes that end anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from resting_broker import RestingBroker
from trading_room import NOON, Room, approved

from alphapanda.domain.broker_order import BrokerOrderStatus
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import OrderStatus, PositionEffect, Side
from alphapanda.domain.terms import Protection
from alphapanda.domain.verdict import Approved
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.core.protection_actions import Reason
from alphapanda.trading.core.protection_record import ProtectionRecord, ProtectionState
from panda.trading.v1 import protections_pb2 as messages

BRACKET = Protection(Decimal(95), Decimal(110))
SECOND = timedelta(seconds=1)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def broker() -> RestingBroker:
    return RestingBroker()


@pytest.fixture
async def room(opened, broker: RestingBroker) -> AsyncIterator[Room]:
    """A room open for trading, at a broker where orders rest until they are filled."""
    async with opened(trader=broker) as made:
        await made.open_for_trading()
        yield made


async def price_is(room: Room, rupees: str) -> None:
    """Writes a price of instrument 1 and a second more of market time, and looks."""
    ns = nanoseconds(NOON + SECOND)
    await room.prices.write([Frame("run", 0, 2, ns, 100, [1], [int(Decimal(rupees) * 100)], [ns])])
    await room.protections.look()


async def fill(room: Room, broker: RestingBroker, order_id: str, units: int) -> None:
    """The broker fills units of an order, and trading reads it."""
    stored = await room.store.find(order_id)
    assert stored is not None
    broker.fill(stored.order.intents[-1].tag, units)
    await room.executor.driver.drive(order_id)


async def record(room: Room, entry: Approved) -> ProtectionRecord:
    stored = await room.store.protections.find(order_id_of(entry.signal_id))
    assert stored is not None
    return stored.record


async def held(room: Room, entry: Approved) -> int:
    async with room.store.transaction() as transaction:
        return await transaction.position(entry.key)


async def own(room: Room) -> list[tuple[str, int, int]]:
    """(status, units, filled) of each order that protects, oldest first."""
    rows = await room.rows(
        "SELECT status, quantity, filled FROM trading.orders WHERE protective ORDER BY seq"
    )
    return [(OrderStatus(row.status).name, row.quantity, row.filled) for row in rows]


async def test_rule_11_the_stop_rests_from_the_first_partial_fill_and_follows(
    room: Room, broker: RestingBroker
) -> None:
    """Three of ten units: a stop of three; seven: it is modified to seven; the target cancels it and the rest of the entry."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    order_id = order_id_of(entry.signal_id)
    assert await own(room) == []
    await fill(room, broker, order_id, 3)
    assert await own(room) == [("OPEN", 3, 0)]
    await fill(room, broker, order_id, 4)
    assert await own(room) == [("OPEN", 7, 0)]
    assert broker.called("modify") == 1
    await price_is(room, "110")
    assert await own(room) == [("CANCELLED", 7, 0), ("OPEN", 7, 0)]
    assert (await room.order(entry)).status is OrderStatus.CANCELLED
    await fill(room, broker, (await record(room, entry)).exit_order_id, 7)
    assert (await record(room, entry)).ended is Reason.TARGET
    assert await held(room, entry) == 0


async def test_rule_9_what_the_stop_fills_while_it_is_cancelled_is_not_sold_again(
    room: Room, broker: RestingBroker
) -> None:
    """The target is touched, and the stop fills four units just before its cancellation: the exit has the six that are left."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await fill(room, broker, order_id_of(entry.signal_id), 10)
    broker.before = lambda tag: broker.fill(tag, 4)
    await price_is(room, "111")
    assert await own(room) == [("CANCELLED", 10, 4), ("OPEN", 6, 0)]
    await fill(room, broker, (await record(room, entry)).exit_order_id, 6)
    assert await held(room, entry) == 0


@pytest.mark.parametrize("status", [BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED])
async def test_rule_15_a_stop_that_the_broker_ends_is_an_incident_and_the_position_is_exited(
    room: Room, broker: RestingBroker, status: BrokerOrderStatus
) -> None:
    """Nobody asked for it: an alarm, and a market order for what is held."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await fill(room, broker, order_id_of(entry.signal_id), 10)
    stop = (await record(room, entry)).stop_order_id
    stored = await room.store.find(stop)
    assert stored is not None
    tag = stored.order.intents[0].tag
    broker.orders[tag] = replace(broker.orders[tag], status=status, message="price protection")
    await room.executor.driver.drive(stop)
    found = await record(room, entry)
    assert found.guard.leaving is Reason.STOP_LOST
    assert "without being asked" in found.message
    assert found.message.endswith("(price protection)")
    assert (await own(room))[1:] == [("OPEN", 10, 0)]


@pytest.mark.parametrize("fate", ["lost", "dropped"])
async def test_an_exit_waits_for_the_answer_of_the_stops_cancellation(
    room: Room, broker: RestingBroker, fate: str
) -> None:
    """The answer is lost, or the call itself: nothing is sold before the broker shows the stop as cancelled."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await fill(room, broker, order_id_of(entry.signal_id), 10)
    getattr(broker, fate)["cancel"] = 1
    await price_is(room, "110")
    for _ in range(40):
        await room.changes.wait([(await record(room, entry)).stop_order_id], 5)
        await room.protections.look()
        stop, *exits = await own(room)
        assert not exits or stop[0] == "CANCELLED"
        if exits:
            break
    assert await own(room) == [("CANCELLED", 10, 0), ("OPEN", 10, 0)]


async def test_rule_9_an_exit_waits_for_the_stop_of_a_protection_that_a_person_has_ended(
    room: Room, broker: RestingBroker
) -> None:
    """Its cancellation has no answer yet, so the stop may still fill: another exit beside it would sell the position twice."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await fill(room, broker, order_id_of(entry.signal_id), 10)
    broker.dropped["cancel"] = 4
    stop = (await record(room, entry)).stop_order_id
    request = messages.CancelProtectionRequest(request_id="1", order_id=stop)
    await room.api.CancelProtection(request, None)
    leaving = approved(1, side=Side.SELL, effect=PositionEffect.REDUCES)
    handling = asyncio.create_task(room.handle(leaving))
    await asyncio.sleep(0.2)
    assert (await room.order(leaving)).status is OrderStatus.PENDING_SUBMIT
    await fill(room, broker, stop, 10)
    assert (await room.ended(leaving)).filled == 0
    await handling
    assert await held(room, entry) == 0


async def test_a_step_that_broke_off_is_taken_further_without_a_restart(
    room: Room, broker: RestingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop is stored, and its process loses its connection before the call: the stop isn't left there for ever."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)

    class Broken:
        """A driver that can't drive what protects."""

        def __getattr__(self, name: str) -> Any:
            return getattr(room.executor.driver, name)

        async def drive(self, *_: Any) -> None:
            raise ConnectionError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr(room.protections, "_driver", Broken())
        with pytest.raises(ConnectionError):
            await fill(room, broker, order_id_of(entry.signal_id), 10)
    assert await own(room) == [("PENDING_SUBMIT", 10, 0)]
    async with asyncio.timeout(60):
        while await own(room) != [("OPEN", 10, 0)]:
            await room.protections.look()
            await asyncio.sleep(0.02)


def dying(step: int) -> Callable[[Any], Any]:
    """What takes the place of a room's driver and changes for its protections: it ends the process at a step."""
    left = [step]

    class Dying:
        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def _step(self) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        async def drive(self, *args: Any) -> None:
            self._step()
            await self._real.drive(*args)
            self._step()

        def follow(self, order_id: str) -> None:
            self._step()
            self._real.follow(order_id)

        def keep(self, order_id: str) -> None:
            self._real.keep(order_id)

        async def wait(self, *args: Any) -> None:
            await self._real.wait(*args)
            self._step()

    return Dying


@pytest.mark.parametrize("step", range(6))
async def test_a_process_that_ends_at_any_step_of_the_way_leaves_it_to_the_next(opened, step: int) -> None:
    """Between a row and its call, between a call and the next step: each order is placed once, and ten units are sold once."""
    async with opened() as first:
        await first.open_for_trading()
        made = dying(step)
        first.protections._driver = made(first.executor.driver)
        first.protections._changes = made(first.changes)
        entry = approved(protection=BRACKET)
        with suppress(Killed):
            await first.handle(entry)
            await price_is(first, "110")
    async with opened() as later:
        await later.executor.start()
        await later.changes.start()
        async with asyncio.timeout(60):
            while (await record(later, entry)).state is not ProtectionState.ENDED:
                await price_is(later, "110")
        assert await held(later, entry) == 0
        ended = await record(later, entry)
        assert (ended.state, ended.ended) == (ProtectionState.ENDED, Reason.TARGET)
        assert sum(filled for _, _, filled in await own(later)) == 10
        assert set((await later.calls()).values()) == {1}


async def test_a_flip_after_a_part_of_the_stop_has_filled_is_cut_to_what_is_held(
    room: Room, broker: RestingBroker
) -> None:
    """Risk approved a flip of twenty units when ten were held; the stop has filled four since: six are sold, none is opened."""
    entry = approved(protection=BRACKET)
    await room.handle(entry)
    await fill(room, broker, order_id_of(entry.signal_id), 10)
    broker.before = lambda tag: broker.fill(tag, 4)
    flip = approved(1, side=Side.SELL, quantity=20, effect=PositionEffect.FLIPS)
    await room.handle(flip)
    order = await room.order(flip)
    assert (order.quantity, order.effect, order.status) == (6, PositionEffect.REDUCES, OrderStatus.OPEN)
