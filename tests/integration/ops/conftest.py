"""The consumers as the composition root builds them, on real PostgreSQL and Redis and on either log, and OpsService."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4

import grpc
import pytest
import structlog

sys.path.append(str(Path(__file__).parents[2] / "e2e"))

import fork_server
from redis.asyncio import Redis
from sqlalchemy import text

from alphapanda.app.process import Lifecycle, Process, Room
from alphapanda.app.resources import ProcessResources
from alphapanda.app.rooms.portfolio import portfolio_room
from alphapanda.app.rooms.risk import risk_room
from alphapanda.app.rooms.strategy import strategy_room
from alphapanda.app.rooms.trading import trading_room
from alphapanda.app.status import ops_room, running_service
from alphapanda.contract import wire
from alphapanda.contract.topics import TopicMap
from alphapanda.domain import ids
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import PositionEffect, Product, Side
from alphapanda.domain.signal import PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.mesh.server import MeshServer
from alphapanda.settings.consumers import ConsumerSettings, ConsumersSettings
from alphapanda.settings.model import Settings
from alphapanda.storage.engine import open_engine
from alphapanda.trading.execution_context import no_step
from alphapanda.trading.manual import verdict_event_id
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.events.v1.events_pb2 import Event
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub

fork_server.enable()

ALPHAPANDA = str(Path(sys.executable).with_name("alphapanda"))
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
CALENDAR = load_nse_calendar()
INSTRUMENTS = InstrumentDirectory(
    Instrument(
        f"NSE:S{token}", token, "NSE", f"S{token}", f"Share {token}", "NSE", "EQ", Decimal("0.05"), 1, 100,
        CALENDAR.segments[0],
    )
    for token in range(1, 9)
)  # fmt: skip
POLICY = ConsumerSettings(backoff_initial_seconds=0.01, backoff_max_seconds=0.02, bug_attempts=2)
SETTINGS = Settings(consumers=ConsumersSettings(defaults=POLICY))


def approved(number: int, token: int = 1) -> Event:
    """A verdict that lets signal `number` through: buy 10."""
    verdict = Approved(
        signal_id=ids.derived_id("test signal", number),
        correlation_id=ids.derived_id("test frame", number),
        key=PositionKey("paper", "default", "crossing", f"NSE:S{token}", Product.MIS),
        instrument_token=token,
        config_revision=1,
        side=Side.BUY,
        quantity=10,
        terms=AT_MARKET,
        effect=PositionEffect.OPENS,
        valid_until=NOON + timedelta(seconds=60),
        decided_at=NOON,
        rules=(),
    )
    return wire.verdict_event(verdict, verdict_event_id(verdict.signal_id), verdict.signal_id, "risk", NOON)


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 60.0) -> None:
    """Waits until a condition holds; fails where it never does."""
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.02)


async def command(*args: str, **where: Any) -> CompletedProcess[str]:
    """A command of ours run to its end, in a process of its own; `env` and `cwd` as fork_server.run has them."""
    return await asyncio.to_thread(fork_server.run, [ALPHAPANDA, *args], **where)


@dataclass(slots=True)
class Mesh:
    """Rooms behind one server."""

    resources: ProcessResources
    rooms: list[Room]
    port: int
    ops: OpsServiceStub
    bootstrap: str = ""

    async def publish(self, *events: Event) -> None:
        await self.resources.log.publish([to_record(event, self.resources.topic_map) for event in events])

    async def rows(self, query: str) -> list:
        async with self.resources.engine.connect() as connection:
            return list((await connection.execute(text(query))).all())

    async def cli(self, *args: str, status: int = 0) -> str:
        """What a command prints that ends with this exit code."""
        done = await command(*args, "--target", f"127.0.0.1:{self.port}")
        assert done.returncode == status, done.stderr
        return done.stdout

    async def at_rest(self) -> bool:
        """Whether every consumer is done with everything and every outbox is empty."""
        for room in self.rooms:
            for consumer in room.consumers:
                if not consumer.idle() or any((await consumer.lag()).values()):
                    return False
            if room.relay is not None and await room.relay.pending():
                return False
        return True

    async def come_to_rest(self, seconds: float = 20.0) -> None:
        looks = 0
        while looks < 3:
            await eventually(self.at_rest, seconds)
            looks += 1
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(tables: str, redis_url: str, log) -> AsyncIterator[Mesh]:
    """Strategy, risk, trading, portfolio and ops; the market stands at noon, 100 rupees each."""
    engine, own = open_engine(tables, 10), open_engine(tables, 5)
    redis = Redis.from_url(redis_url)
    topic_map = TopicMap(SETTINGS.active_brokers, ("zerodha",))
    await log.start()
    await log.ensure(topic_map.specs())
    lifecycle = Lifecycle()
    port = 0
    resources = ProcessResources(
        settings=SETTINGS,
        engine=engine,
        paper_engine=own,
        redis=redis,
        log=log,
        topic_map=topic_map,
        brokers=BrokerRegistry(BROKERS),
        calendar=CALENDAR,
        directory=INSTRUMENTS,
        target=lambda _: f"127.0.0.1:{port}",
        metrics=None,
    )
    rooms = [
        strategy_room(resources)[0],
        risk_room(resources)[0],
        trading_room(resources, no_step)[0],
        portfolio_room(resources),
    ]
    services = [running_service(room, lambda: lifecycle.state) for room in rooms]
    rooms.append(ops_room(resources, services))
    moment, tokens = nanoseconds(NOON), [*range(1, 9)]
    await resources.prices.write(
        [Frame("run", 0, 1, moment, 100, tokens, [10_000] * len(tokens), [moment] * len(tokens))]
    )
    server = MeshServer("127.0.0.1", 0, [room.registration for room in rooms], structlog.get_logger())

    starts = server.start

    async def start() -> int:
        nonlocal port
        port = await starts()
        return port

    server.start = start
    process = Process(rooms, server, (), lifecycle)
    try:
        await process.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Mesh(resources, rooms, port, OpsServiceStub(channel))
    finally:
        await process.stop()
        await log.stop()
        await redis.aclose()
        await engine.dispose()
        await own.dispose()


@pytest.fixture(name="command")
def _command() -> Callable[..., Awaitable[CompletedProcess[str]]]:
    return command


@pytest.fixture(name="approved")
def _approved() -> Callable[..., Event]:
    return approved


@pytest.fixture
def mesh_on(tables: str, redis_url: str) -> Callable[..., AbstractAsyncContextManager[Mesh]]:
    """Runs them on a log."""
    return partial(running, tables, redis_url)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Awaitable[None]]:
    return eventually


@pytest.fixture
async def embedded(tables: str, redis_url: str) -> AsyncIterator[Mesh]:
    """On SQLite."""
    async with running(tables, redis_url, SqliteEventLog(":memory:")) as mesh:
        yield mesh


@pytest.fixture
async def on_kafka(tables: str, redis_url: str, kafka: str) -> AsyncIterator[Mesh]:
    """On Kafka."""
    settings = KafkaOptions(
        bootstrap_servers=kafka, group_prefix=f"test-{uuid4().hex}", request_timeout_seconds=10
    )
    async with running(tables, redis_url, KafkaEventLog(settings, ["market.ticks"])) as mesh:
        mesh.bootstrap = kafka
        yield mesh
