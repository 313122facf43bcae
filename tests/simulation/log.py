"""The log's port in memory, with what a real one does to its clients: lost answers, evictions, zombies.

A group member that is frozen or cut off for longer than the session loses its partitions to others without being
asked, and goes on with what it had in hand until it hears of it. Appends are atomic per partition, not across them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.simulation.loop import CURRENT, Condition, Process
from tests.simulation.world import World

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.port import Assignment, LogUnavailable, Record, Start, StoredRecord
from alphapanda.eventlog.sqlite.group import shares

SESSION_SECONDS = 10.0
REVOKE_SECONDS = 7.0
_LOOK_SECONDS = 1.0


class LogServer:
    """The log that all processes share.

    Args:
        world: where it stands.
        specs: its topics.
    """

    def __init__(self, world: World, specs: Sequence[TopicSpec]) -> None:
        self.world = world
        self.counts = {spec.name: spec.partitions for spec in specs}
        self.records: dict[TopicPartition, list[StoredRecord]] = {
            TopicPartition(name, number): [] for name, count in self.counts.items() for number in range(count)
        }
        self.offsets: dict[tuple[str, TopicPartition], int] = {}
        self.groups: dict[str, GroupCoordinator] = {}
        self.waiting: dict[TopicPartition, dict[asyncio.Event, None]] = defaultdict(dict)

    def append(self, records: Sequence[Record]) -> list[int]:
        """Appends records; returns their offsets."""
        offsets = []
        now = int(self.world.loop.time() * 1e9)
        for record in records:
            at = TopicPartition(record.topic, record.partition)
            kept = self.records[at]
            kept.append(StoredRecord(*at, len(kept), record.key, record.value, record.headers, now))
            offsets.append(len(kept) - 1)
            for event in self.waiting[at]:
                event.set()
        return offsets

    def group(self, name: str) -> GroupCoordinator:
        """The group of this name."""
        if name not in self.groups:
            self.groups[name] = GroupCoordinator(self, name)
        return self.groups[name]


class SimulatedLog:
    """One process's connection to the log."""

    def __init__(self, server: LogServer) -> None:
        self._server = server
        self._world = server.world

    async def publish(self, records: Sequence[Record]) -> Sequence[int]:
        """As the port says. Of records of several partitions a part may be appended though it fails."""
        world = self._world
        whole = list(records)
        partitions = sorted({(record.topic, record.partition) for record in whole})
        if len(partitions) > 1 and world.happens(world.faults.unanswered):
            some = set(partitions[: 1 + int(world.chance.random() * (len(partitions) - 1))])
            part = [record for record in whole if (record.topic, record.partition) in some]
            await world.request(
                f"publish {len(part)} of {len(whole)}", lambda: self._server.append(part), LogUnavailable
            )
            world.tell(f"publish {len(whole)}", fault=f"torn: {len(part)} appended")
            raise LogUnavailable("a part was not acknowledged")
        return await world.request(
            f"publish {len(whole)}", lambda: self._server.append(whole), LogUnavailable
        )

    def group_reader(self, group: str, topics: Sequence[str], start: Start) -> GroupMember:
        """As the port says; every group here begins at the first record."""
        return GroupMember(self._server, group, topics)

    def topic_reader(self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int]) -> WholeReader:
        """As the port says; from the first record."""
        return WholeReader(self._server, topics)

    async def end_offsets(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        """As the port says."""
        return await self._world.request(
            "end offsets",
            lambda: {at: len(kept) for at, kept in self._server.records.items() if at.topic in topics},
            LogUnavailable,
        )


class _Cursor:
    """Positions, and the waiting for records."""

    def __init__(self, server: LogServer) -> None:
        self.server = server
        self.next: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.changing_hands: set[TopicPartition] = set()
        self.wake = asyncio.Event()

    def take(self, at: TopicPartition, offset: int) -> None:
        self.next[at] = offset
        self.changing_hands.discard(at)
        self.server.waiting[at][self.wake] = None
        self.wake.set()

    def drop(self, at: TopicPartition) -> None:
        self.next.pop(at, None)
        self.paused.discard(at)
        self.changing_hands.discard(at)
        self.server.waiting[at].pop(self.wake, None)

    async def fetch(self, most: int, timeout: float) -> dict[TopicPartition, Sequence[StoredRecord]]:
        world = self.server.world
        deadline = world.loop.time() + timeout
        while True:
            self.wake.clear()
            if any(len(self.server.records[at]) > first for at, first in self._open()):
                found = await world.request("fetch", lambda: self._read(most), LogUnavailable)
                # What was revoked, paused or sought while the answer travelled is left out.
                ready = {}
                for at, records in found.items():
                    if self.next.get(at) == records[0].offset and not self._is_still(at):
                        self.next[at] = records[-1].offset + 1
                        ready[at] = records
                if ready:
                    return ready
                continue
            try:
                async with asyncio.timeout_at(deadline):
                    await self.wake.wait()
            except TimeoutError:
                return {}

    def _open(self) -> list[tuple[TopicPartition, int]]:
        return [(at, first) for at, first in self.next.items() if not self._is_still(at)]

    def _is_still(self, at: TopicPartition) -> bool:
        return at in self.paused or at in self.changing_hands

    def _read(self, most: int) -> dict[TopicPartition, Sequence[StoredRecord]]:
        found: dict[TopicPartition, Sequence[StoredRecord]] = {}
        for at, first in self._open():
            if most > 0 and (records := self.server.records[at][first : first + most]):
                found[at] = records
                most -= len(records)
        return found


class WholeReader:
    """Reads topics whole, from the first record."""

    def __init__(self, server: LogServer, topics: Sequence[str]) -> None:
        self._cursor = _Cursor(server)
        self._topics = topics

    async def start(self) -> None:
        """As the port says."""
        for at in self._cursor.server.records:
            if at.topic in self._topics:
                self._cursor.take(at, 0)

    async def stop(self) -> None:
        """As the port says."""

    async def fetch(self, max_records: int, timeout: float) -> Sequence[StoredRecord]:
        """As the port says."""
        found = await self._cursor.fetch(max_records, timeout)
        return [record for records in found.values() for record in records]

    def position(self, partition: TopicPartition) -> int:
        """As the port says."""
        return self._cursor.next[partition]


class GroupMember:
    """A member of a group, in the process that made it."""

    def __init__(self, server: LogServer, group: str, topics: Sequence[str]) -> None:
        self.topics = tuple(topics)
        self.process: Process = CURRENT.get()
        self.number = 0
        self._cursor = _Cursor(server)
        self._world = server.world
        self._group = server.group(group)
        self._assignment: Assignment | None = None
        self._turn = asyncio.Lock()

    async def start(self, assignment: Assignment | None = None) -> None:
        """As the port says."""
        self._assignment = assignment
        await self._world.request(
            f"join {self._group.name}", lambda: self._group.join(self), LogUnavailable, reliable=True
        )

    async def stop(self) -> None:
        """As the port says."""
        await self._world.request(
            f"leave {self._group.name}", lambda: self._group.leave(self), LogUnavailable, reliable=True
        )

    async def fetch(
        self, max_records: int, timeout: float
    ) -> Mapping[TopicPartition, Sequence[StoredRecord]]:
        """As the port says."""
        return await self._cursor.fetch(max_records, timeout)

    def assigned(self) -> frozenset[TopicPartition]:
        """As the port says."""
        return frozenset(self._cursor.next)

    def position(self, partition: TopicPartition) -> int:
        """As the port says."""
        return self._cursor.next[partition]

    def pause(self, partition: TopicPartition) -> None:
        """As the port says."""
        if partition in self._cursor.next:
            self._cursor.paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        """As the port says."""
        self._cursor.paused.discard(partition)
        self._cursor.wake.set()

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """As the port says."""
        self._cursor.take(partition, offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """As the port says; of partitions that were lost nothing is stored."""
        held = self.assigned()
        kept = {at: offset for at, offset in offsets.items() if at in held}
        number = self.number  # of this membership: a commit from before an eviction is refused
        await self._world.request(
            f"commit offsets of {self._group.name}",
            lambda: self._group.store(self, number, kept),
            LogUnavailable,
        )

    async def committed(self, partition: TopicPartition) -> int | None:
        """As the port says."""
        return self._group.committed(partition)

    # -- told by the coordinator, in the member's own process -----------------------------------------------------------

    async def revoke(self, partitions: Sequence[TopicPartition]) -> None:
        """Lets go."""
        self._cursor.changing_hands.update(partitions)
        async with self._turn:
            held = sorted(self.assigned().intersection(partitions))
            if self._assignment is not None and held:
                await self._assignment.on_revoked(held)
            for at in held:
                self._cursor.drop(at)

    async def assign(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Takes partitions, each from its offset."""
        async with self._turn:
            for at, offset in offsets.items():
                self._cursor.take(at, offset)
            if self._assignment is not None and offsets:
                await self._assignment.on_assigned(sorted(offsets))


class GroupCoordinator:
    """Deals a group's partitions to its members, and takes them from those that seem dead."""

    def __init__(self, server: LogServer, name: str) -> None:
        self.name = name
        self.owners: dict[TopicPartition, GroupMember] = {}
        self._server = server
        self._world = server.world
        self._members: list[GroupMember] = []
        self._topics: set[str] = set()
        self._joined = 0
        self._silent_since: dict[GroupMember, float] = {}
        self._changed = asyncio.Event()
        world = server.world
        world.loop.spawn(world.outside, self._coordinate())
        world.loop.spawn(world.outside, self._watch())

    def join(self, member: GroupMember) -> None:
        """Adds a member, which has nothing yet: what it lost with an earlier membership is dealt anew."""
        for at in [at for at, owner in self.owners.items() if owner is member]:
            del self.owners[at]
        self._joined += 1
        member.number = self._joined
        self._members.append(member)
        self._topics |= set(member.topics)  # they are read on when the last member was evicted, too
        self._changed.set()

    def leave(self, member: GroupMember) -> None:
        """Removes one; what it holds is free for others at once."""
        if member in self._members:
            self._members.remove(member)
            self._changed.set()

    def store(self, member: GroupMember, number: int, offsets: Mapping[TopicPartition, int]) -> None:
        """Stores offsets of partitions that the member still owns; a zombie's are refused, as Kafka's fencing does."""
        for at, offset in offsets.items():
            if self.owners.get(at) is member and member.number == number:
                self._server.offsets[self.name, at] = offset

    def committed(self, at: TopicPartition) -> int | None:
        """The group's offset."""
        return self._server.offsets.get((self.name, at))

    def lag(self) -> int:
        """Records that nobody has committed."""
        topics = self._topics
        committed, name, behind = self._server.offsets.get, self.name, 0
        for at, kept in self._server.records.items():
            if at.topic in topics:
                behind += len(kept) - committed((name, at), 0)
        return behind

    # -- who is alive -------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        world = self._world
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for member in list(self._members):
                if member.process.condition is Condition.RUNNING:
                    self._silent_since.pop(member, None)
                    if world.happens(world.faults.eviction):
                        self._evict(member, "cut off from the group: its partitions go to others")
                    continue
                since = self._silent_since.setdefault(member, world.loop.time())
                if world.loop.time() - since >= SESSION_SECONDS or (
                    member.process.condition is Condition.DEAD and world.happens(0.3)
                ):
                    self._evict(member, "session over: its partitions go to others")

    def _evict(self, member: GroupMember, why: str) -> None:
        self._world.tell(
            f"{self.name} member {member.number}", fault=f"evicted: {why}", process=member.process
        )
        self.leave(member)
        if member.process.condition is not Condition.DEAD:
            self._world.loop.spawn(member.process, self._hear_of_it(member))

    async def _hear_of_it(self, member: GroupMember) -> None:
        """A member learns a little later that it was evicted: it lets go of what it thought it had, and joins again."""
        await asyncio.sleep(self._world.chance.random() * 4.0)
        await member.revoke(sorted(member.assigned()))
        self.join(member)

    # -- dealing ------------------------------------------------------------------------------------------------------

    async def _coordinate(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._rebalance()

    async def _rebalance(self) -> None:
        members = list(self._members)
        wanted = (
            dict(zip(members, shares([m.topics for m in members], self._server.counts), strict=True))
            if members
            else {}
        )
        for at, owner in list(self.owners.items()):
            if owner not in wanted:
                del self.owners[at]
        leaving = {
            member: sorted(at for at, owner in self.owners.items() if owner is member and at not in share)
            for member, share in wanted.items()
        }
        asked = {
            member: self._world.loop.spawn(member.process, member.revoke(partitions))
            for member, partitions in leaving.items()
            if partitions
        }
        for member, task in asked.items():
            done, _ = await asyncio.wait([task], timeout=REVOKE_SECONDS)
            if not done and member in self._members:
                self._evict(member, "did not let go in time: its partitions go to others")
            for at in leaving[member]:
                self.owners.pop(at, None)
        for member, share in wanted.items():
            if member not in self._members:
                for at in [at for at, owner in self.owners.items() if owner is member]:
                    del self.owners[at]
                continue
            offsets = {at: self._begin(at) for at in sorted(share) if at not in self.owners}
            if offsets:
                self.owners |= dict.fromkeys(offsets, member)
                self._world.loop.spawn(member.process, member.assign(offsets))

    def _begin(self, at: TopicPartition) -> int:
        offset = self.committed(at) or 0
        if offset and self._world.happens(self._world.faults.rewind):
            earlier = max(0, offset - 1 - int(self._world.chance.random() * 5))
            self._world.tell(
                f"{self.name} {at.topic}/{at.partition}", fault=f"redelivery: from {earlier}, not {offset}"
            )
            return earlier
        return offset
