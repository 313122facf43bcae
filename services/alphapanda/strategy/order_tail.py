"""Reads order events for strategies that read their position: new ones, or a strategy's whole history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from alphapanda.consuming.dead_letters import is_command
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.eventlog.decode import Unreadable, from_record
from alphapanda.eventlog.port import EventLog, StoredRecord
from alphapanda.strategy.core.config import StrategyConfig
from panda.events.v1.events_pb2 import Event

PAYLOADS: Final = ("order_submitted", "order_filled", "order_failed", "order_cancelled")
"""Payloads, in the order in which events found together are applied: an order's fills before its end."""

_FETCH: Final = 500
_WAIT_SECONDS: Final = 1.0


class OrderTail:
    """Follows the order topics of every broker, for one partition of the ticks.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        starts: first offset of each partition; a missing one begins with its first record.
    """

    def __init__(self, log: EventLog, topic_map: TopicMap, starts: Mapping[TopicPartition, int]) -> None:
        self._topic_map = topic_map
        topics = topic_map.topics(*PAYLOADS)
        self._partitions = [at for topic in topics for at in topic_map.partitions(topic)]
        self._reader = log.topic_reader(topics, {at: starts.get(at, 0) for at in self._partitions})
        self._found: list[StoredRecord] = []
        self._strategies: Sequence[StrategyConfig] = ()
        self._keys: frozenset[bytes] = frozenset()

    async def start(self) -> None:
        """Opens the reader."""
        await self._reader.start()

    async def stop(self) -> None:
        """Closes the reader."""
        await self._reader.stop()

    def positions(self) -> dict[TopicPartition, int]:
        """The offset of the next record of each partition."""
        return {at: self._reader.position(at) for at in self._partitions}

    async def new_events(self, strategies: Sequence[StrategyConfig]) -> list[Event]:
        """The new order events of these strategies, without waiting; returns them again until `recorded` is called.

        Raises:
            LogUnavailable: the log can't be read now; no event is lost.
        """
        if strategies is not self._strategies:
            self._strategies = strategies
            self._keys = frozenset(key for each in strategies for at, key in _places(self._topic_map, each))
        while records := await self._reader.fetch(_FETCH, 0.0):
            self._found += [record for record in records if record.key in self._keys]
        return _events(self._found, self._topic_map)

    @property
    def has_unrecorded(self) -> bool:
        """Whether `new_events` has found events that aren't `recorded` yet."""
        return bool(self._found)

    def recorded(self) -> None:
        """Marks the events that `new_events` returned last as stored."""
        self._found.clear()


async def history(
    log: EventLog, topic_map: TopicMap, strategy: StrategyConfig, ends: Mapping[TopicPartition, int]
) -> list[Event]:
    """All order events of a strategy on its instruments before these offsets.

    Raises:
        LogUnavailable: the log can't be read now.
    """
    places = list(_places(topic_map, strategy))
    keys = frozenset(key for _, key in places)
    wanted = {at for at, _ in places if ends.get(at)}
    reader = log.topic_reader(
        topic_map.topics(*PAYLOADS), {at: 0 if at in wanted else end for at, end in ends.items()}
    )
    await reader.start()
    found: list[StoredRecord] = []
    try:
        while any(reader.position(at) < ends[at] for at in wanted):
            found += [
                record
                for record in await reader.fetch(_FETCH, _WAIT_SECONDS)
                if record.key in keys and record.offset < ends.get(record.topic_partition, 0)
            ]
    finally:
        await reader.stop()
    return _events(found, topic_map)


def _places(topic_map: TopicMap, strategy: StrategyConfig) -> Iterable[tuple[TopicPartition, bytes]]:
    """The partitions and keys of a strategy's order events."""
    for instrument in strategy.instruments:
        for broker in topic_map.active_brokers:
            for payload in PAYLOADS:
                event = Event(broker=broker)
                order = getattr(event, payload).order
                order.strategy_id = strategy.strategy_id
                order.account = strategy.account
                order.instrument_token = instrument.instrument_token
                route = topic_map.route(event)
                yield TopicPartition(route.topic, route.partition), route.key


def _events(found: Iterable[StoredRecord], topic_map: TopicMap) -> list[Event]:
    def place(record: StoredRecord) -> tuple[int, str, int, int]:
        payload = topic_map.policy(record.topic).payload
        return PAYLOADS.index(payload), record.topic, record.partition, record.offset

    events = []
    for record in sorted(found, key=place):
        if is_command(record):
            continue
        try:
            events.append(from_record(record, topic_map))
        except Unreadable:
            continue  # its consumer has dead-lettered it
    return events
