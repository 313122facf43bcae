"""A mesh of real processes whose every frame makes one order and one fill, and what it takes from frame to fill."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

import grpc
from kafka_server import free_ports
from mesh import Mesh
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import create_async_engine

from alphapanda.contract.topics import TopicMap, shard_of
from alphapanda.contract.wire import frame_event
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument
from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import Start
from alphapanda.instruments.core import shipped_instruments
from alphapanda.instruments.store.postgres import PostgresInstrumentStore
from alphapanda.marketdata.core.ticks import PRICE_SCALE
from alphapanda.marketdata.publisher import SOURCE
from alphapanda.storage.price_cache import PriceCache
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.registry import BrokerRegistry
from panda.strategy.v1 import strategy_pb2 as strategy
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

SERVICES = ("instruments", "portfolio", "trading", "risk", "strategy")
OPEN = datetime(2025, 3, 10, 3, 46, tzinfo=UTC)
STEP_NS = 100_000_000
DAY = date(2025, 3, 10)
LOW, HIGH = 1_000 * PRICE_SCALE, 1_010 * PRICE_SCALE
PATIENCE = 60.0
QUIET = 3.0
"""Seconds without a fill after which no more are expected: a signal that meets an open order is never one."""


@dataclass
class Trial:
    """Orders at a rate.

    Attributes:
        rate: frames published in a second.
        latencies: seconds from publish to fill, of those that filled.
        halfway: orders under way when half of the frames were out.
        end: the same when all of them were.
        published: frames that really went out in a second.
    """

    rate: float
    latencies: list[float] = field(default_factory=list)
    halfway: int = 0
    end: int = 0
    published: float = 0.0

    @property
    def kept_up(self) -> bool:
        """Whether what was under way did not grow over the second half, beyond a twentieth of a second's orders.

        No either where the frames themselves went out slower than they should.
        """
        return self.published >= 0.9 * self.rate and self.end <= self.halfway + max(2.0, self.rate / 20)


class OrderFlow:
    """Strategies that flip on each tick, one an instrument, on a mesh without a feed: this process feeds it.

    Args:
        folder: where the mesh keeps everything.
        settings: more environment of the services.
        instruments: instruments to register and to trade; by default twenty of those that are shipped.

    Attributes:
        mesh: its processes.
        targets: address of each service.
        symbols: what is traded.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, str] | None = None,
        instruments: Sequence[Instrument] = (),
    ) -> None:
        self._settings = settings or {}
        self._stack = AsyncExitStack()
        self._registered = instruments
        self._instruments = instruments or [one for one in shipped_instruments(DAY) if one.tradable][:20]
        self._turn = 0
        self._market_time_ns = nanoseconds(OPEN)
        self._sequences: dict[int, int] = {}
        self._published: dict[str, float] = {}
        self._filled: dict[str, asyncio.Future[float]] = {}
        self.mesh = Mesh(folder)
        self.targets: dict[str, str] = {}
        self.symbols = [one.symbol for one in self._instruments]

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        ports = free_ports(len(SERVICES))
        self.targets = {service: f"127.0.0.1:{port}" for service, port in zip(SERVICES, ports, strict=True)}
        environment = {
            **{f"ALPHAPANDA_MESH__{service.upper()}": target for service, target in self.targets.items()},
            "ALPHAPANDA_STRATEGY__MAX_SIGNALS_PER_MINUTE": "100000",
            "ALPHAPANDA_ACTIVE_BROKERS": "paper",
            "ALPHAPANDA_PAPER_TRADING__STARTING_CASH": "1000000000",  # every order has to be paid
            **self._settings,
        }
        os.environ.update(environment)
        for name in environment:
            self._stack.callback(os.environ.pop, name, None)
        self._stack.push_async_callback(self.mesh.stop)
        await self.mesh.start(())
        await self._register()
        for service in SERVICES:
            self.mesh.start_service(service)
        brokers = BrokerRegistry(BROKERS)
        self._topic_map = TopicMap(("paper",), brokers.live(("paper",)))
        bootstrap = self.mesh.environment["ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"]
        self._log = KafkaEventLog(
            KafkaOptions(bootstrap_servers=bootstrap, linger_ms=0), self._topic_map.topics("tick_frame")
        )
        await self._log.start()
        self._stack.push_async_callback(self._log.stop)
        redis = Redis.from_url(self.mesh.environment["ALPHAPANDA_REDIS__URL"])
        self._stack.push_async_callback(redis.aclose)
        self._cache = PriceCache(redis, 10.0, lambda: datetime.now(UTC))
        self._reader = self._log.topic_reader(self._topic_map.topics("order_filled"), Start.LATEST)
        await self._reader.start()
        self._stack.push_async_callback(self._reader.stop)
        reading = asyncio.create_task(self._read_fills())
        self._stack.callback(reading.cancel)
        await self._create_strategies()
        await self._warm_up()

    async def _register(self) -> None:
        engine = create_async_engine(self.mesh.environment["ALPHAPANDA_DATABASE__URL"])
        try:
            await PostgresInstrumentStore(engine).upsert(self._registered, DAY)
        finally:
            await engine.dispose()

    async def _create_strategies(self) -> None:
        async with grpc.aio.insecure_channel(self.targets["strategy"]) as channel:
            stub = StrategyServiceStub(channel)
            for number, instrument in enumerate(self._instruments):
                create = strategy.CreateStrategyRequest(
                    request_id=f"create-{number}",
                    strategy_id=f"flip_{number}",
                    strategy_type="ema_cross",
                    parameters={"fast": "1", "slow": "2"},
                    symbols=[instrument.symbol],
                    quantity=1,
                )
                await stub.CreateStrategy(create, wait_for_ready=True, timeout=PATIENCE)
                await stub.StartStrategy(
                    strategy.StartStrategyRequest(
                        request_id=f"start-{number}", strategy_id=create.strategy_id
                    )
                )

    async def _warm_up(self) -> None:
        """Ticks until all strategies have traded on one: the first ones find no strategy, or one that isn't warm."""
        deadline = time.monotonic() + PATIENCE + len(self._instruments) / 2
        while not await settled(waiting := await self._publish_all(), QUIET):
            if time.monotonic() > deadline:
                filled = sum(one.done() for one in waiting)
                raise RuntimeError(f"only {filled} of {len(waiting)} strategies filled an order")

    async def publish(self) -> asyncio.Future[float]:
        """Publishes the next instrument's next tick, which turns its strategy round; seconds to its fill, once there."""
        self._market_time_ns += STEP_NS
        (waiting,) = await self._publish([self._next_frame()])
        return waiting

    async def _publish_all(self) -> list[asyncio.Future[float]]:
        """Publishes the next tick of every instrument, all of the same market time."""
        self._market_time_ns += STEP_NS
        return await self._publish([self._next_frame() for _ in self._instruments])

    def _next_frame(self) -> Frame:
        turn, self._turn = self._turn, self._turn + 1
        instrument = self._instruments[turn % len(self._instruments)]
        price = HIGH if turn // len(self._instruments) % 2 else LOW
        shard = shard_of(instrument.instrument_token)
        self._sequences[shard] = sequence = self._sequences.get(shard, 0) + 1
        return Frame(
            *("bench", shard, sequence, self._market_time_ns, PRICE_SCALE),
            *((instrument.instrument_token,), (price,), (self._market_time_ns,)),
        )

    async def _publish(self, frames: Sequence[Frame]) -> list[asyncio.Future[float]]:
        loop = asyncio.get_running_loop()
        waiting = [loop.create_future() for _ in frames]
        self._filled.update(zip((frame.frame_id for frame in frames), waiting, strict=True))
        await self._cache.write(frames)
        records = [
            to_record(frame_event(frame, SOURCE, datetime.now(UTC)), self._topic_map) for frame in frames
        ]
        published = time.perf_counter()
        self._published.update((frame.frame_id, published) for frame in frames)
        await self._log.publish(records)
        return waiting

    async def _read_fills(self) -> None:
        while True:
            for record in await self._reader.fetch(500, 1.0):
                seen = time.perf_counter()
                frame_id = from_record(record, self._topic_map).correlation_id
                waiting = self._filled.pop(frame_id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(seen - self._published.pop(frame_id))

    async def one_by_one(self, count: int) -> list[float]:
        """Seconds from frame to fill, each frame published when the one before had filled."""
        latencies = []
        for _ in range(count):
            waiting = await self.publish()
            async with asyncio.timeout(PATIENCE):
                latencies.append(await waiting)
        return latencies

    async def flat_out(self, count: int) -> float:
        """Orders a second where every strategy gets its next tick as soon as its order has filled, and no sooner."""
        waiting: list[asyncio.Future[float]] = []
        began = time.perf_counter()
        for number in range(count):
            if number >= len(self._instruments):
                async with asyncio.timeout(PATIENCE):
                    await waiting[number - len(self._instruments)]
            waiting.append(await self.publish())
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*waiting)
        return count / (time.perf_counter() - began)

    def processor_seconds(self) -> float:
        """Seconds of the processor that the services have used so far; not Kafka's, PostgreSQL's, Redis's or ours."""
        ticks = 0
        for process in self.mesh.processes.values():
            stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            ticks += int(stat[11]) + int(stat[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    async def at_once(self) -> float:
        """Orders a second where every strategy gets its next tick at the same moment: until the last has filled."""
        began = time.perf_counter()
        waiting = await self._publish_all()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*waiting)
        return len(waiting) / (time.perf_counter() - began)

    async def at_rate(self, rate: float, seconds: float) -> Trial:
        """Frames published by the clock, whatever becomes of them; then waits until all have filled or none moves."""
        trial = Trial(rate)
        count = int(rate * seconds)
        began = time.perf_counter()
        waiting: list[asyncio.Future[float]] = []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            waiting.append(await self.publish())
            if number == count // 2:
                trial.halfway = sum(not one.done() for one in waiting)
        trial.end = sum(not one.done() for one in waiting)
        trial.published = count / (time.perf_counter() - began)
        await settled(waiting, QUIET)
        trial.latencies = [one.result() for one in waiting if one.done()]
        self._filled.clear()
        self._published.clear()
        return trial

    async def peak(self, seconds: float, *, lowest: float = 10.0) -> float:
        """The highest rate in steps of a tenth at which what is under way does not grow.

        Raises:
            RuntimeError: it grows at one order in two seconds.
        """
        kept, rate = 0.0, lowest
        while (await self.at_rate(rate, seconds)).kept_up:
            kept, rate = rate, rate * 1.5
        low, high = kept, rate
        while not low:
            high /= 2
            if high < 0.5:
                raise RuntimeError(
                    "orders pile up at one in two seconds: this machine is too busy to measure on"
                )
            if (await self.at_rate(high, seconds)).kept_up:
                low, high = high, 2 * high
        while high / low > 1.1:
            middle = (low * high) ** 0.5
            if (await self.at_rate(middle, seconds)).kept_up:
                low = middle
            else:
                high = middle
        return low


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def settled(waiting: Sequence[asyncio.Future[float]], quiet: float) -> bool:
    """Waits until all are done, or `quiet` seconds have passed in which none was; returns whether all are."""
    left, moved = len(waiting), time.monotonic()
    while left:
        now_left = sum(not one.done() for one in waiting)
        if now_left < left:
            left, moved = now_left, time.monotonic()
        elif time.monotonic() - moved > quiet:
            return False
        await asyncio.sleep(quiet / 60)
    return True
