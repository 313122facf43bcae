"""The service whole: API, relay, follower, reliable consumer, on a real log and a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from time import monotonic

import structlog

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.consuming.follower import TopicFollower
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.contract.topics import shard_of
from alphapanda.contract.validation import violations
from alphapanda.contract.wire import frame_event
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.port import Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.resilience.backoff import Backoff
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.relay import OutboxRelay
from alphapanda.strategy.api import StrategyServicer
from alphapanda.strategy.consumer import GROUP, StrategyAssignment, StrategyTicks
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.registry import StrategyRegistry
from panda.events.v1.control_pb2 import STRATEGY_STATE_STOPPED
from panda.strategy.v1 import strategy_pb2 as api

CALENDAR = load_nse_calendar()
OPEN_NS = CALENDAR.sessions(date(2024, 1, 15), "NSE_EQ")[0].open_ns
INFY = 408065


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (what it waits for has no event of its own)
            await asyncio.sleep(0.01)


async def test_a_strategy_started_by_rpc_trades_until_it_is_stopped(
    tmp_path, engine, postgres_store, topic_map, directory
) -> None:
    """Start and stop travel through outbox, relay and follower; the signals are whole events on each broker's topic."""

    def wall():
        return datetime.now(UTC)

    policy = ConsumerOptions()
    log = SqliteEventLog(tmp_path / "log.db")
    await log.start()
    await log.ensure(topic_map.specs())
    router = ExecutionRouter(("paper", "zerodha"))
    ticks = StrategyTicks(
        postgres_store, log, topic_map, lambda: StrategyHost(directory, CALENDAR, router), 5.0, wall, monotonic,
        structlog.get_logger(),
    )  # fmt: skip
    service = StrategyServicer(
        postgres_store, StrategyRegistry(), directory, ("paper", "zerodha"), "default", 60, wall
    )
    reader = log.group_reader(GROUP, ticks.topics, Start.LATEST)
    consumer = ReliableConsumer(
        name=GROUP, service="strategy", log=log, reader=reader, topic_map=topic_map, handler=ticks,
        dead_letters=DeadLetters(log), policy=policy, assignment=StrategyAssignment(ticks, reader),
    )  # fmt: skip
    follower = TopicFollower(
        name="strategy.control", service="strategy", log=log, topic_map=topic_map, payload="strategy_changed",
        on_event=ticks.revisions.on_changed, start=Start.EARLIEST, policy=policy,
    )  # fmt: skip
    relay = OutboxRelay(
        engine=engine,
        outbox=Outbox("strategy", topic_map),
        log=log,
        batch_size=100,
        backoff=Backoff(0.1, 10.0),
    )
    parts = (follower, consumer, relay)
    for part in parts:
        await part.start()
    sequence = 0

    async def feed(*paise):
        nonlocal sequence
        for price in paise:
            sequence += 1
            time = OPEN_NS + sequence * 1_000_000
            frame = Frame("run", shard_of(INFY), sequence, time, 100, [INFY], [price], [time])
            await log.publish([to_record(frame_event(frame, "marketdata", wall()), topic_map)])
        await until(lambda: ticks.counts().frames == sequence)

    try:
        await until(lambda: len(ticks.holds()) == 4)
        create = api.CreateStrategyRequest(
            request_id="1", strategy_id="trend", strategy_type="ema_cross", parameters={"fast": "1", "slow": "3"},
            symbols=["NSE:INFY"], brokers=["zerodha"], quantity=5,
        )  # fmt: skip
        await service.CreateStrategy(create, None)
        await service.StartStrategy(api.StartStrategyRequest(request_id="2", strategy_id="trend"), None)
        await until(lambda: ticks.revisions.knows("trend", 2))
        await feed(1000, 1010, 1020, 1000, 990)
        await service.StopStrategy(api.StopStrategyRequest(request_id="3", strategy_id="trend"), None)
        await until(lambda: ticks.revisions.knows("trend", 3))
        await feed(1500, 2000, 1000, 500, 3000)
        stored = await service.GetStrategy(api.GetStrategyRequest(strategy_id="trend"), None)
        assert stored.strategy.state == STRATEGY_STATE_STOPPED
        topics = topic_map.topics("trading_signal")
        everything = log.topic_reader(topics, Start.EARLIEST)
        await everything.start()
        events = [from_record(record, topic_map) for record in await everything.fetch(100, 1.0)]
        await everything.stop()
    finally:
        for part in reversed(parts):
            await part.stop()
        await log.stop()
    for broker in ("paper", "zerodha"):
        wanted = [event.trading_signal.target_position for event in events if event.broker == broker]
        assert wanted == [5, -5]
    assert not [broken for event in events for broken in violations(event)]
    assert ticks.counts().signals == {"trend": 4}
