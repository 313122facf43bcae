"""Records that nobody can read, one behind every good one, on every topic that a group reads."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster import BROKERS, GROUPS, Cluster, Malformed
from evidence import Evidence
from in_order import check_order
from running import until
from scenarios import Survived, more_orders, surviving, trade_all

from alphapanda.consuming.dead_letters import LetterId
from alphapanda.contract.topics import TopicMap, dead_letter_topic
from alphapanda.eventlog.decode import Reason
from alphapanda.eventlog.port import Headers, Record, Start, StoredRecord
from alphapanda.strategy import consumer as strategy
from panda.events.v1.events_pb2 import Event

READERS = {**GROUPS, strategy.GROUP: ("tick_frame",)}
AT_ONCE = 500
LONGEST_SECONDS = 7_200.0
SET_ASIDE_SECONDS = 120.0


@dataclass(frozen=True)
class Spoilt:
    """What became of a good record."""

    value: bytes
    reason: Reason
    headers: Headers | None = None
    """Those of the good one where None."""
    key: bytes | None = None
    """That of the good one where None."""


def malformed_records(cluster: Cluster, count: int, seed: int) -> Survived:
    """So many malformed records come among the good ones; each is set aside once a group, each good one handled in order."""
    what = f"{count} malformed records, one behind every good one, seed {seed}"
    with surviving(cluster, what) as survived:
        processes = {name: member.process for name, member in cluster.members.items()}
        trade_all(cluster, "r4")
        cluster.run(spoil(cluster, count, random.Random(seed)), LONGEST_SECONDS)
        more_orders(cluster, 2)
        expected = sum(len(groups_of(topic)) for topic, _, _ in cluster.malformed)
        until(lambda: letters(cluster) >= expected, SET_ASIDE_SECONDS, f"{expected} dead letters")
        assert {name: member.process for name, member in cluster.members.items()} == processes
        assert all(process.poll() is None for process in processes.values())
        survived.faults = count
    evidence = cluster.evidence()
    check_letters(cluster, evidence)
    check_order(evidence)
    return survived


def groups_of(topic: str) -> list[str]:
    """The groups that read a topic."""
    return [group for group, payloads in READERS.items() if topic in TopicMap(BROKERS).topics(*payloads)]


def letters(cluster: Cluster) -> int:
    """How many dead letters there are."""
    topics = [dead_letter_topic(topic) for topic in TopicMap(BROKERS).sources() if groups_of(topic)]
    return sum(cluster.run(cluster.log.end_offsets(topics)).values())


# -- spoiling ---------------------------------------------------------------------------------------------------------


async def spoil(cluster: Cluster, count: int, chance: random.Random) -> None:
    """Follows all topics that a group reads, and puts a malformed record behind every good one, until there are enough."""
    reader = cluster.log.topic_reader([t for t in TopicMap(BROKERS).sources() if groups_of(t)], Start.LATEST)
    await reader.start()
    left = count
    try:
        while left:
            good = [
                record
                for record in await reader.fetch(AT_ONCE, 1.0)
                if (record.topic, record.partition, record.offset) not in cluster.malformed
            ]
            spoilt = [_spoilt(record, chance) for record in good[:left]]
            offsets = await cluster.log.publish([each.record for each in spoilt])
            for each, offset in zip(spoilt, offsets, strict=True):
                cluster.malformed[each.record.topic, each.record.partition, offset] = each
            left -= len(spoilt)
    finally:
        await reader.stop()


def _spoilt(good: StoredRecord, chance: random.Random) -> Malformed:
    event = Event.FromString(good.value)
    ways = WAYS_WITH_MONEY if TopicMap(BROKERS).policy(good.topic).money else WAYS
    made = chance.choice(ways)(good, event, chance)
    headers = good.headers if made.headers is None else made.headers
    key = good.key if made.key is None else made.key
    return Malformed(Record(good.topic, good.partition, key, made.value, headers), made.reason)


def _noise(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    return Spoilt(b"\x0f" + chance.randbytes(chance.randrange(200)), Reason.UNDECODABLE)  # no such wire type


def _json(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    return Spoilt(b'{"event_id": "1"}', Reason.UNDECODABLE, ())


def _torn(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    return Spoilt(good.value[:-1], Reason.UNDECODABLE)


def _empty(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    return Spoilt(b"", Reason.INVALID)


def _without_id(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    event.event_id = ""
    return Spoilt(event.SerializeToString(), Reason.INVALID)


def _of_another_topic(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    event.portfolio_snapshot.SetInParent()
    return Spoilt(event.SerializeToString(), Reason.WRONG_TOPIC)


def _of_another_broker(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    event.broker = "zerodha"
    return Spoilt(event.SerializeToString(), Reason.WRONG_BROKER)


def _under_another_key(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    return Spoilt(good.value, Reason.WRONG_KEY, key=b"x" + good.key)


def _of_a_later_type(good: StoredRecord, event: Event, chance: random.Random) -> Spoilt:
    headers = {**dict(good.headers), "ce_type": b"panda.events.v2.Unheard"}
    return Spoilt(b"", Reason.UNKNOWN_TYPE, tuple(headers.items()))


WAYS: Sequence[Callable[[StoredRecord, Event, random.Random], Spoilt]] = (
    _noise,
    _json,
    _torn,
    _empty,
    _without_id,
    _of_another_topic,
    _of_another_broker,
    _under_another_key,
)
WAYS_WITH_MONEY = (*WAYS, _of_a_later_type)  # elsewhere it is a newer writer's, and passed over


# -- what has to be true ----------------------------------------------------------------------------------------------


def check_letters(cluster: Cluster, evidence: Evidence) -> None:
    """Each malformed record is one letter of each group that reads its topic, with reason, place, bytes and headers."""
    found = {letter.letter_id: letter for letter in evidence.letters}
    assert max(Counter(letter.letter_id for letter in evidence.letters).values(), default=1) == 1
    expected = {
        LetterId(group, *place): malformed
        for place, malformed in cluster.malformed.items()
        for group in groups_of(place[0])
    }
    assert found.keys() == expected.keys()
    for letter_id, malformed in expected.items():
        letter, record = found[letter_id], malformed.record
        assert letter.reason is malformed.reason, f"{letter_id}: {letter.reason}, {letter.detail}"
        assert letter.detail
        original = letter.original
        assert (original.key, original.value, original.headers) == (record.key, record.value, record.headers)
        assert letter.at == (dead_letter_topic(record.topic), record.partition)
    offsets: defaultdict[tuple[str, str, int], list[int]] = defaultdict(list)
    for letter in sorted(evidence.letters, key=lambda each: (each.at, each.offset)):
        offsets[letter.letter_id[:3]].append(letter.letter_id.offset)
    assert all(places == sorted(places) for places in offsets.values())
