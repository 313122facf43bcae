"""Orders through the real store, checks and paper exchange."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.values import replace
from trading_room import (
    NOON,
    SETTINGS,
    VISIBILITY_WINDOW,
    Room,
    approved,
    boot_clock,
    delivery,
    open_room,
    terminal,
)

from alphapanda.consuming.delivery import CannotDiscard
from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side, TradingState
from alphapanda.resilience.failures import TransientFailure
from alphapanda.trading.consumer import TradingAssignment
from alphapanda.trading.core.order_record import order_id_of
from alphapanda.trading.store.port import SwitchScope
from alphapanda.trading.traders.paper import PaperTrader, paper_order
from alphapanda.trading.traders.trader import ExecutionMode, NoClearAnswer, Placement
from panda.common.v1 import common_pb2 as common
from panda.trading.v1 import trading_pb2 as trading

STEPS = (
    "received",
    "decided",
    "stored",
    "submitting_committed",
    "placed",
    "called",
    "answered",
    "committed",
)


BEFORE_THE_COMMIT = STEPS[:3]


def always_now() -> float:
    """A boot clock that stands: a machine that is busy doesn't make a send window pass."""
    return 0.0


async def test_a_validated_signal_is_executed(room: Room) -> None:
    """One signal, one call, Submitted then Filled, caused by the verdict and with the signal's correlation."""
    verdict = approved()
    await room.handle(verdict)
    order = await room.ended(verdict)
    assert (order.status, order.filled, order.turnover) == (OrderStatus.FILLED, 10, Decimal("1000.40"))
    assert list((await room.calls()).values()) == [1]
    events = await room.events(verdict)
    assert [event.WhichOneof("payload") for event in events] == ["order_submitted", "order_filled"]
    assert {event.correlation_id for event in events} == {verdict.correlation_id}
    assert {event.causation_id for event in events} == {order.causation_id}
    assert events[1].order_filled.commission.amount.value == "1.00"


async def test_a_duplicate_never_calls_again(room: Room) -> None:
    """The same verdict again, in the same batch, later and at once, is one order and one call."""
    verdict = approved()
    await room.handle(verdict, verdict)
    await asyncio.gather(*(room.handle(verdict) for _ in range(5)))
    assert list((await room.calls()).values()) == [1]
    assert len(await room.events(verdict)) == 2


async def test_who_passes_an_order_at_once_with_another_holds_up_nobody(room: Room) -> None:
    """Each waits behind the other's line or lock, never both, so that the key's next order is driven."""
    first, second = approved(1), approved(2)
    async with asyncio.timeout(
        SETTINGS.batch_wait_seconds / 2
    ):  # as long as a batch waits for what stands still
        await asyncio.gather(*(room.handle(first) for _ in range(5)))
        await room.handle(second)
        assert (await room.ended(second)).status is OrderStatus.FILLED


async def test_different_keys_go_side_by_side_and_each_is_its_own(opened) -> None:
    """A batch of forty keys ends in forty fills with one call each."""
    async with opened(boot=always_now) as room:
        await room.open_for_trading()
        verdicts = [approved(token, token) for token in range(1, 41)]
        await room.handle(*verdicts)
        for verdict in verdicts:
            assert (await room.ended(verdict)).status is OrderStatus.FILLED
        calls = await room.calls()
        assert len(calls) == 40
        assert set(calls.values()) == {1}


async def test_a_large_order_goes_in_slices(room: Room) -> None:
    """More than the freeze quantity of 100 is one order with a call and a tag for each slice."""
    verdict = approved(quantity=250)
    await room.handle(verdict)
    order = await room.ended(verdict)
    assert [intent.filled for intent in order.intents] == [100, 100, 50]
    assert len(await room.calls()) == 3
    events = await room.events(verdict)
    assert [event.WhichOneof("payload") for event in events] == ["order_submitted"] + ["order_filled"] * 3
    assert len(terminal(events)) == 1


async def test_a_late_exit_sells_what_is_left(room: Room) -> None:
    """Past valid_until an exit is cut to what trading's own fills hold, and then there is nothing to exit."""
    await room.handle(approved(1, quantity=30))
    late = {"valid_until": NOON - timedelta(seconds=1), "side": Side.SELL, "effect": PositionEffect.REDUCES}
    first, second = approved(2, quantity=150, **late), approved(3, **late)
    await room.handle(first, second)
    cut = await room.ended(first)
    assert (cut.status, cut.quantity, cut.filled, len(cut.intents)) == (OrderStatus.FILLED, 30, 30, 1)
    assert (await room.ended(second)).failure is FailureReason.NOTHING_TO_EXIT
    assert len(await room.calls()) == 2


async def test_an_order_that_may_not_be_sent_ends_once_without_a_call(room: Room) -> None:
    """An entry past valid_until is FAILED (EXPIRED), one event, no call."""
    verdict = approved(valid_until=NOON - timedelta(seconds=1))
    await room.handle(verdict, verdict)
    assert (await room.ended(verdict)).failure is FailureReason.EXPIRED
    (event,) = await room.events(verdict)
    assert event.order_failed.order.leaves_quantity == 0
    assert not await room.calls()


async def test_a_second_paper_broker_is_one_registration(room: Room) -> None:
    """Another paper broker has orders, positions and events of its own on the same exchange."""
    one = approved(1)
    two = approved(2, key=replace(one.key, broker="papertwo"))
    await room.handle(one)
    await room.handle(two)
    assert (await room.ended(two)).status is OrderStatus.FILLED
    assert {broker for broker, _ in await room.calls()} == {"paper", "papertwo"}
    assert {event.broker for event in await room.events(two)} == {"papertwo"}
    held = await room.rows("SELECT broker, quantity FROM trading.positions ORDER BY broker")
    assert [tuple(row) for row in held] == [("paper", 10), ("papertwo", 10)]
    topics = await room.rows("SELECT DISTINCT split_part(topic, '.', 1) AS broker FROM trading.outbox")
    assert {row.broker for row in topics} == {"paper", "papertwo"}


async def test_a_broker_that_is_off_gets_nothing(room: Room) -> None:
    """Zerodha is active and off: its trader says so and its signals end as NOT_ROUTED."""
    verdict = approved(key=replace(approved().key, broker="zerodha"))
    await room.handle(verdict)
    assert (await room.ended(verdict)).failure is FailureReason.NOT_ROUTED
    assert room.api._traders["zerodha"].get_execution_mode() is ExecutionMode.OFF


async def test_without_the_price_cache_entries_fail_and_paper_exits_wait(room: Room, tables: str) -> None:
    """Redis gone: an entry is refused, a paper exit waits and is filled once the price is there."""
    await room.handle(approved(1))
    entry, exit_ = approved(2, 2), approved(3, side=Side.SELL, effect=PositionEffect.REDUCES)
    async with open_room(tables, "unix:///nowhere/redis.socket") as blind:
        await blind.executor.start()
        await blind.handle(entry)
        assert (await blind.ended(entry)).status is OrderStatus.FAILED
        with pytest.raises(TransientFailure):
            await blind.handle(exit_)
        assert (await blind.order(exit_)).status is OrderStatus.PENDING_SUBMIT
    await room.handle(exit_)
    assert (await room.ended(exit_)).status is OrderStatus.FILLED


async def test_a_missing_mirror_means_reducing(room: Room) -> None:
    """Without the mirror in Redis entries are held back and exits pass."""
    await room.handle(approved(1))
    await room.redis.flushall()
    await room.market_is()
    entry, exit_ = approved(2, 2), approved(3, side=Side.SELL, effect=PositionEffect.REDUCES)
    await room.handle(entry, exit_)
    assert (await room.ended(entry)).failure is FailureReason.KILL_SWITCH
    assert (await room.ended(exit_)).status is OrderStatus.FILLED


# -- no clear answer ---------------------------------------------------------------------------------------------------


class PlacesAndIsSilent(PaperTrader):
    """The exchange has the order; the answer doesn't come within the call's time."""

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        await self._exchange.place(self.broker, placement.tag, paper_order(placement))
        await asyncio.sleep(60)
        raise AssertionError

    async def look_up(self, account: str, tag: str) -> BrokerOrder | None:
        first, self.asked = not getattr(self, "asked", False), True
        return None if first else await super().look_up(account, tag)


class BreaksOff(PaperTrader):
    """The call breaks off before the exchange has it."""

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        raise NoClearAnswer("connection reset")


def silent(exchange) -> PaperTrader:
    return PlacesAndIsSilent("paper", exchange, VISIBILITY_WINDOW)


def breaking(exchange) -> PaperTrader:
    return BreaksOff("paper", exchange, VISIBILITY_WINDOW)


async def test_a_timeout_is_unknown_and_then_found_by_its_tag(opened) -> None:
    """A call without answer leaves the order UNKNOWN, never failed; look-up finds it and it ends filled."""
    async with opened(trader=silent) as room:
        await room.open_for_trading()
        verdict = approved()
        await room.handle(verdict)
        assert (await room.order(verdict)).status is OrderStatus.UNKNOWN
        order = await room.ended(verdict)
        assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
        assert list((await room.calls()).values()) == [1]
        assert len(terminal(await room.events(verdict))) == 1


async def test_what_is_never_seen_is_absent_once_the_window_is_over(opened) -> None:
    """A call that broke off is looked up until the visibility window ends, and is then FAILED (ABSENT), not sent again."""
    async with opened(trader=breaking) as room:
        await room.open_for_trading()
        verdict = approved(quantity=250)
        began = boot_clock()
        await room.handle(verdict)
        assert (await room.order(verdict)).status is OrderStatus.UNKNOWN
        order = await room.ended(verdict)
        assert boot_clock() - began >= 1 + 1 + VISIBILITY_WINDOW
        assert (order.status, order.failure) == (OrderStatus.FAILED, FailureReason.ABSENT)
        assert not await room.calls()
        (event,) = await room.events(verdict)
        assert event.order_failed.order.leaves_quantity == 0


async def test_a_member_goes_on_with_what_a_dead_one_was_looking_up(opened) -> None:
    """An order whose record is done with, and whose member died for good, is resumed by who gets partitions next."""
    verdict = approved()
    async with opened(options=SETTINGS) as survivor:
        await survivor.open_for_trading()
        async with opened(trader=breaking) as dying:
            await dying.handle(verdict)
            assert (await dying.order(verdict)).status is OrderStatus.UNKNOWN
        assigned = TradingAssignment(survivor.executor, survivor.manual, survivor.changes)
        await assigned.on_assigned([TopicPartition("paper.signals.validated", 0)])
        assert (await survivor.ended(verdict)).failure is FailureReason.ABSENT


async def test_a_signal_that_was_buried_keeps_no_other_from_its_order(opened) -> None:
    """Risk was told that there would never be an order: it comes late, in a batch with others, and they are executed."""
    late, other = approved(1, 1), approved(2, 2)
    async with opened() as room:
        await room.open_for_trading()
        async with room.store.transaction() as transaction:
            assert await transaction.add_tombstone(late.signal_id)
        await room.handle(late, other)
        assert (await room.ended(other)).status is OrderStatus.FILLED
        assert await room.store.find_by_signal(late.signal_id) is None
        with pytest.raises(CannotDiscard, match="redrive it"):
            await room.consumer.discard(delivery(late))


@pytest.mark.parametrize("effect", [PositionEffect.OPENS, PositionEffect.REDUCES])
async def test_who_thaws_too_late_does_not_send_that_intent(opened, effect: PositionEffect) -> None:
    """Frozen between the commit and the call, past the send window, it ends the intent NOT_SENT and decides anew."""
    frozen_for = 0.0

    def boot() -> float:
        return frozen_for

    def freeze(step: str) -> None:
        nonlocal frozen_for
        if step == "submitting_committed" and not frozen_for:
            frozen_for += 1.01

    async with opened(at=freeze, boot=boot) as room:
        await room.open_for_trading()
        verdict = approved(effect=effect)
        await room.handle(verdict)
        order = await room.ended(verdict)
        assert (order.status, order.quantity, order.filled) == (OrderStatus.FILLED, 10, 10)
        assert [intent.status for intent in order.intents] == [OrderStatus.NOT_SENT, OrderStatus.FILLED]
        assert await room.calls() == {("paper", order.intents[1].tag): 1}
        assert len(terminal(await room.events(verdict))) == 1
        assert await room.store.absent_intents(NOON - timedelta(days=9999)) == []


async def test_an_intent_never_called_is_the_others_once_they_ended_it(opened) -> None:
    """Who thaws after another process found the intent absent sends nothing and changes nothing."""
    frozen_for = 0.0
    meanwhile: list[Room] = []

    def freeze(step: str) -> None:
        nonlocal frozen_for
        if step == "submitting_committed":
            frozen_for += 1.01

    async with opened(options=SETTINGS) as other, opened(at=freeze, boot=lambda: frozen_for) as frozen:
        await frozen.open_for_trading()
        verdict = approved()
        make = frozen.executor.driver.calls.make

        async def thaws_late(call):
            meanwhile.append(other)
            await other.executor.start()
            await other.ended(verdict)
            return await make(call)

        frozen.executor.driver.calls.make = thaws_late
        await frozen.handle(verdict)
        assert meanwhile == [other]
        order = await frozen.order(verdict)
        assert (order.failure, len(order.intents)) == (FailureReason.ABSENT, 1)
        assert not await frozen.calls()
        assert len(terminal(await frozen.events(verdict))) == 1


async def test_a_call_cut_off_before_it_began_is_decided_anew(opened) -> None:
    """A batch that is cancelled between the commit and the call leaves no order to wait for its visibility window."""
    async with opened(boot=always_now) as room:
        await room.open_for_trading()
        reached, make = asyncio.Event(), room.executor.driver.calls.make

        async def stuck(call):
            reached.set()
            await asyncio.Event().wait()

        room.executor.driver.calls.make = stuck
        verdict = approved()
        handling = asyncio.create_task(room.handle(verdict))
        await reached.wait()
        assert (await room.order(verdict)).status is OrderStatus.SUBMITTING
        room.executor.driver.calls.make = make
        handling.cancel()
        order = await room.ended(verdict)
        assert [intent.status for intent in order.intents] == [OrderStatus.NOT_SENT, OrderStatus.FILLED]
        assert list((await room.calls()).values()) == [1]


async def test_an_answer_that_was_not_stored_is_looked_up_not_sent_again(opened) -> None:
    """A call was made and its answer couldn't be stored: the same signal again, twice, makes no second call."""
    async with opened(boot=always_now) as room:
        await room.open_for_trading()
        save = room.store.save

        async def away(changes):
            raise OSError("the database is away")

        verdict = approved()
        room.store.save = away
        with pytest.raises(OSError, match="away"):
            await room.handle(verdict)
        begin = room.store.transaction
        room.store.transaction = away
        with pytest.raises((OSError, TypeError)):
            await room.handle(verdict)
        room.store.save, room.store.transaction = save, begin
        await room.handle(verdict)
        order = await room.ended(verdict)
        assert (order.status, len(order.intents)) == (OrderStatus.FILLED, 1)
        assert list((await room.calls()).values()) == [1]


@pytest.mark.parametrize("step", STEPS)
async def test_a_kill_at_any_step_neither_loses_nor_repeats(
    opened, tables: str, redis_url: str, step: str
) -> None:
    """Killed at a step with an order of two slices in flight: at most one call a slice, one terminal event, no gap."""
    killed = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("killed.py")), tables, redis_url, step
    )
    assert await killed.wait() == 77
    verdict = approved(quantity=150)
    async with opened(options=SETTINGS if step == "submitting_committed" else None) as room:
        in_flight = await room.store.open_orders()
        assert len(in_flight) == (0 if step in BEFORE_THE_COMMIT else 1)
        await room.open_for_trading()
        await room.handle(verdict)
        order = await room.ended(verdict)
        calls = await room.calls()
        assert set(calls.values()) <= {1}
        events = await room.events(verdict)
        assert len(terminal(events)) == 1
        revisions = [getattr(event, event.WhichOneof("payload")).order.order_revision for event in events]
        assert revisions == list(range(1, len(events) + 1))
        if step == "submitting_committed":
            assert (order.failure, calls) == (FailureReason.ABSENT, {})
        else:
            assert (order.status, order.filled, len(calls)) == (OrderStatus.FILLED, 150, 2)
        traded = await room.rows("SELECT coalesce(sum(quantity), 0) AS units FROM paper_exchange.trades")
        assert traded[0].units == order.filled


async def test_two_members_with_the_same_orders_call_once(opened) -> None:
    """Two rooms that meet the same signals at once make one call an intent and one end an order between them."""
    async with opened(boot=always_now) as one, opened(boot=always_now) as other:
        await one.open_for_trading()
        await other.executor.start()
        verdicts = [approved(number, number % 20 + 1, quantity=150) for number in range(30)]
        await asyncio.gather(one.handle(*verdicts), other.handle(*verdicts))
        for verdict in verdicts:
            await one.executor.driver.drive(order_id_of(verdict.signal_id))
            assert (await one.ended(verdict)).filled == 150
            assert len(terminal(await one.events(verdict))) == 1
        calls = await one.calls()
        assert len(calls) == 60
        assert set(calls.values()) == {1}


# -- the kill switch ---------------------------------------------------------------------------------------------------


async def test_nothing_is_submitted_after_the_answer_to_halted(room: Room) -> None:
    """Over many races: what is SUBMITTING when ApplyKillSwitch answers is all there will be."""
    halted = submitted = 0
    for turn in range(25):
        verdicts = [approved(turn * 100 + token, token) for token in range(1, 13)]
        racing = asyncio.gather(*(room.handle(verdict) for verdict in verdicts))
        await asyncio.sleep(0.005 * (turn % 12))
        request = trading.ApplyKillSwitchRequest(
            broker="paper", state=common.TRADING_STATE_HALTED, revision=2 * turn + 1
        )
        answer = await room.api.ApplyKillSwitch(request, None)
        at_answer = await room.rows("SELECT intent_id FROM trading.intents WHERE epoch > 0")
        await racing
        at_end = await room.rows("SELECT intent_id FROM trading.intents WHERE epoch > 0")
        assert set(at_end) == set(at_answer)
        assert answer.revision == 2 * turn + 1
        orders = [await room.ended(verdict) for verdict in verdicts]
        halted += sum(order.failure is FailureReason.KILL_SWITCH for order in orders)
        submitted += sum(order.status is OrderStatus.FILLED for order in orders)
        request.state, request.revision = common.TRADING_STATE_ACTIVE, 2 * turn + 2
        await room.api.ApplyKillSwitch(request, None)
    assert halted + submitted == 25 * 12
    assert halted > 0
    assert submitted > 0


async def test_an_older_kill_switch_changes_nothing(room: Room) -> None:
    """Switches apply by revision: an older one, or the same again, answers with the revision held."""
    paper = SwitchScope("paper")
    async with room.store.transaction() as transaction:
        assert (await transaction.apply_kill_switch("paper", TradingState.HALTED, 5)).revision == 5
        assert (await transaction.apply_kill_switch("paper", TradingState.ACTIVE, 4)).revision == 5
        assert (await transaction.kill_switches([paper]))[paper].state is TradingState.HALTED
