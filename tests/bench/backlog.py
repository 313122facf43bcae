"""The backlog of P1 and P10: four partitions of frames of a hundred instruments with ten columns, lz4; and who drains it."""

from __future__ import annotations

import asyncio
import json
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import mesh  # noqa: F401 - puts Kafka's folder on the path
from aiokafka import AIOKafkaProducer
from kafka_server import KafkaServer

from alphapanda.contract.topics import TopicMap, TopicSpec, shard_of
from alphapanda.contract.wire import frame_event
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.host import StrategyHost

TOPIC_MAP = TopicMap(("paper",), ())
PARTITIONS = 4
INSTRUMENTS = 100
FLIPS = "flips"
OPEN_NS = nanoseconds(datetime(2025, 3, 10, 3, 46, tzinfo=UTC))
STEP_NS = 5_000_000
WARM = 40
COLUMNS = ("last_quantity", "buy_quantity", "sell_quantity", "average_price", "open_interest")
TICK_BYTES = 80


def tokens(partition: int) -> list[int]:
    """The instruments of a partition."""
    found = (token for token in count(1) if shard_of(token) == partition)
    return [next(found) for _ in range(INSTRUMENTS)]


def directory() -> InstrumentDirectory:
    """All instruments."""
    return InstrumentDirectory(
        Instrument(
            *(f"NSE:S{token}", token, "NSE", f"S{token}", f"S{token}", "NSE", "EQ", Decimal("0.05"), 1, 0),
            "NSE_EQ",
        )
        for partition in range(PARTITIONS)
        for token in tokens(partition)
    )


def configs(partition: int) -> list[StrategyConfig]:
    """An ema_cross for each instrument of a partition."""
    return [
        StrategyConfig(
            strategy_id=f"ema-{token}",
            revision=1,
            state=StrategyState.RUNNING,
            strategy_type="ema_cross",
            parameters={"fast": "10", "slow": "20"},
            instruments=(StrategyInstrument(f"NSE:S{token}", token),),
            brokers=(),
            account="default",
            quantity=1,
            product=Product.MIS,
            signal_ttl_seconds=60,
        )
        for token in tokens(partition)
    ]


def frames(feed: str, partition: int) -> Iterator[Frame]:
    """Frames without end: prices that rise, or wander ("flips")."""
    chance = random.Random(partition)
    here = tokens(partition)
    prices = [100_000] * INSTRUMENTS
    for sequence in count(1):
        at = OPEN_NS + sequence * STEP_NS
        steps = [chance.randint(-20, 20) for _ in here] if feed == FLIPS else [1] * INSTRUMENTS
        prices = [max(1_000, price + step) for price, step in zip(prices, steps, strict=True)]
        times = [at] * INSTRUMENTS
        volumes = [sequence * 100] * INSTRUMENTS
        yield Frame("bench", partition, sequence, at, 100, here, prices, times, times, volumes)


def states(feed: str) -> dict[int, dict[str, bytes]]:
    """What the strategies remember where the backlog begins, by partition: warm, so that a quiet feed makes no signal."""
    if feed == FLIPS:
        return {partition: {} for partition in range(PARTITIONS)}
    found = {}
    for partition in range(PARTITIONS):
        host = StrategyHost(directory(), load_nse_calendar(), ExecutionRouter(("paper",)))
        for config in configs(partition):
            host.configure(config)
        for frame, _ in zip(frames(feed, partition), range(WARM), strict=False):
            host.on_frame(frame)
        found[partition] = {
            config.strategy_id: host.state(config.strategy_id) for config in configs(partition)
        }
    return found


async def _fill(bootstrap: str, feed: str, per_partition: int, *, bare: bool) -> None:
    (topic,) = TOPIC_MAP.topics("tick_frame")
    log = KafkaEventLog(KafkaOptions(bootstrap_servers=bootstrap), [topic])
    await log.start()
    await log.ensure([*TOPIC_MAP.specs(), TopicSpec("bare.ticks", PARTITIONS, None, compacted=False)])
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4", linger_ms=50)
    await producer.start()
    for partition in range(PARTITIONS):
        records = []
        for frame, _ in zip(frames(feed, partition), range(WARM + per_partition), strict=False):
            if frame.sequence <= WARM:
                continue
            event = frame_event(frame, "marketdata", datetime.now(UTC))
            for name in COLUMNS:
                getattr(event.tick_frame, name).extend(frame.volume)
            records.append(to_record(event, TOPIC_MAP))
            if bare:
                for price in frame.last_price:
                    tick = struct.pack("10q", frame.sequence, price, *([frame.market_time_ns] * 8))
                    await producer.send("bare.ticks", tick, partition=partition)
        for first in range(0, len(records), 200):
            await log.publish(records[first : first + 200])
    await producer.flush()
    await producer.stop()
    await log.stop()


@asynccontextmanager
async def backlog(feed: str, per_partition: int, *, bare: bool = False) -> AsyncIterator[str]:
    """A Kafka that holds `per_partition` frames a partition, and with `bare` the same ticks one a record; `host:port`."""
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        kafka = KafkaServer(Path(folder))
        bootstrap = await asyncio.to_thread(kafka.start)
        try:
            await _fill(bootstrap, feed, per_partition, bare=bare)
            yield bootstrap
        finally:
            await asyncio.to_thread(kafka.stop)


class Drained(NamedTuple):
    """What a process did.

    Attributes:
        ticks: ticks seen.
        seconds: from the word to the last of them.
        signals: signals published.
        cpu: seconds of the processor it used meanwhile; Kafka's and the other process's are not in them.
    """

    ticks: int
    seconds: float
    signals: int
    cpu: float


def drain(
    side: str, bootstrap: str, feed: str, processes: int, per_partition: int, *, telemetry: str = ""
) -> list[Drained]:
    """Lets processes of one group drain it: each has its partitions before any begins."""
    group = uuid4().hex
    partitions = PARTITIONS // processes
    records = partitions * per_partition * (INSTRUMENTS if side == "bare" else 1)
    with _running(
        [
            *(sys.executable, "-m", "tests.bench.backlog_side", side, bootstrap, group, feed),
            *(str(partitions), str(records), *(["--telemetry", telemetry] if telemetry else [])),
        ],
        processes,
    ) as running:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [Drained(*json.loads(process.communicate()[0])) for process in running]


@contextmanager
def _running(command: list[str], processes: int) -> Iterator[list[subprocess.Popen[str]]]:
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        yield running
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
