"""Strategy's store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message
from typing_extensions import override

from alphapanda.contract.topics import TopicPartition
from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.store.port import (
    Activation,
    Answer,
    Change,
    Decide,
    Memory,
    OrderInput,
    OrderInputs,
    Ownership,
    OwnershipLost,
    Snapshot,
    StoredStrategy,
    StrategyStore,
)
from panda.events.v1.events_pb2 import Event


class MemoryStrategyStore(StrategyStore):
    """The port in dictionaries. It never waits, so that each call is a transaction.

    Attributes:
        events: what would be in the outbox, in order.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._strategies: dict[str, StoredStrategy] = {}
        self._revisions: dict[tuple[str, int], StrategyConfig] = {}
        self._requests: dict[CommandKey, tuple[bytes, bytes]] = {}
        self._activations: dict[tuple[str, int, int], Activation] = {}
        self._snapshots: dict[tuple[int, str], tuple[int, Memory]] = {}
        self._epochs: dict[int, int] = {}
        self._inputs: dict[int, OrderInputs] = {}

    @override
    async def command(
        self, key: CommandKey, request: Message, strategy_id: str, decide: Decide, answer: Answer
    ) -> bytes:
        body = request.SerializeToString(deterministic=True)
        if key in self._requests:
            seen, given = self._requests[key]
            if seen != body:
                raise RequestReused(key.request_id)
            return given
        stored = await self.change(strategy_id, decide)
        if stored is None:
            raise ValueError("a command's decision refuses by raising, or leaves a strategy")
        message = answer(stored).SerializeToString(deterministic=True)
        self._requests[key] = (body, message)
        return message

    @override
    async def change(self, strategy_id: str, decide: Decide) -> StoredStrategy | None:
        change = decide(self._strategies.get(strategy_id))
        if change is not None:
            config = change.strategy.config
            self._strategies[strategy_id] = change.strategy
            self._revisions[strategy_id, config.revision] = config
            self.events.append(change.event)
        return self._strategies.get(strategy_id)

    @override
    async def has_at_least(self, number: int) -> bool:
        return len(self._strategies) >= number

    @override
    async def get(self, strategy_id: str) -> StoredStrategy | None:
        return self._strategies.get(strategy_id)

    @override
    async def page(self, state: StrategyState | None, after: str, limit: int) -> Sequence[StoredStrategy]:
        found = (self._strategies[name] for name in sorted(self._strategies) if name > after)
        return [
            each
            for each in found
            if each.config.state is not StrategyState.DELETED and state in {None, each.config.state}
        ][:limit]

    @override
    async def current(self) -> Sequence[StrategyConfig]:
        return [self._strategies[name].config for name in sorted(self._strategies)]

    @override
    async def seed(self, changes: Sequence[Change]) -> bool:
        if self._strategies:
            return False
        for change in changes:
            await self.change(change.strategy.config.strategy_id, lambda _, change=change: change)  # type: ignore[misc]
        return True

    @override
    async def take(self, partition: int) -> Ownership:
        self._epochs[partition] = self._epochs.get(partition, 0) + 1
        return Ownership(partition, self._epochs[partition])

    @override
    async def require(self, owner: Ownership) -> None:
        self._require(owner)

    @override
    async def activate(self, owner: Ownership, activation: Activation, warmed: Memory) -> None:
        self._require(owner)
        place = (activation.partition, activation.strategy_id)
        held_offset, held = self._snapshots.get(place, (0, Memory(0)))
        if activation.next_offset < held_offset or activation.revision < held.revision:
            raise OwnershipLost(
                f"the partition's snapshot is of a later offset or revision than {activation}"
            )
        self._activations.setdefault(
            (activation.strategy_id, activation.partition, activation.revision), activation
        )
        self._snapshots[place] = (activation.next_offset, warmed)

    @override
    async def activations(self, strategy_id: str) -> Sequence[Activation]:
        return [self._activations[place] for place in sorted(self._activations) if place[0] == strategy_id]

    @override
    async def save(self, owner: Ownership, next_offset: int, states: Mapping[str, Memory]) -> None:
        self._require(owner)
        for strategy_id, memory in states.items():
            held_offset, held = self._snapshots.get((owner.partition, strategy_id), (0, Memory(0)))
            if next_offset >= held_offset and memory.revision >= held.revision:
                self._snapshots[owner.partition, strategy_id] = (next_offset, memory)

    @override
    async def record_inputs(
        self,
        owner: Ownership,
        next_offset: int,
        events: Sequence[Event],
        positions: Mapping[TopicPartition, int],
    ) -> None:
        self._require(owner)
        held = await self.inputs(owner.partition)
        added = [OrderInput(next_offset, event) for event in events]
        self._inputs[owner.partition] = OrderInputs(dict(positions), [*held.inputs, *added])

    @override
    async def forget_inputs(
        self, owner: Ownership, before: int, positions: Mapping[TopicPartition, int]
    ) -> None:
        self._require(owner)
        held = await self.inputs(owner.partition)
        kept = [each for each in held.inputs if each.next_offset >= before]
        self._inputs[owner.partition] = OrderInputs(dict(positions), kept)

    @override
    async def inputs(self, partition: int) -> OrderInputs:
        held = self._inputs.get(partition, OrderInputs(None, ()))
        return held._replace(inputs=sorted(held.inputs, key=lambda each: each.next_offset))

    @override
    async def missing(self, strategy_ids: Sequence[str]) -> Mapping[str, int]:
        lacking: dict[str, int] = {}
        for (_, name), (_, memory) in self._snapshots.items():
            current = self._strategies[name].config
            if (
                name in strategy_ids
                and memory.missing
                and current.state is StrategyState.RUNNING
                and current.revision == memory.revision
            ):
                lacking[name] = max(memory.missing, lacking.get(name, 0))
        return lacking

    @override
    async def snapshots(self, partition: int) -> Sequence[Snapshot]:
        found = sorted(
            (next_offset, name, memory.revision, memory.state)
            for (place, name), (next_offset, memory) in self._snapshots.items()
            if place == partition
        )
        return [
            Snapshot(
                self._revisions[name, revision], next_offset, state, self._before(name, partition, revision)
            )
            for next_offset, name, revision, state in found
        ]

    def _require(self, owner: Ownership) -> None:
        if self._epochs.get(owner.partition) != owner.epoch:
            raise OwnershipLost(f"partition {owner.partition} was taken over after epoch {owner.epoch}")

    def _before(self, strategy_id: str, partition: int, revision: int) -> int:
        return max(
            (r for name, p, r in self._activations if (name, p) == (strategy_id, partition) and r < revision),
            default=0,
        )
