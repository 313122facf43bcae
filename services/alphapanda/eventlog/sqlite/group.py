"""A consumer group within one process: who holds which partitions, and how they change hands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from alphapanda.contract.topics import TopicPartition


class Member(Protocol):
    """A group member as the group sees it."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics it wants."""

    def assigned(self) -> frozenset[TopicPartition]:
        """Partitions it holds."""

    async def revoke(self, partitions: Sequence[TopicPartition]) -> None:
        """Lets go of partitions; returns once nothing of them is in hand."""

    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Takes partitions."""


class Group:
    """The members of a group. Only partitions that change hands are touched, and nobody holds one that another has.

    Args:
        partitions: number of partitions by topic.
    """

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._members: list[Member] = []
        self._turn = asyncio.Lock()

    async def join(self, member: Member) -> None:
        """Gives the member its share; the others let go of it first."""
        async with self._turn:
            self._members.append(member)
            try:
                await self._rebalance()
            except BaseException:
                self._members.remove(member)
                raise

    async def leave(self, member: Member) -> None:
        """Takes the member's partitions and gives them to the others; does nothing where it isn't a member."""
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
    """What each member gets: of each topic equal runs of partitions, in the members' order.

    Args:
        topics: wanted topics, by member.
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
