"""A process of P1 and P10 that drains a Kafka backlog: the strategy stage whole, or a bare aiokafka loop.

Prints "ready" when it holds its partitions, begins at a line on its input, and prints what `Drained` holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer
from tests.bench.backlog import FLIPS, TICK_BYTES, TOPIC_MAP, Drained, configs, directory, states
from tests.in_memory.strategy_store import MemoryStrategyStore

from alphapanda.consuming.consumer import ReliableConsumer
from alphapanda.consuming.dead_letters import DeadLetters
from alphapanda.consuming.delivery import Delivery, Handler
from alphapanda.consuming.options import ConsumerOptions
from alphapanda.consuming.slow_handlers import TimedHandler
from alphapanda.consuming.traced_handler import TracedHandler
from alphapanda.contract.topics import TopicPartition
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import GroupReader, Start
from alphapanda.settings.connections import TelemetrySettings
from alphapanda.settings.operation import MonitoringSettings
from alphapanda.strategy.consumer import StrategyAssignment, StrategyTicks
from alphapanda.strategy.core.config import StrategyConfig
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.decision_spans import DecisionSpans
from alphapanda.strategy.store.port import Activation, Change, Memory, StoredStrategy
from alphapanda.strategy.wire import changed_event
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.options import LoggingOptions
from alphapanda.telemetry.span_export import Collector, SpanExport
from alphapanda.telemetry.tracing import Tracer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NO_ID = "00000000-0000-5000-8000-000000000000"


class Moment(NamedTuple):
    """Seconds of a clock, and seconds of the processor that this process has used."""

    seconds: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.perf_counter(), time.process_time())


async def told_to_go() -> None:
    """Says that it is ready, and waits for the word."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


class Waiting(StrategyAssignment):
    """Takes its partitions up when it has as many as it shall have, and begins to read them at the word."""

    def __init__(self, ticks: StrategyTicks, reader: GroupReader, expected: int) -> None:
        super().__init__(ticks, reader)
        self._expected = expected
        self.began = Moment(0.0, 0.0)

    async def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Others than the expected ones are let go of again soon."""
        if len(partitions) == self._expected:
            await super().on_assigned(partitions)
            await told_to_go()
            self.began = Moment.now()


class Counting:
    """The handler, and when it had seen everything."""

    def __init__(self, ticks: StrategyTicks, frames: int) -> None:
        self._ticks = ticks
        self._frames = frames
        self.done = asyncio.Event()
        self.ended = Moment(0.0, 0.0)

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Passes the batch on."""
        await self._ticks.handle(batch)
        if self._ticks.counts().frames >= self._frames:
            self.ended = Moment.now()
            self.done.set()


def change_of(config: StrategyConfig) -> Change:
    """Creates a strategy."""
    stored = StoredStrategy(config, "", "bench", NOW)
    event = changed_event(stored, event_id=NO_ID, correlation_id=NO_ID, causation_id=NO_ID)
    return Change(stored, event)


async def stage(wanted: argparse.Namespace) -> Drained:
    """The strategy stage as `serve strategy` builds it, but for the store, which is in memory."""
    store = MemoryStrategyStore()
    remembered = states(wanted.feed)
    await store.seed([change_of(config) for partition in remembered for config in configs(partition)])
    for partition, state in remembered.items():
        owner = await store.take(partition)
        for config in configs(partition):
            activation = Activation(config.strategy_id, 1, partition, 0)
            await store.activate(owner, activation, Memory(1, state.get(config.strategy_id, b"")))
    log = KafkaEventLog(KafkaOptions(bootstrap_servers=wanted.kafka, group_prefix=wanted.group), [])
    await log.start()
    calendar, router, instruments = load_nse_calendar(), ExecutionRouter(("paper",)), directory()
    export = SpanExport(Collector(wanted.telemetry, 5.0, {}, "")) if wanted.telemetry else None
    traced = TelemetrySettings()
    tracer = Tracer(
        *("strategy", export.take if export else None, "kafka"),
        market_data_ratio=traced.market_data_ratio,
        query_ratio=traced.query_ratio,
    )
    ticks = StrategyTicks(
        *(store, log, TOPIC_MAP, lambda: StrategyHost(instruments, calendar, router)),
        *(5.0, lambda: datetime.now(UTC), time.monotonic, structlog.get_logger()),
        spans=(lambda bars: DecisionSpans(tracer, tracer, TOPIC_MAP, bars)) if export else None,
    )
    reader = log.group_reader("strategy", ticks.topics, Start.EARLIEST)
    assignment = Waiting(ticks, reader, wanted.partitions)
    handler = Counting(ticks, wanted.frames)
    consumer = ReliableConsumer(
        name="strategy",
        service="strategy",
        log=log,
        reader=reader,
        topic_map=TOPIC_MAP,
        handler=_told_of(handler, tracer) if export else handler,
        dead_letters=DeadLetters(log),
        policy=ConsumerOptions(),
        assignment=assignment,
    )
    await consumer.start()
    await handler.done.wait()
    counts = ticks.counts()
    await consumer.stop()
    await log.stop()
    if export is not None:
        await export.stop()
    return _drained(counts.ticks, assignment.began, handler.ended, sum(counts.signals.values()))


def _told_of(handler: Handler, tracer: Tracer) -> Handler:
    traced = TracedHandler(handler, tracer, "strategy", TOPIC_MAP)
    return TimedHandler(traced, "strategy", MonitoringSettings().slow_handler_seconds)


async def bare(wanted: argparse.Namespace) -> Drained:
    """getmany, and nothing done with what it gives."""
    consumer = AIOKafkaConsumer(
        "bare.ticks",
        bootstrap_servers=wanted.kafka,
        group_id=wanted.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    await told_to_go()
    began = Moment.now()
    ticks = 0
    while ticks < wanted.frames:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                ticks += len(record.value) == TICK_BYTES
    ended = Moment.now()
    await consumer.stop()
    return _drained(ticks, began, ended, 0)


def _drained(ticks: int, began: Moment, ended: Moment, signals: int) -> Drained:
    return Drained(ticks, ended.seconds - began.seconds, signals, ended.cpu - began.cpu)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("stage", "bare"))
    parser.add_argument("kafka")
    parser.add_argument("group")
    parser.add_argument("feed", choices=("quiet", FLIPS))
    parser.add_argument("partitions", type=int)
    parser.add_argument("frames", type=int, help="records to drain")
    parser.add_argument(
        "--telemetry",
        default="",
        help="logs, timed handlers and traces as in `serve`; the collector's address",
    )
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="alphapanda-bench-") as folder:
        if asked.telemetry:
            configure_logging(LoggingOptions(), None, Path(folder))
        else:
            logging.disable()
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        print(json.dumps(asyncio.run(stage(asked) if asked.side == "stage" else bare(asked))), flush=True)
