"""Topics, keys and partitions, read from the contract's options (rule 10). No other module spells a topic's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from string import Formatter
from typing import NamedTuple
from zlib import crc32

from google.protobuf.message import Message

from alphapanda.domain.brokers import checked_broker
from panda.events.v1.events_pb2 import Event
from panda.options.v1 import options_pb2 as options

BROKER = "{broker}"
DEAD_LETTER_SUFFIX = ".dlq"


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """The specification of a topic. Partitions never change once created; retention is in hours, None: forever."""

    name: str
    partitions: int
    retention_hours: int | None
    compacted: bool


@dataclass(frozen=True, slots=True)
class PayloadPolicy:
    """The contract's options of one payload of the envelope."""

    payload: str
    name: str
    key: str
    retention: options.Retention.ValueType
    partitions: int
    partitioning: options.Partitioning.ValueType
    money: bool

    @property
    def per_broker(self) -> bool:
        """Whether each active broker has a topic of its own."""
        return self.name.startswith(BROKER)

    def topic(self, broker: str) -> str:
        """Returns the topic's name for a broker; for shared topics the broker is empty."""
        return self.name.replace(BROKER, broker) if self.per_broker else self.name


@lru_cache(maxsize=1)
def payload_policies() -> Mapping[str, PayloadPolicy]:
    """Reads the options of every payload, by the payload's field name."""
    policies = {}
    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields:
        policy = field.GetOptions().Extensions[options.topic]
        policies[field.name] = PayloadPolicy(
            payload=field.name,
            name=policy.name,
            key=policy.key,
            retention=policy.retention,
            partitions=policy.partitions,
            partitioning=policy.partitioning,
            money=policy.money,
        )
    return policies


@dataclass(frozen=True, slots=True)
class Route:
    """Topic, partition and key of an event."""

    topic: str
    partition: int
    key: bytes


class TopicMap:
    """The topics of a deployment.

    Args:
        active_brokers: names of the active brokers, in order.
        live_brokers: those of them whose orders reach a real exchange.
        retention_hours: retention in hours, by retention class; without the compacted class.
    """

    def __init__(
        self,
        active_brokers: Sequence[str],
        live_brokers: Iterable[str] = (),
        retention_hours: Mapping[options.Retention.ValueType, int] | None = None,
    ) -> None:
        self.active_brokers = tuple(checked_broker(name, "active_brokers") for name in active_brokers)
        self._live = frozenset(live_brokers)
        self._retention = retention_hours or {
            options.RETENTION_SHORT: 12,
            options.RETENTION_MEDIUM: 7 * 24,
            options.RETENTION_LONG: 400 * 24,
        }
        self._policies = payload_policies()
        self._origin: dict[str, tuple[PayloadPolicy, str]] = {}
        for policy in self._policies.values():
            for broker in self.active_brokers if policy.per_broker else ("",):
                self._origin[policy.topic(broker)] = (policy, broker)

    def topic(self, payload: str, broker: str = "") -> str:
        """Returns the topic of a payload (by field name) for a broker."""
        return self._policies[payload].topic(broker)

    def topics(self, *payloads: str) -> tuple[str, ...]:
        """Returns the topics of these payloads; of a payload per broker, those of every active broker."""
        return tuple(name for name, (policy, _) in self._origin.items() if policy.payload in payloads)

    def sources(self) -> tuple[str, ...]:
        """Returns every topic except the dead-letter topics."""
        return tuple(self._origin)

    def policy(self, topic: str) -> PayloadPolicy:
        """Returns the contract's options of a topic (not of a dead-letter topic)."""
        return self._origin[topic][0]

    def broker(self, topic: str) -> str:
        """Returns the broker of a topic; empty for shared topics."""
        return self._origin[topic][1]

    def partitions(self, topic: str) -> tuple[TopicPartition, ...]:
        """Returns the partitions of a topic."""
        return tuple(TopicPartition(topic, number) for number in range(self.policy(topic).partitions))

    def specs(self) -> tuple[TopicSpec, ...]:
        """Returns every topic of the deployment, with the dead-letter topics."""
        specs = []
        for name, (policy, _) in self._origin.items():
            compacted = policy.retention == options.RETENTION_COMPACTED
            hours = None if compacted else self._retention[policy.retention]
            specs.append(TopicSpec(name, policy.partitions, hours, compacted))
            dead = TopicSpec(
                dead_letter_topic(name),
                policy.partitions,
                self._retention[options.RETENTION_LONG],
                compacted=False,
            )
            specs.append(dead)
        return tuple(specs)

    def route(self, event: Event) -> Route:
        """Returns topic, partition and key of an event."""
        name = event.WhichOneof("payload")
        if name is None:
            raise ValueError("an event without a payload has no topic")
        policy = self._policies[name]
        payload = getattr(event, name)
        key = _key(policy.key, payload)
        return Route(policy.topic(event.broker), self._partition(policy, event.broker, payload, key), key)

    def key(self, event: Event) -> bytes:
        """Returns the key that an event's record has.

        Raises:
            ValueError: the event has no payload.
        """
        name = event.WhichOneof("payload")
        if name is None:
            raise ValueError("an event without a payload has no key")
        return _key(self._policies[name].key, getattr(event, name))

    def _partition(self, policy: PayloadPolicy, broker: str, payload: Message, key: bytes) -> int:
        match policy.partitioning:
            case options.PARTITIONING_SHARD:
                return int(payload.shard) % policy.partitions  # type: ignore[attr-defined]
            case options.PARTITIONING_ACCOUNT_SLOT if broker in self._live:
                return crc32(payload.account.encode()) % policy.partitions  # type: ignore[attr-defined]
            case _:
                return crc32(key) % policy.partitions


def dead_letter_topic(topic: str) -> str:
    """Returns the dead-letter topic of a topic."""
    return topic + DEAD_LETTER_SUFFIX


def shard_of(instrument_token: int) -> int:
    """Returns the shard of an instrument, and so its partition of the tick topic."""
    return instrument_token * 2654435761 % 2**32 % payload_policies()["tick_frame"].partitions


@lru_cache(maxsize=64)
def _fields(template: str) -> tuple[tuple[str, attrgetter[object] | None], ...]:
    return tuple(
        (text, attrgetter(field) if field else None) for text, field, _, _ in Formatter().parse(template)
    )


def _key(template: str, payload: Message) -> bytes:
    return "".join(text + (str(get(payload)) if get else "") for text, get in _fields(template)).encode()
