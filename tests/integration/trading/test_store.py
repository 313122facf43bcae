"""The store's port, on PostgreSQL and in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.in_memory.trading_store import MemoryTradingStore
from trading_room import ACTIVE, NOON, approved

from alphapanda.contract.topics import TopicMap
from alphapanda.domain import ids
from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import FailureReason, OrderStatus, Side, TradingState
from alphapanda.domain.order_events import Fill
from alphapanda.storage.engine import open_engine
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.telemetry.gauges import ORDERS_OPEN, ORDERS_UNKNOWN
from alphapanda.trading.core.order import Order
from alphapanda.trading.store.gauges import TradingGauges
from alphapanda.trading.store.port import (
    OrderChange,
    OrderFilter,
    SwitchScope,
    TradingStore,
    TradingTransaction,
)
from alphapanda.trading.store.postgres import SCHEMA, PostgresTradingStore
from panda.trading.v1.trading_pb2 import PlaceOrderRequest

WALL = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.fixture(params=["postgres", "memory"])
async def store(request, tables: str):
    if request.param == "memory":
        yield MemoryTradingStore(lambda: WALL)
        return
    engine = open_engine(tables, 5)
    yield PostgresTradingStore(engine, Outbox(SCHEMA, TopicMap(ACTIVE)), lambda: WALL)
    await engine.dispose()


def order(number: int = 0, *parts: int, **changes: object) -> Order:
    verdict = approved(number, quantity=sum(parts) or 10, **changes)
    return Order.approved(verdict, "verdict", parts or (10,))


async def add(store: TradingStore, *orders: Order) -> list[bool]:
    async with store.transaction() as transaction:
        return [bool(await transaction.add([OrderChange(order)])) for order in orders]


async def state(transaction: TradingTransaction, broker: str, strategy_id: str = "") -> TradingState:
    scope = SwitchScope(broker, strategy_id)
    return (await transaction.kill_switches([scope]))[scope].state


async def test_an_order_comes_back_as_it_was_stored(store: TradingStore) -> None:
    """Every field of an order, its intents and its fills is kept, money to the last digit."""
    made = order(1, 10, 5)
    assert await add(store, made) == [True]
    fill = Fill(ids.derived_id("f"), "1", 10, Decimal("100.123456789"), Decimal("1.00"), NOON)
    async with store.transaction() as transaction:
        locked = await transaction.locked(made.order_id)
        assert locked == made
        told = BrokerOrder("b1", BrokerOrderStatus.COMPLETE, (fill,))
        locked.report(locked.submitting(7), told, NOON)
        await transaction.save([OrderChange(locked, [fill])])
    stored = await store.find(made.order_id)
    assert stored is not None
    assert (stored.order, stored.created_at) == (locked, WALL)
    assert await store.find_by_signal(made.signal_id) == stored


async def test_a_signal_has_one_order(store: TradingStore) -> None:
    """The second order of a signal isn't stored and the first stays as it is."""
    assert await add(store, order(1, 10), order(1, 20)) == [True, False]
    stored = await store.find_by_signal(order(1).signal_id)
    assert stored is not None
    assert stored.order == order(1, 10)


async def test_orders_are_saved_as_they_were_known(store: TradingStore) -> None:
    """Of several orders those that nobody changed meanwhile are saved, with fills, position and events; no others."""
    known, changed = order(1), order(2, token=2)
    async with store.transaction() as transaction:
        assert len(await transaction.add([OrderChange(known), OrderChange(changed)])) == 2
    stored = await store.find(changed.order_id)
    assert stored is not None
    assert stored.order.version == changed.version > known.version > 0
    stored.order.submitting(1)
    assert await store.save([OrderChange(stored.order)]) == {changed.order_id}
    fills = [Fill(ids.derived_id("f", at), str(at), 10, Decimal(100), Decimal(0), NOON) for at in (1, 2)]
    for one, fill in zip((known, changed), fills, strict=True):
        told = BrokerOrder("b1", BrokerOrderStatus.COMPLETE, (fill,))
        one.report(one.submitting(7), told, NOON)
    changes = [OrderChange(one, [fill]) for one, fill in zip((known, changed), fills, strict=True)]
    assert await store.save(changes) == {known.order_id}
    assert await store.save(changes[1:]) == set()
    found = [await store.find(one.order_id) for one in (known, changed)]
    assert [one.order.filled for one in found if one] == [10, 0]
    async with store.transaction() as transaction:
        assert [await transaction.position(one.key) for one in (known, changed)] == [10, 0]
    assert known.version > stored.order.version


async def test_orders_keep_the_order_in_which_they_came(store: TradingStore) -> None:
    """Orders of one batch are listed as they stood in it, whatever their ids are, and a batch with a known one goes on."""
    batch = [order(number) for number in (5, 3, 9, 1)]
    await add(store, batch[2])
    async with store.transaction() as transaction:
        added = await transaction.add([OrderChange(one) for one in batch])
    assert added == {one.order_id for one in batch} - {batch[2].order_id}
    assert await store.open_orders() == [batch[at].order_id for at in (2, 0, 1, 3)]


async def test_what_was_given_up_is_found(store: TradingStore) -> None:
    """Intents that ended as absent, of orders made since a time, until the broker's number is known; no others."""
    made = order(1, 10, 5)
    await add(store, made, order(2, 10))
    async with store.transaction() as transaction:
        locked = await transaction.locked(made.order_id)
        assert locked is not None
        intent = locked.submitting(7)
        locked.no_clear_answer(intent)
        locked.absent(intent, "never seen", NOON)
        await transaction.save([OrderChange(locked)])
    (found,) = await store.absent_intents(WALL)
    assert (found.order_id, found.number, found.tag) == (made.order_id, 0, intent.tag)
    assert (found.broker, found.account) == (made.key.broker, made.key.account)
    assert await store.absent_intents(WALL + timedelta(seconds=1)) == []
    intent.broker_order_id = "b1"
    async with store.transaction() as transaction:
        await transaction.save([OrderChange(locked)])
    assert await store.absent_intents(WALL) == []


async def test_fewer_intents_replace_more(store: TradingStore) -> None:
    """An order that shrank keeps no intent that isn't its own any more."""
    made = order(1, 10, 10, 10)
    await add(store, made)
    made.send_as((10, 2))
    async with store.transaction() as transaction:
        await transaction.save([OrderChange(made)])
    stored = await store.find(made.order_id)
    assert stored is not None
    assert [intent.quantity for intent in stored.order.intents] == [10, 2]


async def test_fills_move_the_position(store: TradingStore) -> None:
    """A position is what the fills of its key add up to, buys less sells; other keys don't matter."""
    buy, sell = order(1, 10), order(2, 4, side=Side.SELL)
    await add(store, buy, sell)
    async with store.transaction() as transaction:
        for at, (made, units) in enumerate(((buy, 6), (buy, 4), (sell, 4))):
            fill = Fill(ids.derived_id("f", at), str(at), units, Decimal(1), Decimal(0), NOON)
            await transaction.save([OrderChange(made, [fill])])
        assert await transaction.position(buy.key) == 6
        assert await transaction.position(order(3, token=2).key) == 0


async def test_a_transaction_that_raises_changes_nothing(store: TradingStore) -> None:
    """All or nothing."""

    async def broken() -> None:
        async with store.transaction() as transaction:
            await transaction.add([OrderChange(order(1))])
            await transaction.apply_kill_switch("paper", TradingState.HALTED, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await broken()
    assert await store.find(order(1).order_id) is None
    async with store.transaction() as transaction:
        assert await state(transaction, "paper") is TradingState.ACTIVE


async def test_open_orders_are_those_that_have_not_ended(store: TradingStore) -> None:
    """Oldest first, without what is final."""
    first, ended, last = order(1), order(2), order(3)
    await add(store, first, ended, last)
    ended.status = OrderStatus.FAILED
    async with store.transaction() as transaction:
        await transaction.save([OrderChange(ended)])
    assert await store.open_orders() == [first.order_id, last.order_id]


async def test_orders_are_listed_newest_first_by_pages_and_filters(store: TradingStore) -> None:
    """Pages join without a gap; each filter narrows."""
    orders = [order(number) for number in range(5)]
    await add(store, *orders)
    wanted = OrderFilter()
    first = await store.newest(wanted, None, 3)
    rest = await store.newest(wanted, first[-1].sequence, 3)
    assert [stored.order.order_id for stored in (*first, *rest)] == [o.order_id for o in reversed(orders)]
    assert len(await store.newest(OrderFilter("paper", "default", "crossing"), None, 9)) == 5
    for none in (OrderFilter("other"), OrderFilter("", "other"), OrderFilter(strategy_id="other")):
        assert not await store.newest(none, None, 9)
    assert not await store.newest(OrderFilter(statuses=(OrderStatus.FILLED,)), None, 9)
    assert len(await store.newest(OrderFilter(statuses=(OrderStatus.PENDING_SUBMIT,)), None, 9)) == 5


async def test_a_command_is_claimed_once(store: TradingStore) -> None:
    """The same request is known again; its id with another body is refused."""
    key = CommandKey("local", "PlaceOrder", "r1")
    request = PlaceOrderRequest(request_id="r1", quantity=1)
    async with store.transaction() as transaction:
        assert await transaction.claim(key, request) is None
    async with store.transaction() as transaction:
        assert await transaction.claim(key, request) == b""
        with pytest.raises(RequestReused):
            await transaction.claim(key, PlaceOrderRequest(request_id="r1", quantity=2))


async def test_kill_switches_apply_by_revision(store: TradingStore) -> None:
    """Never set is ACTIVE at revision 0; an older revision changes nothing."""
    async with store.transaction() as transaction:
        assert await state(transaction, "paper") is TradingState.ACTIVE
        assert (await transaction.apply_kill_switch("paper", TradingState.HALTED, 2)).revision == 2
        assert (await transaction.apply_kill_switch("paper", TradingState.ACTIVE, 1)).revision == 2
        assert await state(transaction, "paper") is TradingState.HALTED


async def test_a_kill_switch_takes_the_place_of_the_revision_that_it_names(store: TradingStore) -> None:
    """Whichever is higher, once: then trading holds the lower one, and what named another revision changes nothing."""
    wild = 2**63 - 1
    async with store.transaction() as transaction:
        await transaction.apply_kill_switch("paper", TradingState.ACTIVE, wild)
        held = await transaction.apply_kill_switch("paper", TradingState.HALTED, 2, replaces=7)
        assert held == (TradingState.ACTIVE, wild)
        held = await transaction.apply_kill_switch("paper", TradingState.HALTED, 2, replaces=wild)
        assert held == (TradingState.HALTED, 2)
        held = await transaction.apply_kill_switch("paper", TradingState.ACTIVE, 1, replaces=wild)
        assert held == (TradingState.HALTED, 2)
        await transaction.apply_kill_switch("paper", TradingState.REDUCING, 1, "ema-1")
        await transaction.apply_kill_switch("papertwo", TradingState.REDUCING, 1)
        await transaction.kill_switches([SwitchScope("paper", "never")])
    copies = await store.kill_switch_copies("paper")
    assert [(scope.strategy_id, *copy) for scope, copy in copies.items()] == [
        ("", TradingState.HALTED, 2),
        ("ema-1", TradingState.REDUCING, 1),
    ]


async def test_orders_are_added_under_the_kill_switches_they_were_decided_by(store: TradingStore) -> None:
    """Without a transaction of the caller's, all or none: a switch that has changed since it was read lets nothing in."""
    asked = [SwitchScope("paper", "ema-1")]
    assert store.switches_last_read(asked) is None
    async with store.transaction() as transaction:
        await transaction.kill_switches(asked)
    switches = store.switches_last_read(asked)
    assert switches is not None
    assert switches.keys() == {SwitchScope("paper"), SwitchScope("paper", "ema-1")}
    first, second = order(1, 10), order(2, 10)
    assert await store.add_if_unchanged([OrderChange(first)], switches) == {first.order_id}
    assert await store.add_if_unchanged([OrderChange(order(1, 20))], switches) == set()
    async with store.transaction() as transaction:
        await transaction.apply_kill_switch("paper", TradingState.HALTED, 1)
    assert await store.add_if_unchanged([OrderChange(second)], switches) is None
    stored = await store.find(first.order_id)
    assert (stored and stored.order, await store.find(second.order_id)) == (first, None)
    async with store.transaction() as transaction:
        await transaction.kill_switches(asked)
    newer = store.switches_last_read(asked)
    assert newer is not None
    assert newer[SwitchScope("paper")].state is TradingState.HALTED
    assert await store.add_if_unchanged([OrderChange(second)], newer) == {second.order_id}


async def test_an_order_waits_for_a_kill_switch_on_its_way(tables: str) -> None:
    """A switch that is being set while the order is stored is waited for, and then keeps the order out."""
    engine = open_engine(tables, 5)
    store = PostgresTradingStore(engine, Outbox(SCHEMA, TopicMap(ACTIVE)), lambda: WALL)
    asked = [SwitchScope("paper", "ema-1")]
    try:
        async with store.transaction() as transaction:
            await transaction.kill_switches(asked)
        switches = store.switches_last_read(asked)
        assert switches is not None
        async with store.transaction() as transaction:
            await transaction.apply_kill_switch("paper", TradingState.HALTED, 1, "ema-1")
            adding = asyncio.create_task(store.add_if_unchanged([OrderChange(order(1, 10))], switches))
            done, _ = await asyncio.wait([adding], timeout=0.2)
            assert not done
        assert await adding is None
        assert await store.find(order(1).order_id) is None
    finally:
        await engine.dispose()


async def test_a_strategys_kill_switch_is_the_stricter_or_the_brokers_is(store: TradingStore) -> None:
    """Each has its revisions; a strategy is held by its own and by the broker's, others by the broker's alone."""
    async with store.transaction() as transaction:
        assert await state(transaction, "paper", "ema-1") is TradingState.ACTIVE
        assert (await transaction.apply_kill_switch("paper", TradingState.HALTED, 1, "ema-1")).revision == 1
        assert (await transaction.apply_kill_switch("paper", TradingState.REDUCING, 5)).revision == 5
        assert await state(transaction, "paper", "ema-1") is TradingState.HALTED
        assert await state(transaction, "paper", "ema-2") is TradingState.REDUCING
        assert (await transaction.apply_kill_switch("paper", TradingState.ACTIVE, 2, "ema-1")).revision == 2
        assert await state(transaction, "paper", "ema-1") is TradingState.REDUCING


async def test_a_buried_signal_never_gets_an_order(store: TradingStore) -> None:
    """After the tombstone the order is not stored, again and again; a signal with an order can't be buried."""
    late, known = order(1), order(2)
    async with store.transaction() as transaction:
        assert await transaction.add([OrderChange(known)])
    for _ in range(2):
        async with store.transaction() as transaction:
            assert await transaction.add_tombstone(late.signal_id)
            assert not await transaction.add_tombstone(known.signal_id)
    for _ in range(2):
        async with store.transaction() as transaction:
            assert not await transaction.add([OrderChange(late)])
    assert await store.has_tombstone(late.signal_id)
    assert not await store.has_tombstone(known.signal_id)
    assert await store.find_by_signal(late.signal_id) is None
    assert await store.find_by_signal(known.signal_id) is not None


async def test_burying_waits_for_an_order_on_its_way(tables: str) -> None:
    """An order that is being stored is found: whoever asks meanwhile is told that there is one."""
    engine = open_engine(tables, 5)
    store = PostgresTradingStore(engine, Outbox(SCHEMA, TopicMap(ACTIVE)), lambda: WALL)
    one = order(3)

    async def add_tombstone() -> bool:
        async with store.transaction() as transaction:
            return await transaction.add_tombstone(one.signal_id)

    async with store.transaction() as transaction:
        assert await transaction.add([OrderChange(one)])
        asked = asyncio.create_task(add_tombstone())
        await asyncio.sleep(0.2)
        assert not asked.done()
    assert await asked is False
    await engine.dispose()


async def test_epochs_grow(store: TradingStore) -> None:
    """Each take-over has a number greater than any before."""
    assert await store.next_epoch() < await store.next_epoch()


async def test_open_orders_are_counted_by_broker_and_status(tables: str) -> None:
    """An ended order isn't counted; a broker without orders shows 0 in each status."""
    engine = open_engine(tables, 5)
    store = PostgresTradingStore(engine, Outbox(SCHEMA, TopicMap(ACTIVE)), lambda: WALL)
    unknown, ended = order(1), order(2)
    unknown.no_clear_answer(unknown.submitting(1))
    ended.not_sent(FailureReason.EXPIRED, "too late", NOON)
    assert await add(store, order(0), unknown, ended) == [True, True, True]
    points = await TradingGauges(engine, ("paper", "zerodha")).points()
    await engine.dispose()
    found = {(point.gauge, *point.labels): point.value for point in points}
    assert {of: value for of, value in found.items() if value} == {
        (ORDERS_OPEN, "paper", "PENDING_SUBMIT"): 1,
        (ORDERS_OPEN, "paper", "UNKNOWN"): 1,
        (ORDERS_UNKNOWN, "paper"): 1,
    }
    assert found[ORDERS_UNKNOWN, "zerodha"] == 0
