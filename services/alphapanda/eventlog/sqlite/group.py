"""A consumer group within one process: assigns partitions to members and rebalances."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from alphapanda.contract.topics import TopicPartition


class Member(Protocol):
    """A member of a group."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics it subscribes to."""

    def assigned(self) -> frozenset[TopicPartition]:
        """Returns the partitions it holds."""

    async def revoke(self, partitions: Sequence[TopicPartition]) -> None:
        """Releases partitions; returns once none of their records is being handled."""

    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Accepts partitions: from the group's offset, else from where new groups begin.

        A group that begins at the end commits that offset: otherwise records published while it is away would be skipped.
        """


class Group:
    """The members of a group. A rebalance touches only partitions that move, and two members never hold the same one.

    Args:
        partitions: number of partitions by topic.
    """

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._members: list[Member] = []
        self._turn = asyncio.Lock()

    async def join(self, member: Member) -> None:
        """Assigns the new member its share, after the others have released it."""
        async with self._turn:
            self._members.append(member)
            try:
                await self._rebalance()
            except BaseException:
                self._members.remove(member)
                raise

    async def leave(self, member: Member) -> None:
        """Moves the member's partitions to the others; does nothing where it isn't a member."""
        async with self._turn:
            if member not in self._members:
                return
            self._members.remove(member)
            await member.revoke(sorted(member.assigned()))
            await self._rebalance()

    async def _rebalance(self) -> None:
        wanted = shares([member.topics for member in self._members], self._partitions)
        changes = [
            (member, member.assigned(), share) for member, share in zip(self._members, wanted, strict=True)
        ]
        for member, held, share in changes:
            if held - share:
                await member.revoke(sorted(held - share))
        for member, held, share in changes:
            if share - held:
                await member.assign(sorted(share - held))


def shares(topics: Sequence[Iterable[str]], partitions: Mapping[str, int]) -> list[frozenset[TopicPartition]]:
    """Computes each member's partitions: of each topic equal ranges, in the members' order.

    Args:
        topics: subscribed topics, by member.
        partitions: number of partitions by topic.
    """
    wanted = [frozenset(names) for names in topics]
    given: list[set[TopicPartition]] = [set() for _ in wanted]
    for topic in sorted(frozenset().union(*wanted)):
        takers = [number for number, names in enumerate(wanted) if topic in names]
        for partition in range(partitions[topic]):
            taker = takers[partition * len(takers) // partitions[topic]]
            given[taker].add(TopicPartition(topic, partition))
    return [frozenset(share) for share in given]
