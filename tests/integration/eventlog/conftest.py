"""Logs, and events to put on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.contract import wire
from alphapanda.contract.topics import TopicMap
from alphapanda.domain import ids
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import EventLog
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from panda.events.v1.events_pb2 import Event

MOMENT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


class WallClock:
    """Wall time that moves when a test says so."""

    def __init__(self) -> None:
        self.ns = nanoseconds(MOMENT)

    def __call__(self) -> int:
        return self.ns

    def pass_hours(self, hours: float) -> None:
        self.ns += int(hours * 3_600_000_000_000)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def open_log(
    request, tmp_path: Path, clock: WallClock
) -> Callable[[str], AbstractAsyncContextManager[EventLog]]:
    """Opens a log without topics: "file", ":memory:" or "kafka"."""

    def opened(kind: str) -> AbstractAsyncContextManager[EventLog]:
        if kind == "kafka":
            return _on_kafka(request.getfixturevalue("kafka"), clock)
        return _in_sqlite(tmp_path / "log.sqlite" if kind == "file" else kind, clock)

    return opened


@asynccontextmanager
async def _in_sqlite(path: Path | str, clock: WallClock) -> AsyncIterator[SqliteEventLog]:
    log = SqliteEventLog(path, wall_clock_ns=clock)
    await log.start()
    yield log
    await log.stop()


@asynccontextmanager
async def _on_kafka(bootstrap: str, clock: WallClock) -> AsyncIterator[KafkaEventLog]:
    settings = KafkaOptions(
        bootstrap_servers=bootstrap,
        group_prefix=f"test-{uuid4().hex}",
        session_timeout_seconds=2.0,
        request_timeout_seconds=5.0,
    )
    log = KafkaEventLog(settings, ["frames"], wall_clock_ns=clock)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@pytest.fixture(params=["file", ":memory:"])
async def log(request, open_log) -> AsyncIterator[EventLog]:
    """An open log without topics, of each adapter for one machine."""
    async with open_log(request.param) as log:
        yield log


@pytest.fixture
def topic_map() -> TopicMap:
    return TopicMap(("paper", "zerodha"), ("zerodha",))


@pytest.fixture
async def deployed(log: SqliteEventLog, topic_map: TopicMap) -> SqliteEventLog:
    """A log with every topic of the deployment."""
    await log.ensure(topic_map.specs())
    return log


@pytest.fixture
def policy() -> ConsumerOptions:
    """Back-offs short enough for tests."""
    return ConsumerOptions(
        backoff_initial_seconds=0.001, backoff_max_seconds=0.01, bug_attempts=3, breaker_failures=1000
    )


def signal(n: int, broker: str = "paper", strategy: str = "ema") -> Event:
    """The n-th signal of a strategy; equal n, equal event."""
    frame = ids.frame_id("run", 0, n)
    made = Signal(
        signal_id=ids.signal_id(strategy, 1, frame, 0, 0, broker),
        correlation_id=frame,
        causation_id=frame,
        key=PositionKey(broker, "default", strategy, "NSE:INFY", Product.MIS),
        instrument_token=408065,
        config_revision=1,
        target=n,
        side=None,
        quantity=None,
        terms=AT_MARKET,
        market_time=MOMENT,
        valid_until=MOMENT,
        reference_price=Decimal("1500.05"),
        reason="a test",
    )
    return wire.signal_event(made, "strategy", MOMENT)


def frame(n: int, shard: int = 0) -> Event:
    """The n-th frame of a shard, with one tick."""
    made = Frame("run", shard, n, nanoseconds(MOMENT), 100, [408065], [150_000 + n], [nanoseconds(MOMENT)])
    return wire.frame_event(made, "marketdata", MOMENT)


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> None:
    """Waits until a condition holds; fails where it never does."""
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.005)


@pytest.fixture(name="eventually")
def _eventually():
    return eventually


@pytest.fixture(name="signal")
def _signal():
    return signal


@pytest.fixture(name="frame")
def _frame():
    return frame


@pytest.fixture
def publish(deployed, topic_map):
    """Puts events on the log."""

    async def publish(*events) -> None:
        await deployed.publish([to_record(event, topic_map) for event in events])

    return publish


@pytest.fixture
def settled(eventually) -> Callable:
    """Waits until a consumer is done with all there is."""

    async def settled(consumer: ReliableConsumer) -> None:
        async def done() -> bool:
            return consumer.idle() and not any((await consumer.lag()).values())

        await eventually(done)

    return settled
