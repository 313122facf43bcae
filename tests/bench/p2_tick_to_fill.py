"""P2: from a frame's publish to its fill's topic, against the same hops that commit as often and do nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Self

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from sqlalchemy import make_url
from tests.bench.figures import Figure
from tests.bench.order_flow import OrderFlow, quantile

from alphapanda.contract.topics import TopicSpec
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions

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
    Hop("bare.frames", 4, 0, 0),  # a strategy commits nothing; that it still owns the partition is one read
    Hop("bare.signals", 8, 1, 1),  # risk's decision; its relay's mark
    Hop("bare.validated", 8, 3, 1),  # SUBMITTING; the paper exchange's order; its answer; the relay's mark
)
LAST = "bare.fills"


def measure() -> list[Figure]:
    """Both chains stand idle beside each other; blocks of samples alternate."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        async with OrderFlow(Path(folder)) as flow, BareHops(flow.mesh.environment) as bare:
            ours: list[float] = []
            theirs: list[float] = []
            await bare.one_by_one(BLOCK)
            while len(ours) < SAMPLES:
                ours += await flow.one_by_one(BLOCK)
                theirs += await bare.one_by_one(BLOCK)
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
    """The bare chain's processes, and the ends of it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._kafka = environment["ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"]
        url = make_url(environment["ALPHAPANDA_DATABASE__URL"])
        self._database = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._redis = environment["ALPHAPANDA_REDIS__URL"]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        database = await asyncpg.connect(self._database)
        await database.execute(
            "CREATE TABLE bare_hops (id bigserial PRIMARY KEY, hop text NOT NULL, payload bytea NOT NULL)"
        )
        await database.close()
        log = KafkaEventLog(KafkaOptions(bootstrap_servers=self._kafka))
        await log.start()
        partitions = {**{hop.source: hop.partitions for hop in HOPS}, LAST: HOPS[-1].partitions}
        await log.ensure([TopicSpec(topic, count, 1, compacted=False) for topic, count in partitions.items()])
        await log.stop()
        self._producer = AIOKafkaProducer(bootstrap_servers=self._kafka, acks="all", enable_idempotence=True)
        await self._producer.start()
        self._stack.push_async_callback(self._producer.stop)
        self._consumer = AIOKafkaConsumer(
            LAST, bootstrap_servers=self._kafka, auto_offset_reset="earliest", group_id=None
        )
        await self._consumer.start()
        self._stack.push_async_callback(self._consumer.stop)
        for hop, target in zip(HOPS, [*(hop.source for hop in HOPS[1:]), LAST], strict=True):
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.bench.hop_side", hop.source, target),
                    *(self._kafka, self._database, self._redis, str(hop.before), str(hop.after)),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            self._stack.callback(process.wait)
            self._stack.callback(process.kill)
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def one_by_one(self, count: int) -> list[float]:
        """Seconds from the first topic to the last, each sent when the one before had come."""
        latencies = []
        first = HOPS[0]
        for number in range(count):
            began = time.perf_counter()
            await self._producer.send_and_wait(
                first.source, bytes(250), b"key", partition=number % first.partitions
            )
            async with asyncio.timeout(60):
                await self._consumer.getone()
            latencies.append(time.perf_counter() - began)
        return latencies
