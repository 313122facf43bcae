"""Orders that many reach for at once, on a real PostgreSQL: whatever the order of things, the outcome is one of the right ones.

Two processes meet the same signals in batches cut at random, again and again, while signals are buried, the kill switch
is set and lifted, batches are cut off, senders are too late, answers get lost and a third process takes over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from random import Random

import pytest
from trading_room import VISIBILITY_WINDOW, Room, approved, boot_clock, terminal

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.verdict import Approved
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.options import TradingOptions
from alphapanda.trading.traders.paper import PaperTrader
from alphapanda.trading.traders.trader import NoClearAnswer, Placement
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading

SIGNALS = 24
OPTIONS = TradingOptions(send_window_seconds=1, call_timeout_seconds=30, batch_wait_seconds=60)


class Forgetful(PaperTrader):
    """Loses the answers of some calls, and some calls."""

    def __init__(self, exchange: PaperExchange, chance: Random) -> None:
        super().__init__("paper", exchange, VISIBILITY_WINDOW)
        self._chance = chance

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        fate = self._chance.random()
        if fate < 0.05:
            raise NoClearAnswer("lost on its way")
        report = await super().execute_order(placement)
        if fate < 0.15:
            raise NoClearAnswer("the answer was lost")
        return report


class Sender:
    """One process: its clock jumps now and then between a commit and the call, and can be let run out."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._ahead = 0.0

    def boot(self) -> float:
        return boot_clock() + self._ahead

    def at(self, step: str) -> None:
        if step == "submitting_committed" and self._chance.random() < 0.1:
            self._ahead += 1.5

    def later(self, seconds: float) -> None:
        self._ahead += seconds


async def deliver(room: Room, verdicts: Sequence[Approved], chance: Random) -> None:
    """All of them in batches cut at random; some batches are cut off and come again."""
    left = list(verdicts)
    while left:
        size = 1 + int(chance.random() * 8)
        handling = asyncio.create_task(room.handle(*left[:size]))
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.05)
            handling.cancel()
            with suppress(asyncio.CancelledError):
                await handling
            continue
        await handling
        left = left[size:]


async def bury(room: Room, verdicts: Sequence[Approved], chance: Random) -> dict[str, bool]:
    """What trading answers about signals while they are on their way, by signal."""
    answers = {}
    for verdict in chance.sample(list(verdicts), 5):
        await asyncio.sleep(chance.random() * 0.05)
        request = trading.ConfirmNoOrderRequest(signal_id=verdict.signal_id)
        answers[verdict.signal_id] = (await room.api.ConfirmNoOrder(request, None)).never
    return answers


async def switch(room: Room, chance: Random) -> None:
    """Halts and lifts; between the answer to HALTED and the lifting nothing is taken to SUBMITTING."""
    for turn in range(3):
        await asyncio.sleep(chance.random() * 0.1)
        for revision, state in enumerate((TradingState.HALTED, TradingState.ACTIVE), 2 * turn + 1):
            request = trading.ApplyKillSwitchRequest(
                broker="paper", state=common.TradingState.ValueType(state), revision=revision
            )
            await room.api.ApplyKillSwitch(request, None)
            if state is TradingState.HALTED:
                submitted = "SELECT intent_id FROM trading.intents WHERE epoch > 0"
                at_answer = set(await room.rows(submitted))
                await asyncio.sleep(0.03)
                assert set(await room.rows(submitted)) == at_answer


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_races_each_order_has_one_end(opened: Callable, seed: int) -> None:
    """One end an order, one call an intent at most and none of one NOT_SENT; the exchange's fills are trading's fills."""
    chance = Random(seed)
    senders = [Sender(chance) for _ in range(3)]
    verdicts = [approved(number, number % 16 + 1, quantity=150) for number in range(SIGNALS)]
    async with AsyncExitStack() as stack:
        rooms = [
            await stack.enter_async_context(
                opened(
                    at=sender.at,
                    boot=sender.boot,
                    trader=lambda exchange: Forgetful(exchange, chance),
                    options=OPTIONS,
                )
            )
            for sender in senders
        ]
        await rooms[0].open_for_trading()
        await rooms[1].executor.start()
        async with asyncio.timeout(200):
            *_, answers, _ = await asyncio.gather(
                deliver(rooms[0], verdicts, chance),
                deliver(rooms[1], verdicts, chance),
                bury(rooms[1], verdicts, chance),
                switch(rooms[0], chance),
            )
            for sender in senders:
                sender.later(60)
            await rooms[2].executor.start()
            while await rooms[2].store.open_orders():
                for sender in senders:
                    sender.later(60)
                await asyncio.sleep(0.05)
        await check(rooms[0], verdicts, answers)


async def check(room: Room, verdicts: Sequence[Approved], answers: dict[str, bool]) -> None:
    """The oracle: the exchange's journal and trades against trading's rows and events."""
    calls = {tag: count for (_, tag), count in (await room.calls()).items()}
    assert set(calls.values()) <= {1}
    filled: Counter[str] = Counter()
    tags = set()
    for verdict in verdicts:
        stored = await room.store.find(order_id_of(verdict.signal_id))
        if stored is None:
            assert answers[verdict.signal_id]
            continue
        assert not answers.get(verdict.signal_id)
        order, events = stored.order, await room.events(verdict)
        assert order.status.is_final
        assert len(terminal(events)) == 1
        revisions = [getattr(event, event.WhichOneof("payload")).order.order_revision for event in events]
        assert sorted(revisions) == list(range(1, len(events) + 1))
        tags |= {intent.tag for intent in order.intents}
        never = {intent.tag for intent in order.intents if intent.status is OrderStatus.NOT_SENT}
        assert not never & calls.keys()
        filled[verdict.key.instrument_id] += order.filled
    assert calls.keys() <= tags
    trades = await room.rows(
        "SELECT o.instrument_id, sum(t.quantity)::int AS units FROM paper_exchange.trades t"
        " JOIN paper_exchange.orders o USING (broker_order_id) GROUP BY 1"
    )
    at_exchange = {row.instrument_id: row.units for row in trades}
    assert at_exchange == {key: units for key, units in filled.items() if units}
    held = await room.rows("SELECT instrument_id, quantity FROM trading.positions WHERE quantity <> 0")
    assert {row.instrument_id: row.quantity for row in held} == at_exchange
    fills = await room.rows("SELECT fill_id FROM trading.fills")
    assert set(fills) == set(await room.rows("SELECT fill_id FROM paper_exchange.trades"))
