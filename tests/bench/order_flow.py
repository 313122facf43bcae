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

from alphapanda.contract.topics import TopicMap, shard_of
from alphapanda.contract.wire import frame_event
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument
from alphapanda.eventlog.decode import from_record, to_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import Start
from alphapanda.instruments.core import shipped_instruments
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
LOW, HIGH = 1_000 * PRICE_SCALE, 1_010 * PRICE_SCALE
PATIENCE = 60.0


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
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._settings = settings or {}
        self._stack = AsyncExitStack()
        self._instruments: list[Instrument] = []
        self._turn = 0
        self._market_time_ns = nanoseconds(OPEN)
        self._sequences: dict[int, int] = {}
        self._published: dict[str, float] = {}
        self._filled: dict[str, asyncio.Future[float]] = {}
        self.mesh = Mesh(folder)

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
        ports = {
            f"ALPHAPANDA_MESH__{service.upper()}": f"127.0.0.1:{port}"
            for service, port in zip(SERVICES, free_ports(len(SERVICES)), strict=True)
        }
        environment = {
            **ports,
            "ALPHAPANDA_STRATEGY__MAX_SIGNALS_PER_MINUTE": "100000",
            "ALPHAPANDA_ACTIVE_BROKERS": "paper",
            **self._settings,
        }
        os.environ.update(environment)
        for name in environment:
            self._stack.callback(os.environ.pop, name, None)
        self._stack.push_async_callback(self.mesh.stop)
        await self.mesh.start(SERVICES)
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
        await self._create_strategies(ports["ALPHAPANDA_MESH__STRATEGY"])
        await self._warm_up()

    async def _create_strategies(self, target: str) -> None:
        tradable = [one for one in shipped_instruments(date(2025, 3, 10)) if one.symbol != "NSE:NIFTY 50"]
        self._instruments = tradable[:20]
        async with grpc.aio.insecure_channel(target) as channel:
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
        """Ticks until every strategy has traded: the first ones find no strategy, or one that isn't warm."""
        deadline = time.monotonic() + PATIENCE
        answered: set[int] = set()
        while len(answered) < len(self._instruments):
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"only {len(answered)} of {len(self._instruments)} strategies filled an order"
                )
            turn = self._turn % len(self._instruments)
            frame_id = await self.publish()
            try:
                async with asyncio.timeout(1.0):
                    await self._filled[frame_id]
            except TimeoutError:
                continue
            answered.add(turn)

    async def publish(self) -> str:
        """The next instrument's next tick, which turns its strategy round; returns the frame's id."""
        turn, self._turn = self._turn, self._turn + 1
        instrument = self._instruments[turn % len(self._instruments)]
        price = HIGH if turn // len(self._instruments) % 2 else LOW
        self._market_time_ns += STEP_NS
        shard = shard_of(instrument.instrument_token)
        self._sequences[shard] = sequence = self._sequences.get(shard, 0) + 1
        frame = Frame(
            *("bench", shard, sequence, self._market_time_ns, PRICE_SCALE),
            *((instrument.instrument_token,), (price,), (self._market_time_ns,)),
        )
        frame_id = frame.frame_id
        self._filled[frame_id] = asyncio.get_running_loop().create_future()
        await self._cache.write([frame])
        record = to_record(frame_event(frame, SOURCE, datetime.now(UTC)), self._topic_map)
        self._published[frame_id] = time.perf_counter()
        await self._log.publish([record])
        return frame_id

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
            waiting = self._filled[await self.publish()]
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
            waiting.append(self._filled[await self.publish()])
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*waiting)
        return count / (time.perf_counter() - began)

    async def at_rate(self, rate: float, seconds: float) -> Trial:
        """Frames published by the clock, whatever becomes of them; then waits until all have filled or none moves."""
        trial = Trial(rate)
        count = int(rate * seconds)
        began = time.perf_counter()
        waiting: list[asyncio.Future[float]] = []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            waiting.append(self._filled[await self.publish()])
            if number == count // 2:
                trial.halfway = sum(not one.done() for one in waiting)
        trial.end = sum(not one.done() for one in waiting)
        trial.published = count / (time.perf_counter() - began)
        await asyncio.wait(waiting, timeout=PATIENCE)
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
