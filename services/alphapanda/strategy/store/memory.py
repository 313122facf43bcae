"""Strategy's store in memory, for simulation: nothing survives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from alphapanda.storage.requests import CommandKey, RequestReused
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.store.port import (
    Activation,
    Answer,
    Decide,
    Overtaken,
    Snapshot,
    StoredStrategy,
)
from panda.events.v1.events_pb2 import Event


class MemoryStrategyStore:
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
        self._snapshots: dict[tuple[int, str], tuple[int, int, bytes]] = {}

    async def command(
        self, key: CommandKey, request: Message, strategy_id: str, decide: Decide, answer: Answer
    ) -> bytes:
        """Carries out a command once."""
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

    async def change(self, strategy_id: str, decide: Decide) -> StoredStrategy | None:
        """Carries out a change of the service's own."""
        change = decide(self._strategies.get(strategy_id))
        if change is not None:
            config = change.strategy.config
            self._strategies[strategy_id] = change.strategy
            self._revisions[strategy_id, config.revision] = config
            self.events.append(change.event)
        return self._strategies.get(strategy_id)

    async def get(self, strategy_id: str) -> StoredStrategy | None:
        """A strategy as it stands."""
        return self._strategies.get(strategy_id)

    async def page(self, state: StrategyState | None, after: str, limit: int) -> Sequence[StoredStrategy]:
        """Strategies by name."""
        found = (self._strategies[name] for name in sorted(self._strategies) if name > after)
        return [
            each
            for each in found
            if each.config.state is not StrategyState.DELETED and state in {None, each.config.state}
        ][:limit]

    async def current(self) -> Sequence[StrategyConfig]:
        """Every strategy's configuration as it stands."""
        return [self._strategies[name].config for name in sorted(self._strategies)]

    async def activate(self, activation: Activation) -> None:
        """Records that a revision takes effect."""
        place = (activation.partition, activation.strategy_id)
        held_offset, held_revision, _ = self._snapshots.get(place, (0, 0, b""))
        if activation.next_offset < held_offset or activation.revision < held_revision:
            raise Overtaken(f"{activation} comes after what the partition's snapshot holds")
        self._activations.setdefault(
            (activation.strategy_id, activation.partition, activation.revision), activation
        )
        self._snapshots[place] = (activation.next_offset, activation.revision, b"")

    async def activations(self, strategy_id: str) -> Sequence[Activation]:
        """Where each revision took effect."""
        return [self._activations[place] for place in sorted(self._activations) if place[0] == strategy_id]

    async def save(self, partition: int, next_offset: int, states: Mapping[str, tuple[int, bytes]]) -> None:
        """Stores states as of an offset."""
        for strategy_id, (revision, state) in states.items():
            held_offset, held_revision, _ = self._snapshots.get((partition, strategy_id), (0, 0, b""))
            if next_offset >= held_offset and revision >= held_revision:
                self._snapshots[partition, strategy_id] = (next_offset, revision, state)

    async def snapshots(self, partition: int) -> Sequence[Snapshot]:
        """The snapshots of a partition."""
        found = sorted(
            (next_offset, name, revision, state)
            for (place, name), (next_offset, revision, state) in self._snapshots.items()
            if place == partition
        )
        return [
            Snapshot(
                self._revisions[name, revision], next_offset, state, self._before(name, partition, revision)
            )
            for next_offset, name, revision, state in found
        ]

    def _before(self, strategy_id: str, partition: int, revision: int) -> int:
        return max(
            (r for name, p, r in self._activations if (name, p) == (strategy_id, partition) and r < revision),
            default=0,
        )
