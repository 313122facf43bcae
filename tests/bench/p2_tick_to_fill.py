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
from typing import Self

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy import make_url
from tests.bench.figures import Figure
from tests.bench.order_flow import OrderFlow, quantile

SAMPLES = int(os.environ.get("BENCH_SAMPLES", "2000"))
BLOCK = 100
BARS = {0.5: 1.3, 0.99: 1.5}
HOPS = (("bare.frames", 1), ("bare.signals", 1), ("bare.validated", 5))
"""Topics, and the commits before a hop publishes, as ours: a strategy's signal, risk's verdict; and in trading the order
received, SUBMITTING, the paper exchange's order, its answer, what it changed. Each has one more after, the outbox's mark."""
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
                *(mine / other <= bar, "against three bare hops with 1, 1 and 5 commits and as many marks"),
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
        topics = [topic for topic, _ in HOPS] + [LAST]
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
        await admin.close()
        self._producer = AIOKafkaProducer(bootstrap_servers=self._kafka)
        await self._producer.start()
        self._stack.push_async_callback(self._producer.stop)
        self._consumer = AIOKafkaConsumer(
            LAST, bootstrap_servers=self._kafka, auto_offset_reset="earliest", group_id=None
        )
        await self._consumer.start()
        self._stack.push_async_callback(self._consumer.stop)
        for (source, before), target in zip(HOPS, topics[1:], strict=True):
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.bench.hop_side", source, target),
                    *(self._kafka, self._database, self._redis, str(before)),
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
        for _ in range(count):
            began = time.perf_counter()
            await self._producer.send_and_wait(HOPS[0][0], bytes(250))
            async with asyncio.timeout(60):
                await self._consumer.getone()
            latencies.append(time.perf_counter() - began)
        return latencies
