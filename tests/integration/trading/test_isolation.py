"""One broker's bug stays its own: a broker that raises, hangs or answers late, beside a healthy one, on real stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from tests.values import replace
from trading_room import VISIBILITY_WINDOW, Room, approved, boot_clock, terminal

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.domain.verdict import Approved
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.late_arrivals import LateArrivals
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.traders.paper import PaperTrader
from alphapanda.trading.traders.trader import Placement

BRIEF = TradingOptions(send_window_seconds=1, call_timeout_seconds=1, batch_wait_seconds=0.05)
ENDLESS = TradingOptions(send_window_seconds=1, call_timeout_seconds=600, batch_wait_seconds=0.05)
"""Where a call that hangs is over only when the test says so."""

Opened = Callable[..., AbstractAsyncContextManager[Room]]


class Faulty(PaperTrader):
    """A paper broker whose calls raise or hang while the test wants it.

    Attributes:
        faults: calls that fail: "initialize", "execute_order", "look_up"; of an order also with its instrument.
        hangs: whether they hang instead of raising.
        healed: set where hanging calls go on.
        called: calls, in order.
        shut_down: whether `shutdown` was called.
    """

    def __init__(self, exchange: PaperExchange, faults: Sequence[str], *, hangs: bool) -> None:
        super().__init__("paper", exchange, VISIBILITY_WINDOW)
        self.faults = set(faults)
        self.hangs = hangs
        self.healed = asyncio.Event()
        self.called: list[str] = []
        self.shut_down = False

    async def initialize(self) -> None:
        await self._faultily("initialize")

    async def shutdown(self) -> None:
        self.shut_down = True
        raise KeyError("a bug at the end")

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        await self._faultily("execute_order", placement.instrument.instrument_id)
        return await super().execute_order(placement)

    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        await self._faultily("look_up")
        return await super().look_up(account, tag)

    def heal(self) -> None:
        self.faults.clear()
        self.healed.set()

    async def _faultily(self, call: str, instrument_id: str = "") -> None:
        self.called.append(call)
        if self.faults.isdisjoint({call, f"{call} {instrument_id}"}):
            return
        if not self.hangs:
            raise ZeroDivisionError(f"a bug in {call}")
        await self.healed.wait()


@pytest.fixture
def beside(opened: Opened) -> Callable[..., AbstractAsyncContextManager[tuple[Room, Faulty]]]:
    """A room whose paper broker is faulty; papertwo is healthy."""

    @asynccontextmanager
    async def made(
        *faults: str,
        hangs: bool,
        options: TradingOptions = BRIEF,
        boot: Callable[[], float] = boot_clock,
    ) -> AsyncIterator[tuple[Room, Faulty]]:
        traders: list[Faulty] = []

        def trader(exchange: PaperExchange) -> Faulty:
            traders.append(Faulty(exchange, faults, hangs=hangs))
            return traders[0]

        async with opened(trader=trader, options=options, boot=boot, start_seconds=0.05) as room:
            await room.open_for_trading()
            yield room, traders[0]

    return made


def of_two(number: int, token: int = 1, **changes: Any) -> Approved:
    """A verdict for the healthy broker."""
    return approved(number, token, key=replace(approved(token=token).key, broker="papertwo"), **changes)


async def status_is(room: Room, verdict: Approved, wanted: OrderStatus) -> None:
    async with asyncio.timeout(30):
        while (await room.order(verdict)).status is not wanted:  # noqa: ASYNC110 - the row tells nobody of its changes
            await asyncio.sleep(0.02)


LEAVES = {"side": Side.SELL, "effect": PositionEffect.REDUCES}


# -- at the start ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
async def test_a_broker_that_cannot_start_fails_its_entries_and_keeps_its_exits(beside, hangs: bool) -> None:
    """The others trade; health names the broker; once it is up its exits are sent, once, and its entries pass again."""
    async with beside("initialize", hangs=hangs) as (room, faulty):
        entry, leaving, healthy = approved(1, 1), approved(2, 2, **LEAVES), of_two(3)
        await room.handle(entry, leaving)
        await room.handle(healthy)
        assert (await room.ended(healthy)).status is OrderStatus.FILLED
        failed = await room.ended(entry)
        assert failed.failure is FailureReason.BROKER_NOT_READY
        assert (await room.order(leaving)).status is OrderStatus.PENDING_SUBMIT
        (told,) = terminal(await room.events(entry))
        assert told.order_failed.message.startswith("broker 'paper' is not ready: ")
        assert "broker 'paper' is not ready" in room.traders.degradation
        assert "papertwo" not in room.traders.degradation
        assert not room.traders.by_broker["papertwo"].problem
        faulty.heal()
        assert (await room.ended(leaving)).status is OrderStatus.FILLED
        again = approved(4, 4)
        await room.handle(again)
        assert (await room.ended(again)).status is OrderStatus.FILLED
        assert not room.traders.degradation
        assert set((await room.calls()).values()) == {1}
    assert faulty.shut_down


@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
async def test_a_look_up_that_fails_at_the_start_ends_no_start(beside, hangs: bool) -> None:
    """Open orders of the faulty broker are looked up in the background; a start and each rebalance go on without it."""
    lost, later = [approved(number, number) for number in range(1, 13)], 0.0
    async with beside("execute_order", "look_up", hangs=False) as (room, _):
        await room.handle(*lost)
        for verdict in lost:
            await status_is(room, verdict, OrderStatus.UNKNOWN)
    async with beside("look_up", hangs=hangs, options=ENDLESS, boot=lambda: boot_clock() + later) as (
        room,
        faulty,
    ):
        async with asyncio.timeout(10):
            await room.executor.resume()
            healthy = of_two(100)
            await room.handle(healthy)
        assert (await room.ended(healthy)).status is OrderStatus.FILLED
        assert "look_up" in faulty.called
        later = 1000.0
        faulty.heal()
        assert {(await room.ended(verdict)).failure for verdict in lost} == {FailureReason.ABSENT}


# -- in the middle -----------------------------------------------------------------------------------------------------


async def test_an_order_that_hangs_holds_no_other_back(beside) -> None:
    """While one call hangs, later batches of the same partition, entries and exits, are executed, and so is the other broker."""
    async with beside("execute_order NSE:S1", hangs=True, options=ENDLESS) as (room, faulty):
        hanging, other, two = approved(1, 1), approved(2, 2), of_two(3)
        async with asyncio.timeout(10):
            await room.handle(hanging)
            await room.handle(other)
            await room.handle(two)
            assert (await room.ended(other)).status is OrderStatus.FILLED
            assert (await room.ended(two)).status is OrderStatus.FILLED
            leaving = approved(4, 2, **LEAVES)
            await room.handle(leaving)
            assert (await room.ended(leaving)).status is OrderStatus.FILLED
        assert (await room.order(hanging)).status is OrderStatus.SUBMITTING
        faulty.heal()
        assert (await room.ended(hanging)).status is OrderStatus.FILLED
        assert set((await room.calls()).values()) == {1}


async def test_a_key_whose_order_hangs_keeps_its_order(beside) -> None:
    """Orders of one position key are sent one after the other: a later batch's waits for the one that hangs."""
    async with beside("execute_order NSE:S1", hangs=True, options=ENDLESS) as (room, faulty):
        first, second = approved(1, 1), approved(2, 1, **LEAVES)
        await room.handle(first)
        await room.handle(second)
        assert (await room.order(second)).status is OrderStatus.PENDING_SUBMIT
        assert faulty.called.count("execute_order") == 1
        faulty.heal()
        assert (await room.ended(second)).status is OrderStatus.FILLED
        sent = await room.rows("SELECT tag FROM paper_exchange.calls WHERE what = 'place' ORDER BY seq")
        orders = [await room.order(verdict) for verdict in (first, second)]
        assert [row.tag for row in sent] == [order.intents[0].tag for order in orders]


async def test_a_full_house_of_hanging_calls_is_that_brokers_alone(beside) -> None:
    """All call slots of one broker hang: the other broker's orders, and this one's exits, find theirs free."""
    async with beside("execute_order", hangs=True, options=ENDLESS) as (room, faulty):
        await room.handle(*(approved(number, number) for number in range(1, 21)))
        two = of_two(100)
        await room.handle(two)
        assert (await room.ended(two, 10)).status is OrderStatus.FILLED
        faulty.faults.clear()
        leaving = approved(200, 30, **LEAVES)
        await room.handle(leaving)
        assert (await room.ended(leaving, 10)).status is OrderStatus.FILLED
        faulty.heal()


@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
async def test_a_call_that_fails_is_unknown_and_asked_for(beside, hangs: bool) -> None:
    """A call that raises what nobody expected, or isn't over in its time, is UNKNOWN, then absent; never sent again."""
    async with beside("execute_order NSE:S1", hangs=hangs) as (room, faulty):
        failing, other = approved(1, 1), approved(2, 2)
        await room.handle(failing, other)
        assert (await room.ended(other)).status is OrderStatus.FILLED
        await status_is(room, failing, OrderStatus.UNKNOWN)
        assert (await room.ended(failing)).failure is FailureReason.ABSENT
        assert faulty.called.count("execute_order") == 2
        assert len(terminal(await room.events(failing))) == 1


async def test_an_answer_after_a_minute_is_found_by_its_tag(beside) -> None:
    """The broker took the order and answers long after the call's time: a look-up finds the order, filled once."""
    async with beside(hangs=False) as (room, faulty):
        place = faulty.execute_order

        async def slow(placement: Placement) -> BrokerOrder:
            report = await place(placement)
            await asyncio.sleep(60)
            return report

        faulty.execute_order = slow
        slow_one, other = approved(1, 1), approved(2, 2)
        await room.handle(slow_one)
        faulty.execute_order = place
        await room.handle(other)
        assert (await room.ended(other)).status is OrderStatus.FILLED
        order = await room.ended(slow_one)
        assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
        assert set((await room.calls()).values()) == {1}


# -- at look-up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
async def test_a_look_up_that_fails_is_asked_again(beside, hangs: bool) -> None:
    """An order stays UNKNOWN while its look-ups fail, is reported, and is found once they work."""
    async with beside("look_up", hangs=hangs) as (room, faulty):
        place = faulty.execute_order

        async def loses_the_answer(placement: Placement) -> BrokerOrder:
            await place(placement)
            raise ConnectionResetError("the line went dead")

        faulty.execute_order = loses_the_answer
        lost = approved(1, 1)
        await room.handle(lost)
        faulty.execute_order = place
        async with asyncio.timeout(30):
            while faulty.called.count("look_up") < 3:  # noqa: ASYNC110 - any of several look-ups may be the third
                await asyncio.sleep(0.02)
        assert (await room.order(lost)).status is OrderStatus.UNKNOWN
        assert "did not answer" in room.traders.degradation or hangs
        two = of_two(2)
        await room.handle(two)
        assert (await room.ended(two)).status is OrderStatus.FILLED
        faulty.heal()
        assert (await room.ended(lost)).status is OrderStatus.FILLED
        assert set((await room.calls()).values()) == {1}


async def test_late_arrivals_of_one_broker_are_found_while_another_raises(beside) -> None:
    """The round that looks for late arrivals goes on past a broker whose look-ups fail."""
    async with beside("execute_order NSE:S1", hangs=False) as (room, faulty):
        lost = approved(1, 1)
        await room.handle(lost)
        assert (await room.ended(lost)).failure is FailureReason.ABSENT
        faulty.faults.add("look_up")
        rounds = LateArrivals(room.executor._context).rounds
        assert await rounds.once()
        assert rounds.serving
