"""Kafka's clients as this log wants them, and their failures in the port's words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ssl import create_default_context
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import ConsumerRecord

from alphapanda.contract.topics import TopicPartition
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import LogUnavailable, StoredRecord

_BATCH_BYTES = 256 * 1024
_RETRY_MS = 100
_HEARTBEATS_PER_SESSION = 10
_FOR_EVER_MS = 2**31 - 1


class KafkaClients:
    """Makes clients, none of them started.

    Args:
        options: how Kafka is reached.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._common: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in options.bootstrap_servers.split(",")],
            "client_id": options.client_id,
            "request_timeout_ms": _milliseconds(options.request_timeout_seconds),
            "retry_backoff_ms": _RETRY_MS,
            "security_protocol": options.security_protocol,
        }
        if options.encrypted:
            self._common["ssl_context"] = create_default_context(cafile=options.ca_file)
        if options.authenticated:
            self._common |= {
                "sasl_mechanism": options.sasl_mechanism,
                "sasl_plain_username": options.sasl_username,
                "sasl_plain_password": options.sasl_password,
            }

    @property
    def where(self) -> str:
        """Where Kafka is and as whom it is spoken to, for messages."""
        options = self._options
        whom = f" as {options.sasl_username!r}" if options.authenticated else ""
        how = "" if options.security_protocol == "PLAINTEXT" else f" by {options.security_protocol}{whom}"
        return f"{options.bootstrap_servers}{how}"

    def group_id(self, group: str) -> str:
        """What a group is called in Kafka."""
        return f"{self._options.group_prefix}.{group}"

    def producer(self, *, bulk: bool) -> AIOKafkaProducer:
        """A producer whose records are durable on every copy in sync, in order and once whatever it has to retry.

        Args:
            bulk: compress, and wait a little for company.
        """
        compression = self._options.compression
        return AIOKafkaProducer(
            **self._common,
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            compression_type=compression if bulk and compression != "none" else None,
            linger_ms=self._options.linger_ms if bulk else 0,
        )

    def consumer(self, group: str | None = None) -> AIOKafkaConsumer:
        """A consumer that commits nothing by itself, a member of a group or none.

        Out of range means that retention took the place away: it goes on with the first record kept. That it goes on
        asking is not watched (no poll interval): whoever reads may wait for PostgreSQL for hours.
        """
        session = _milliseconds(self._options.session_timeout_seconds)
        return AIOKafkaConsumer(
            **self._common,
            group_id=None if group is None else self.group_id(group),
            group_instance_id=self._options.instance_id or None if group is not None else None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=session,
            heartbeat_interval_ms=session // _HEARTBEATS_PER_SESSION,
            rebalance_timeout_ms=_milliseconds(self.rebalance_seconds),
            max_poll_interval_ms=_FOR_EVER_MS,
        )

    def admin(self) -> AIOKafkaAdminClient:
        """A client for topics and groups."""
        return AIOKafkaAdminClient(**self._common)

    @property
    def rebalance_seconds(self) -> float:
        """How long members have for letting go of their partitions."""
        return 2 * self._options.session_timeout_seconds


@contextmanager
def as_unavailable(doing: str) -> Iterator[None]:
    """Turns what Kafka and the network raise into LogUnavailable.

    Args:
        doing: what was tried, for the message.
    """
    try:
        yield
    except (KafkaError, ConsumerStoppedError, OSError) as error:  # TimeoutError is an OSError
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise LogUnavailable(f"Kafka didn't let {doing}: {reason}") from error


def learn_topics(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> None:
    """Has a consumer ask for the leaders of all these topics with its next request, which it otherwise does one by one.

    Left alone it asks for the first topic it doesn't know, waits for its retry back-off and tries again: 0.1 s a topic.
    """
    for topic in topics:
        consumer._client.add_topic(topic)  # noqa: SLF001


async def end_consumer(consumer: AIOKafkaConsumer) -> None:
    """Ends a consumer and closes its connections, also while Kafka is away."""
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait([stopping])
    finally:
        stopping.cancel()
    if not stopping.cancelled():
        stopping.result()
        return
    # Its fetcher was between two attempts, which aiokafka cancels, and fails at that itself before it has closed the rest.
    attempts = tuple(consumer._fetcher._pending_tasks)  # noqa: SLF001
    for attempt in attempts:
        attempt.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
    await consumer._client.close()  # noqa: SLF001


def kafka_partitions(partitions: Iterable[TopicPartition]) -> list[KafkaPartition]:
    """Partitions as aiokafka insists on them."""
    return [KafkaPartition(at.topic, at.partition) for at in partitions]


def ours(offsets: Mapping[KafkaPartition, int]) -> dict[TopicPartition, int]:
    """Offsets by partitions of the port."""
    return {TopicPartition(at.topic, at.partition): offset for at, offset in offsets.items()}


def stored(record: ConsumerRecord) -> StoredRecord:
    """A record as the port has it."""
    return StoredRecord(
        record.topic,
        record.partition,
        record.offset,
        record.key or b"",
        record.value or b"",
        tuple((name, bytes(value or b"")) for name, value in record.headers),
        record.timestamp * 1_000_000,
    )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
