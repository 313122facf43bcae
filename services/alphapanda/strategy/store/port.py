"""The port of strategy's store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from alphapanda.contract.topics import TopicPartition
from alphapanda.storage.requests import CommandKey
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from panda.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class StoredStrategy:
    """A configuration with what is known of its last change.

    Attributes:
        config: the configuration.
        note: what a person should know of it; empty where nothing.
        changed_by: who made this revision.
        changed_at: wall time of the change, aware.
    """

    config: StrategyConfig
    note: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A strategy's next revision and the event that tells of it."""

    strategy: StoredStrategy
    event: Event


Decide = Callable[[StoredStrategy | None], Change | None]
"""From the strategy as it stands (None: there is none) to its next revision; None changes nothing. May refuse by raising."""

Answer = Callable[[StoredStrategy], Message]


@dataclass(frozen=True, slots=True)
class Activation:
    """A revision is in effect on a partition of the ticks from `next_offset` on."""

    strategy_id: str
    revision: int
    partition: int
    next_offset: int


class Ownership(NamedTuple):
    """A process has a partition until another takes it, which raises the epoch."""

    partition: int
    epoch: int


class Memory(NamedTuple):
    """What a revision of a strategy remembers on a partition.

    Attributes:
        revision: the revision.
        state: as StrategyHost.state gave it; empty where the revision has seen nothing yet.
        missing: ticks, or bars, that it has to see yet before its first wish, on the instrument that lacks most.
    """

    revision: int
    state: bytes = b""
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a strategy remembers on a partition after every offset below `next_offset`.

    Attributes:
        config: the revision that is in effect there.
        next_offset: the first offset that isn't in the state.
        state: as StrategyHost.state gave it; empty where the revision has seen nothing yet.
        replaced: the revision that was in effect there before; 0 where none was.
    """

    config: StrategyConfig
    next_offset: int
    state: bytes
    replaced: int = 0


class OrderInput(NamedTuple):
    """An order event that strategies are told before the record at `next_offset` of the ticks."""

    next_offset: int
    event: Event


class OrderInputs(NamedTuple):
    """What is stored of the orders that a partition's strategies read.

    Attributes:
        positions: how far the order topics were read; None where they never were.
        inputs: what was told since the snapshots, in its order.
    """

    positions: Mapping[TopicPartition, int] | None
    inputs: Sequence[OrderInput]


class Overtaken(Exception):
    """Somebody else has the partition now: what is here may be the past, and must be neither stored nor told."""


class StrategyStore(Protocol):
    """Strategy's own schema."""

    async def command(
        self, key: CommandKey, request: Message, strategy_id: str, decide: Decide, answer: Answer
    ) -> bytes:
        """Carries out a command once: row, event and remembered answer in one transaction.

        Returns:
            The answer, serialised; the one given before where the command was carried out before.

        Raises:
            RequestReused: the request_id came with another body.
        """

    async def change(self, strategy_id: str, decide: Decide) -> StoredStrategy | None:
        """The same for a change of the service's own; returns the strategy as it stands afterwards."""

    async def get(self, strategy_id: str) -> StoredStrategy | None:
        """A strategy as it stands, a deleted one too."""

    async def page(self, state: StrategyState | None, after: str, limit: int) -> Sequence[StoredStrategy]:
        """Strategies by name, from the first after `after` on; only those in `state` where it is given.

        Deleted ones are in no page.
        """

    async def current(self) -> Sequence[StrategyConfig]:
        """Every strategy's configuration as it stands."""

    async def seed(self, changes: Sequence[Change]) -> bool:
        """Stores the first strategies there ever are, all in one transaction; False where there was one already."""

    async def take(self, partition: int) -> Ownership:
        """Takes a partition over: who had it before stores nothing of it any more."""

    async def require(self, owner: Ownership) -> None:
        """Does nothing where the partition is the owner's still.

        Raises:
            Overtaken: it was taken over.
        """

    async def activate(self, owner: Ownership, activation: Activation, warmed: Memory) -> None:
        """Records that a revision takes effect, with what its warm-up left in it at that offset; once.

        Raises:
            Overtaken: the partition was taken over, or the strategy's snapshot is of a later offset or revision.
        """

    async def activations(self, strategy_id: str) -> Sequence[Activation]:
        """Where each revision took effect, by partition and revision."""

    async def save(self, owner: Ownership, next_offset: int, states: Mapping[str, Memory]) -> None:
        """Stores what strategies remember as of an offset; an older one never replaces a newer one.

        Raises:
            Overtaken: the partition was taken over.
        """

    async def record_inputs(
        self,
        owner: Ownership,
        next_offset: int,
        events: Sequence[Event],
        positions: Mapping[TopicPartition, int],
    ) -> None:
        """Records order events that take effect before an offset, and how far they have been read, in one transaction.

        Raises:
            Overtaken: the partition was taken over.
        """

    async def forget_inputs(
        self, owner: Ownership, before: int, positions: Mapping[TopicPartition, int]
    ) -> None:
        """Drops what took effect before an offset, which every snapshot holds now, and stores how far it is read.

        Raises:
            Overtaken: the partition was taken over.
        """

    async def inputs(self, partition: int) -> OrderInputs:
        """What is recorded of a partition."""

    async def missing(self, strategy_ids: Sequence[str]) -> Mapping[str, int]:
        """What the strategies' current revisions lack of their warm-up, as of the last snapshots; those that lack."""

    async def snapshots(self, partition: int) -> Sequence[Snapshot]:
        """The snapshots of a partition, by offset and name."""
