"""Creates aiokafka's clients with this log's settings, and maps their errors to the port's."""

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
    """Creates clients; none is started.

    Args:
        options: connection and client options.
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
        """Address, protocol and user of the connection, for messages."""
        options = self._options
        whom = f" as {options.sasl_username!r}" if options.authenticated else ""
        how = "" if options.security_protocol == "PLAINTEXT" else f" by {options.security_protocol}{whom}"
        return f"{options.bootstrap_servers}{how}"

    def group_id(self, group: str) -> str:
        """Returns the id of a group in Kafka, with the prefix."""
        return f"{self._options.group_prefix}.{group}"

    def producer(self, *, bulk: bool) -> AIOKafkaProducer:
        """Creates an idempotent producer: records are durable on every in-sync replica, in order, and never duplicated.

        Args:
            bulk: compress records and wait to fill batches (linger).
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
        """Creates a consumer without automatic commits, with or without a group.

        Where retention deleted the record at its position, it goes on with the first record kept. The poll interval is not
        limited: a handler may wait for PostgreSQL for hours.
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
        """Creates a client that manages topics and groups."""
        return AIOKafkaAdminClient(**self._common)

    @property
    def rebalance_seconds(self) -> float:
        """Time that members have to release their partitions in a rebalance."""
        return 2 * self._options.session_timeout_seconds


@contextmanager
def as_unavailable(doing: str) -> Iterator[None]:
    """Maps errors of Kafka and the network to LogUnavailable.

    Args:
        doing: what was tried, for the message "Kafka didn't let {doing}".
    """
    try:
        yield
    except (KafkaError, ConsumerStoppedError, OSError) as error:  # TimeoutError is an OSError
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise LogUnavailable(f"Kafka didn't let {doing}: {reason}") from error


def learn_topics(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> None:
    """Makes a consumer fetch the metadata of all these topics with its next request.

    Otherwise aiokafka asks for one unknown topic, waits for its retry back-off (0.1 s), and asks for the next.
    """
    for topic in topics:
        consumer._client.add_topic(topic)  # noqa: SLF001


async def end_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stops a consumer and closes its connections, even while Kafka can't be reached."""
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait([stopping])
    finally:
        stopping.cancel()
    if not stopping.cancelled():
        stopping.result()
        return
    # The fetcher was between two attempts: aiokafka cancels them, fails at that, and leaves its connections open.
    attempts = tuple(consumer._fetcher._pending_tasks)  # noqa: SLF001
    for attempt in attempts:
        attempt.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
    await consumer._client.close()  # noqa: SLF001


def kafka_partitions(partitions: Iterable[TopicPartition]) -> list[KafkaPartition]:
    """Converts partitions to aiokafka's type."""
    return [KafkaPartition(at.topic, at.partition) for at in partitions]


def ours(offsets: Mapping[KafkaPartition, int]) -> dict[TopicPartition, int]:
    """Converts offsets by aiokafka's partitions to offsets by the port's."""
    return {TopicPartition(at.topic, at.partition): offset for at, offset in offsets.items()}


def stored(record: ConsumerRecord) -> StoredRecord:
    """Converts a Kafka record to the port's type."""
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
