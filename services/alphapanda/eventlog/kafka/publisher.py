"""Publishes to Kafka: durably, in order per partition, without duplicates from its own retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed
from aiokafka.structs import RecordMetadata

from alphapanda.eventlog.kafka.client import as_unavailable
from alphapanda.eventlog.port import LogUnavailable, Record

_logger = structlog.get_logger(__name__)


class KafkaPublisher:
    """Publishes through one idempotent producer; replaces it after a failure that it can't recover from.

    While Kafka can't be reached the producer keeps its records and sends them, in order, when Kafka is back. A publish
    that waits longer than `timeout` fails. When the same record is published again while the first copy is still
    pending, the call waits for that copy and adds no second one.

    Args:
        make: creates a producer.
        timeout: seconds a publish waits.
        wall_clock_ns: wall time in nanoseconds, the records' time stamps.
    """

    def __init__(
        self, make: Callable[[], AIOKafkaProducer], timeout: float, wall_clock_ns: Callable[[], int]
    ) -> None:
        self._make = make
        self._timeout = timeout
        self._wall_clock_ns = wall_clock_ns
        self._producer: AIOKafkaProducer | None = None
        self._under_way: dict[Record, asyncio.Future[RecordMetadata]] = {}
        self._turn = asyncio.Lock()
        self._open = False

    async def start(self) -> None:
        """Connects.

        Raises:
            LogUnavailable: Kafka is away.
        """
        self._open = True
        await self._running()

    async def stop(self) -> None:
        """Sends pending records, for as long as a publish may take; then drops them."""
        self._open = False
        async with self._turn:
            producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait([asyncio.create_task(producer.flush())], timeout=self._timeout)
            finally:  # also when it is cancelled
                await _close(producer)

    async def publish(self, records: Sequence[Record]) -> list[int]:
        """Appends the records; returns their offsets once all are durable. Their topics and partitions must exist.

        Raises:
            LogUnavailable: not all were acknowledged in time; they may be yet. Repeat the same publish.
            ValueError: a record is larger than Kafka takes.
        """
        producer = await self._running()
        sent: list[asyncio.Future[RecordMetadata]] = []
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            with as_unavailable("records be published"):
                async with asyncio.timeout_at(deadline):
                    for record in records:
                        # One by one: a record that was sent is remembered even where the next one fails.
                        sent.append(  # noqa: PERF401
                            self._under_way.get(record) or await self._send(producer, record)
                        )
                    await asyncio.wait(sent)
            return [future.result().offset for future in sent]
        except MessageSizeTooLargeError as error:
            await self._give_up(producer, error)
            raise ValueError(f"value: larger than Kafka takes: {error}") from error
        except KafkaError as error:
            await self._give_up(producer, error)
            raise LogUnavailable(f"Kafka refused records: {type(error).__name__}: {error}") from error
        finally:
            self._remember(records, sent)

    async def _send(self, producer: AIOKafkaProducer, record: Record) -> asyncio.Future[RecordMetadata]:
        try:
            future: asyncio.Future[RecordMetadata] = await producer.send(
                record.topic,
                record.value,
                record.key,
                partition=record.partition,
                timestamp_ms=self._wall_clock_ns() // 1_000_000,
                headers=list(record.headers),
            )
        except MessageSizeTooLargeError as error:
            raise ValueError(f"value: {len(record.value)} bytes for {record.topic!r}: {error}") from error
        except KafkaError as error:
            await self._give_up(producer, error)
            raise
        return future

    def _remember(self, records: Sequence[Record], sent: Sequence[asyncio.Future[RecordMetadata]]) -> None:
        for record, future in zip(records, sent, strict=False):
            if future.done():
                if not future.cancelled():
                    future.exception()  # reported already, by the first of them
            elif self._under_way.setdefault(record, future) is future:
                future.add_done_callback(partial(self._forget, record))

    def _forget(self, record: Record, future: asyncio.Future[RecordMetadata]) -> None:
        if self._under_way.get(record) is future:
            del self._under_way[record]
        if not future.cancelled():
            future.exception()  # its publish has failed already, with a timeout

    async def _running(self) -> AIOKafkaProducer:
        async with self._turn:
            if not self._open:
                raise LogUnavailable("the log is not open")
            if self._producer is None:
                producer = self._make()
                started = False
                try:
                    with as_unavailable("a producer connect"):
                        async with asyncio.timeout(self._timeout):
                            await producer.start()
                    started = True
                finally:
                    if not started:
                        await _close(producer)
                self._producer = producer
            return self._producer

    async def _give_up(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        # A batch that failed for good leaves a gap in the producer's sequence numbers: Kafka refuses every later batch.
        async with self._turn:
            if self._producer is not producer:
                return
            self._producer = None
            _logger.warning("kafka.producer_replaced", error=f"{type(error).__name__}: {error}")
            await _close(producer)


async def _close(producer: AIOKafkaProducer) -> None:
    # aiokafka's stop() waits forever for undeliverable batches: close its sender first, then fail what is left.
    await producer._sender.close()  # noqa: SLF001
    kept = producer._message_accumulator  # noqa: SLF001
    batches = {*kept._pending_batches, *chain.from_iterable(kept._batches.values())}  # noqa: SLF001
    kept._pending_batches.update(batches)  # noqa: SLF001 - callbacks look there; a batch to be retried isn't in it
    kept.fail_all(ProducerClosed())
    for batch in batches:
        batch._drain_waiter.exception()  # noqa: SLF001 - no caller waits for buffer space any more
    await producer.stop()
