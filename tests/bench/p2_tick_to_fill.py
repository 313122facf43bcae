"""P2: from a frame's publish to its fill's topic, against the same hops that commit as often and do nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Self

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from sqlalchemy import make_url
from tests.bench.figures import Figure
from tests.bench.order_flow import OrderFlow, quantile
from tests.bench.rungs import BOOKS, RUNGS

from alphapanda.contract.topics import TopicSpec
from alphapanda.contract.wire import signal_event
from alphapanda.domain.ids import derived_id
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions

LADDER = os.environ.get("BENCH_LADDER", "") == "1"
SAMPLES = int(os.environ.get("BENCH_SAMPLES", "2000"))
BLOCK = 100
BARS = {0.5: 1.3, 0.99: 1.5}


class Hop(NamedTuple):
    """A bare hop: the same steps between the same two topics as ours, each in its cheapest form.

    Attributes:
        source: the topic that it reads.
        partitions: of that topic, as many as ours has.
        before: commits before it publishes, as many as ours makes that write.
        after: commits after it has published.
    """

    source: str
    partitions: int
    before: int
    after: int


HOPS = (
    Hop("frames", 4, 0, 0),  # a strategy commits nothing; that it still owns the partition is one read
    Hop("signals", 8, 1, 1),  # risk's decision; its relay's mark
    Hop("validated", 8, 3, 1),  # SUBMITTING; the paper exchange's order; its answer; the relay's mark
)
LAST = "fills"
VALUE = signal_event(
    Signal(
        *(derived_id("bench", "signal"), derived_id("bench", "frame"), derived_id("bench", "frame")),
        PositionKey("paper", "main", "flip_1", "NSE:INFY", Product.MIS),
        *(408_065, 1, 1, None, None, AT_MARKET),
        *(datetime(2025, 3, 10, 4, tzinfo=UTC), datetime(2025, 3, 10, 4, 1, tzinfo=UTC)),
        Decimal("1000.05"),
    ),
    "bench",
    datetime(2025, 3, 10, 4, tzinfo=UTC),
).SerializeToString(deterministic=True)
"""What the bare hops pass on: bytes to them, and a signal on the ladder."""


def measure() -> list[Figure]:
    """Both chains stand idle beside each other; blocks of samples alternate."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    added = list(RUNGS) if LADDER else []
    sides: list[list[float]] = [[] for _ in range(1 + len(added))]
    ours: list[float] = []
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as name:
        folder = Path(name)
        async with OrderFlow(folder) as flow, AsyncExitStack() as stack:
            bare = [
                await stack.enter_async_context(BareHops(flow.mesh.environment, folder, added[:rungs]))
                for rungs in range(len(sides))
            ]
            for hops in bare:
                await hops.one_by_one(BLOCK)
            while len(ours) < SAMPLES:
                ours += await flow.one_by_one(BLOCK)
                for hops, latencies in zip(bare, sides, strict=True):
                    latencies.extend(await hops.one_by_one(BLOCK))
    return [*_against(ours, sides[0]), *_rungs(ours, sides)]


def _rungs(ours: Sequence[float], sides: Sequence[Sequence[float]]) -> list[Figure]:
    """Ours against each rung of the ladder: what the last one leaves is the decisions and what keeps them in order."""
    return [
        Figure(
            *("P2", f"ladder, p{share * 100:g}: {name}"),
            *(f"{quantile(ours, share) * 1e3:.1f} ms", f"{quantile(rung, share) * 1e3:.1f} ms"),
            ratio=quantile(ours, share) / quantile(rung, share),
            note=f"{(quantile(rung, share) - quantile(below, share)) * 1e3:+.1f} ms: {RUNGS[name]}",
        )
        for share in BARS
        for name, below, rung in zip(RUNGS, sides[:-1], sides[1:], strict=False)
    ]


def _against(ours: Sequence[float], theirs: Sequence[float]) -> list[Figure]:
    figures = []
    for share, bar in BARS.items():
        mine, other = quantile(ours, share), quantile(theirs, share)
        figures.append(
            Figure(
                *("P2", f"frame published to its fill's topic, p{share * 100:g} of {len(ours):,}"),
                *(f"{mine * 1e3:.1f} ms", f"{other * 1e3:.1f} ms", mine / other, f"<= {bar:g}x"),
                *(
                    mine / other <= bar,
                    "against three bare hops with 0, 1 and 3 commits, and one after it in two",
                ),
            )
        )
    return figures


class BareHops:
    """The bare chain's processes, and the ends of it.

    Args:
        environment: of the mesh whose stores it uses.
        folder: for its log lines.
        adds: rungs of the ladder.
    """

    def __init__(self, environment: dict[str, str], folder: Path, adds: Sequence[str] = ()) -> None:
        self._folder = folder
        self._adds = adds
        self._prefix = "-".join(("bare", *adds))
        self._kafka = environment["ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"]
        url = make_url(environment["ALPHAPANDA_DATABASE__URL"])
        self._database = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._redis = environment["ALPHAPANDA_REDIS__URL"]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        database = await asyncpg.connect(self._database)
        await database.execute(
            "CREATE TABLE IF NOT EXISTS bare_hops (id bigserial PRIMARY KEY, hop text NOT NULL, payload bytea NOT NULL)"
        )
        await database.close()
        log = KafkaEventLog(KafkaOptions(bootstrap_servers=self._kafka))
        await log.start()
        topics = [self._topic(name) for name in (*(hop.source for hop in HOPS), LAST)]
        counts = [*(hop.partitions for hop in HOPS), HOPS[-1].partitions]
        await log.ensure(
            [TopicSpec(topic, count, 1, compacted=False) for topic, count in zip(topics, counts, strict=True)]
        )
        await log.stop()
        self._producer = AIOKafkaProducer(bootstrap_servers=self._kafka, acks="all", enable_idempotence=True)
        await self._producer.start()
        self._stack.push_async_callback(self._producer.stop)
        self._consumer = AIOKafkaConsumer(
            topics[-1], bootstrap_servers=self._kafka, auto_offset_reset="earliest", group_id=None
        )
        await self._consumer.start()
        self._stack.push_async_callback(self._consumer.stop)
        for hop, source, target in zip(HOPS, topics, topics[1:], strict=False):
            await self._start(source, target, hop.before, hop.after)
        if BOOKS in self._adds:
            await self._start(topics[-1], BOOKS, 2, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _topic(self, name: str) -> str:
        return f"{self._prefix}.{name}"

    async def _start(self, source: str, target: str, before: int, after: int) -> None:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.bench.hop_side", source, target),
                *(self._kafka, self._database, self._redis, str(before), str(after)),
                *(str(self._folder / f"{source}-logs"), *self._adds),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)

    async def one_by_one(self, count: int) -> list[float]:
        """Seconds from the first topic to the last, each sent when the one before had come."""
        latencies = []
        first = HOPS[0]
        for number in range(count):
            began = time.perf_counter()
            await self._producer.send_and_wait(
                self._topic(first.source), VALUE, b"key", partition=number % first.partitions
            )
            async with asyncio.timeout(60):
                await self._consumer.getone()
            latencies.append(time.perf_counter() - began)
        return latencies
