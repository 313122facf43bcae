"""The store's port, the same suite on both adapters."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from tests.values import replace

from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.order import Product
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.store.port import (
    Activation,
    Change,
    Memory,
    OrderInput,
    OrderInputs,
    OwnershipLost,
    Snapshot,
    StoredStrategy,
)
from alphapanda.strategy.wire import changed_event, strategy_message
from panda.events.v1.events_pb2 import Event
from panda.strategy.v1 import strategy_pb2 as api

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
CONFIG = StrategyConfig(
    "trend", 1, StrategyState.STOPPED, "ema_cross", {"fast": "10", "slow": "20"},
    (StrategyInstrument("NSE:S1", 1), StrategyInstrument("NFO:X@2026-11-24", 2)), ("zerodha",), "default", 50,
    Product.CNC, 90,
)  # fmt: skip
ID = "5d0b5b57-9a5e-5f6f-8c1d-2e4a7c6a3f0e"


def change(config: StrategyConfig, note: str = "") -> Change:
    stored = StoredStrategy(config, note, "local", NOW)
    number = f"{config.revision:012x}"
    event = changed_event(stored, event_id=ID[:-12] + number, correlation_id=ID, causation_id=ID)
    return Change(stored, event)


async def put(store, *configs: StrategyConfig) -> None:
    for config in configs:
        await store.change(config.strategy_id, lambda _, config=config: change(config))


async def events(store, request) -> list[Event]:
    if hasattr(store, "events"):
        return store.events
    async with request.getfixturevalue("engine").connect() as connection:
        rows = await connection.execute(text("SELECT value FROM strategy.outbox ORDER BY seq"))
        return [Event.FromString(bytes(row.value)) for row in rows]


async def test_a_change_stores_the_revision_and_its_event(store, request) -> None:
    """Row and event come together, and the row says all of the configuration."""
    running = replace(CONFIG, revision=2, state=StrategyState.RUNNING)
    assert await store.change("trend", lambda _: change(CONFIG)) == change(CONFIG).strategy
    await store.change("trend", lambda stored: change(replace(running, quantity=stored.config.quantity)))
    stored = await store.get("trend")
    assert stored == StoredStrategy(running, "", "local", NOW)
    assert await store.current() == [running]
    assert await events(store, request) == [change(CONFIG).event, change(running).event]


async def test_a_decision_that_changes_nothing_leaves_no_trace(store, request) -> None:
    """Neither a revision nor an event."""
    await put(store, CONFIG)
    assert (await store.change("trend", lambda _: None)).config == CONFIG
    assert await store.change("nobody", lambda _: None) is None
    assert len(await events(store, request)) == 1


async def test_a_command_has_one_effect_and_one_answer(store, request) -> None:
    """The same request_id and body gives the first answer without asking again; another body is refused."""
    key = CommandKey("local", "create", "r1")
    body = api.CreateStrategyRequest(request_id="r1", strategy_id="trend")
    asked = []

    def decide(stored):
        asked.append(stored)
        return change(CONFIG)

    def answer(stored):
        return api.CreateStrategyResponse(strategy=strategy_message(stored))

    first = await store.command(key, body, "trend", decide, answer)
    assert await store.command(key, body, "trend", decide, answer) == first
    assert api.CreateStrategyResponse.FromString(first).strategy.symbols == ["NSE:S1", "NFO:X"]
    assert asked == [None]
    assert len(await events(store, request)) == 1
    with pytest.raises(RequestReused):
        await store.command(key, api.CreateStrategyRequest(request_id="r1"), "trend", decide, answer)


async def test_a_refused_command_is_not_remembered(store, request) -> None:
    """It leaves nothing behind, and may be sent again when the state has changed."""
    key = CommandKey("local", "create", "r1")

    def refuse(stored):
        raise LookupError("no")

    with pytest.raises(LookupError):
        await store.command(key, api.StartStrategyRequest(), "trend", refuse, strategy_message)
    answer = await store.command(
        key, api.StartStrategyRequest(), "trend", lambda _: change(CONFIG), strategy_message
    )
    assert api.Strategy.FromString(answer).revision == 1


async def test_pages_are_in_the_order_of_names(store) -> None:
    """Names in code point order, after a name, of one state where asked."""
    names = ["a", "a-b", "a.b", "a_b", "b1", "b10", "b2"]
    for number, name in enumerate(names):
        state = StrategyState.RUNNING if number % 2 else StrategyState.STOPPED
        await put(store, replace(CONFIG, strategy_id=name, state=state, revision=number + 1))
    everything = [each.config.strategy_id for each in await store.page(None, "", 100)]
    assert everything == sorted(names) == [each.strategy_id for each in await store.current()]
    assert [each.config.strategy_id for each in await store.page(None, "a.b", 2)] == ["a_b", "b1"]
    running = await store.page(StrategyState.RUNNING, "", 100)
    assert {each.config.strategy_id for each in running} == {"a-b", "a_b", "b10"}


async def test_an_activation_is_an_empty_snapshot_at_its_offset(store) -> None:
    """It is recorded once; what the strategy remembered before is gone with its revision."""
    second, third = replace(CONFIG, revision=2), replace(CONFIG, revision=3)
    await put(store, CONFIG, second, third)
    owner = await store.take(3)
    await store.activate(owner, Activation("trend", 2, 3, 100), Memory(2))
    await store.save(owner, 120, {"trend": Memory(2, b"two")})
    assert await store.snapshots(3) == [Snapshot(second, 120, b"two")]
    await store.activate(owner, Activation("trend", 3, 3, 120), Memory(3))
    await store.activate(owner, Activation("trend", 3, 3, 120), Memory(3))
    assert await store.snapshots(3) == [Snapshot(third, 120, b"", replaced=2)]
    assert await store.activations("trend") == [
        Activation("trend", 2, 3, 100),
        Activation("trend", 3, 3, 120),
    ]
    assert await store.snapshots(0) == []


async def test_a_snapshot_never_gives_way_to_an_older_one(store) -> None:
    """Neither by offset nor by revision; an activation that comes too late says so."""
    second, third = replace(CONFIG, revision=2), replace(CONFIG, revision=3)
    await put(store, CONFIG, second, third)
    owner = await store.take(0)
    await store.activate(owner, Activation("trend", 3, 0, 50), Memory(3))
    await store.save(owner, 60, {"trend": Memory(3, b"sixty")})
    await store.save(owner, 59, {"trend": Memory(3, b"fifty-nine")})
    await store.save(owner, 70, {"trend": Memory(2, b"old revision")})
    for late in (Activation("trend", 3, 0, 55), Activation("trend", 2, 0, 65)):
        with pytest.raises(OwnershipLost):
            await store.activate(owner, late, Memory(late.revision))
    assert await store.snapshots(0) == [Snapshot(third, 60, b"sixty")]
    assert await store.activations("trend") == [Activation("trend", 3, 0, 50)]


async def test_snapshots_come_by_offset(store) -> None:
    """The earliest first, as they are entered."""
    await put(store, CONFIG, replace(CONFIG, strategy_id="b"))
    owner = await store.take(0)
    await store.activate(owner, Activation("trend", 1, 0, 9), Memory(1))
    await store.activate(owner, Activation("b", 1, 0, 12), Memory(1))
    await store.save(owner, 20, {"trend": Memory(1, b"x")})
    assert [(s.config.strategy_id, s.next_offset) for s in await store.snapshots(0)] == [
        ("b", 12),
        ("trend", 20),
    ]


async def test_twins_that_create_one_name_are_told_apart(postgres_store) -> None:
    """Two at once: the second decides on what the first has stored."""
    import asyncio

    seen = []

    def decide(stored):
        seen.append(stored)
        return None if stored else change(CONFIG)

    await asyncio.gather(*(postgres_store.change("trend", decide) for _ in range(4)))
    assert [stored is None for stored in seen] == [True, False, False, False]


async def test_who_lost_a_partition_stores_nothing_of_it(store) -> None:
    """Neither a snapshot, however far it has come, nor an activation; and it is told so. Other partitions are others."""
    await put(store, CONFIG)
    before, other = await store.take(0), await store.take(1)
    await store.activate(before, Activation("trend", 1, 0, 50), Memory(1))
    await store.require(before)
    after = await store.take(0)
    assert after.epoch > before.epoch
    with pytest.raises(OwnershipLost):
        await store.save(before, 90, {"trend": Memory(1, b"late")})
    with pytest.raises(OwnershipLost):
        await store.activate(before, Activation("trend", 1, 0, 90), Memory(1))
    with pytest.raises(OwnershipLost):
        await store.require(before)
    await store.require(other)
    await store.save(after, 60, {"trend": Memory(1, b"sixty")})
    assert await store.snapshots(0) == [Snapshot(CONFIG, 60, b"sixty")]


async def test_the_first_strategies_come_all_or_none(store, request) -> None:
    """In one transaction, and only where there was never one."""
    first, second = change(CONFIG), change(replace(CONFIG, strategy_id="b", revision=2))
    broken = change(replace(CONFIG, strategy_id="c", quantity=None))
    if not hasattr(store, "events"):
        with pytest.raises(Exception, match="quantity"):
            await store.seed([first, broken])
        assert await store.current() == []
    assert await store.seed([first, second])
    assert not await store.seed([change(replace(CONFIG, strategy_id="d", revision=3))])
    assert [each.strategy_id for each in await store.current()] == ["b", "trend"]
    assert await events(store, request) == [first.event, second.event]


async def test_what_a_warm_up_lacks_is_told_of_current_running_revisions(store) -> None:
    """The most over the partitions."""
    running = replace(CONFIG, state=StrategyState.RUNNING)
    stopped = replace(CONFIG, strategy_id="b")
    await put(store, running, stopped)
    for partition, missing in ((0, 5), (1, 9), (2, 0)):
        owner = await store.take(partition)
        for name in ("trend", "b"):
            await store.activate(owner, Activation(name, 1, partition, 7), Memory(1, b"", missing))
    assert await store.missing(["trend", "b", "nobody"]) == {"trend": 9}
    assert await store.missing(["b"]) == {}
    await put(store, replace(running, revision=2))
    assert await store.missing(["trend"]) == {}


async def test_recorded_inputs_come_back_in_their_order_until_they_are_forgotten(store) -> None:
    """By offset, and at one offset as they were told; where the reading stands comes with the last of them."""
    owner = await store.take(1)
    assert await store.inputs(1) == OrderInputs(None, [])
    first, second, third = (change(replace(CONFIG, revision=number)).event for number in (1, 2, 3))
    read = {TopicPartition("paper.orders.filled", 0): 0, TopicPartition("paper.orders.filled", 1): 5}
    await store.record_inputs(owner, 7, [], read)
    assert await store.inputs(1) == OrderInputs(read, [])
    await store.record_inputs(owner, 9, [second, first], read)
    read = dict.fromkeys(read, 8)
    await store.record_inputs(owner, 7, [third], read)
    told = [OrderInput(7, third), OrderInput(9, second), OrderInput(9, first)]
    assert await store.inputs(1) == OrderInputs(read, told)
    read = dict.fromkeys(read, 9)
    await store.forget_inputs(owner, 9, read)
    assert await store.inputs(1) == OrderInputs(read, told[1:])
    assert await store.inputs(2) == OrderInputs(None, [])


async def test_who_was_overtaken_records_no_input(store) -> None:
    """Nor does it forget one."""
    late = await store.take(1)
    owner = await store.take(1)
    await store.record_inputs(owner, 7, [change(CONFIG).event], {})
    with pytest.raises(OwnershipLost):
        await store.record_inputs(late, 7, [], {})
    with pytest.raises(OwnershipLost):
        await store.forget_inputs(late, 9, {})
    assert await store.inputs(1) == OrderInputs({}, [OrderInput(7, change(CONFIG).event)])
