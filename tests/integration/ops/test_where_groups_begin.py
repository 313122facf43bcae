"""Where the consumers that the composition root builds begin, on a log that was there before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from typing_extensions import override

from alphapanda.app.groups import GROUPS
from alphapanda.contract.topics import TopicSpec
from alphapanda.eventlog.port import Record
from alphapanda.eventlog.sqlite.log import SqliteEventLog

UNREADABLE = b"\xff"


def unreadable(topics: Sequence[str]) -> list[Record]:
    """A record on each topic that whoever meets it has to count, as nobody can read it."""
    return [Record(topic, 0, b"k", UNREADABLE) for topic in topics]


class Older(SqliteEventLog):
    """A log in memory that has a record on each topic before anybody reads."""

    def __init__(self) -> None:
        super().__init__(":memory:")

    @override
    async def ensure(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        differences = await super().ensure(topics)
        await self.publish(unreadable([spec.name for spec in topics if not spec.name.endswith(".dlq")]))
        return differences


async def test_new_groups_begin_at_the_first_record_where_money_moves_and_at_the_last_on_frames(
    mesh_on, eventually
) -> None:
    """What was there before is met on money and control topics and not among frames; what comes later everywhere."""
    async with mesh_on(Older()) as mesh:
        topic_map = mesh.resources.topic_map
        consumers = {consumer.name: consumer for room in mesh.rooms for consumer in room.consumers}
        assert set(consumers) == set(GROUPS)
        followers = [follower for room in mesh.rooms for follower in room.followers]
        read = {consumer: topic_map.topics(*GROUPS[group]) for group, consumer in consumers.items()} | {
            follower: follower._topics for follower in followers
        }
        assert {topic_map.policy(topic).name for topics in read.values() for topic in topics} >= {
            "market.ticks",
            "control.strategies",
            "{broker}.orders.filled",
        }
        early = {
            one for one, topics in read.items() if any(topic_map.policy(topic).money for topic in topics)
        }
        assert early

        def met(reader) -> Counter[str]:
            return Counter({one.broker: max(one.dead_lettered, one.failed) for one in reader.status()})

        def has_met(readers, times: int) -> bool:
            """Whether each of these has met so many records on each of its topics."""
            return all(
                met(one)
                == Counter({b: times * n for b, n in Counter(map(topic_map.broker, read[one])).items()})
                for one in readers
            )

        await mesh.come_to_rest()
        await eventually(lambda: has_met(early, 1))
        late = read.keys() - early
        assert {topic for one in late for topic in read[one]} == {topic_map.topic("tick_frame")}
        assert has_met(late, 0)

        await mesh.resources.log.publish(unreadable(topic_map.sources()))
        await mesh.come_to_rest()
        await eventually(lambda: has_met(early, 2) and has_met(late, 1))
