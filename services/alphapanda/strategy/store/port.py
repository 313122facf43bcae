"""The port (interface) of strategy's store."""

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
    """A configuration with its last change.

    Attributes:
        config: the configuration.
        note: a sentence for users, such as why it was stopped; may be empty.
        changed_by: the caller who made this revision.
        changed_at: wall time of the change, aware.
    """

    config: StrategyConfig
    note: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A strategy's next revision and the event that announces it."""

    strategy: StoredStrategy
    event: Event


Decide = Callable[[StoredStrategy | None], Change | None]
"""Makes a strategy's next revision from its current one (None: there is none); None changes nothing. May raise."""

Answer = Callable[[StoredStrategy], Message]
"""Makes the answer to a command from the strategy after it."""


@dataclass(frozen=True, slots=True)
class Activation:
    """A revision takes effect on a partition of the ticks at `next_offset`."""

    strategy_id: str
    revision: int
    partition: int
    next_offset: int


class Ownership(NamedTuple):
    """A partition and the epoch under which a process owns it; a process takes it over by raising the epoch."""

    partition: int
    epoch: int


class Memory(NamedTuple):
    """The state of a strategy's revision on a partition.

    Attributes:
        revision: the revision.
        state: what StrategyHost.state returned; empty if the revision has handled nothing yet.
        missing: ticks (or bars) that it still needs before its first target, on the instrument that lacks most.
    """

    revision: int
    state: bytes = b""
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A strategy's stored state on a partition, after every offset below `next_offset`.

    Attributes:
        config: the revision in effect on the partition.
        next_offset: the first offset that isn't included in the state.
        state: what StrategyHost.state returned; empty if the revision has handled nothing yet.
        replaced: the previous revision on the partition; 0 if there was none.
    """

    config: StrategyConfig
    next_offset: int
    state: bytes
    replaced: int = 0


class OrderInput(NamedTuple):
    """An order event, or a frame of another partition, that is applied before the record at `next_offset` of the ticks."""

    next_offset: int
    event: Event


class OrderInputs(NamedTuple):
    """The recorded inputs of a partition's strategies: order events, and frames of other partitions.

    Attributes:
        positions: offsets up to which the topics were read; None if they never were.
        inputs: events since the snapshots, in the order in which they are applied.
    """

    positions: Mapping[TopicPartition, int] | None
    inputs: Sequence[OrderInput]

    def positions_on(self, topics: Sequence[str]) -> dict[TopicPartition, int] | None:
        """The offsets on these topics; None if they were never read."""
        return {at: n for at, n in (self.positions or {}).items() if at.topic in topics} or None


class OwnershipLost(Exception):
    """Another process owns the partition now; this process must neither store nor publish anything for it."""


class StrategyStore(Protocol):
    """Stores strategies by revision, and their activations, snapshots and order inputs by partition of the ticks."""

    async def command(
        self, key: CommandKey, request: Message, strategy_id: str, decide: Decide, answer: Answer
    ) -> bytes:
        """Carries out a command once: stores revision, event and answer in one transaction.

        Returns:
            The answer, serialised; for a repeated command the stored answer.

        Raises:
            RequestReused: the request_id came with a different body.
        """

    async def change(self, strategy_id: str, decide: Decide) -> StoredStrategy | None:
        """Makes a change that no command asked for; returns the strategy afterwards."""

    async def get(self, strategy_id: str) -> StoredStrategy | None:
        """The current revision of a strategy, even a deleted one; None if there is no such strategy."""

    async def has_at_least(self, number: int) -> bool:
        """Whether there are at least so many strategies, deleted ones among them."""

    async def page(self, state: StrategyState | None, after: str, limit: int) -> Sequence[StoredStrategy]:
        """Lists strategies by name, those after the name `after`; only those in `state`, if it is given.

        Deleted strategies are never listed.
        """

    async def current(self) -> Sequence[StrategyConfig]:
        """The current configuration of every strategy."""

    async def seed(self, changes: Sequence[Change]) -> bool:
        """Stores the first strategies, all in one transaction; False, and nothing stored, if there ever was one."""

    async def take(self, partition: int) -> Ownership:
        """Takes a partition over by raising its epoch; the previous owner can't store anything for it any more."""

    async def require(self, owner: Ownership) -> None:
        """Requires that the partition is still the owner's.

        Raises:
            OwnershipLost: another process took it over.
        """

    async def activate(self, owner: Ownership, activation: Activation, warmed: Memory) -> None:
        """Stores once that a revision takes effect at an offset, with its state after the warm-up.

        Raises:
            OwnershipLost: the partition was taken over, or the strategy's snapshot is of a later offset or revision.
        """

    async def activations(self, strategy_id: str) -> Sequence[Activation]:
        """The activations of a strategy, by partition and revision."""

    async def save(self, owner: Ownership, next_offset: int, states: Mapping[str, Memory]) -> None:
        """Stores strategies' states at an offset; an older state never replaces a newer one.

        Raises:
            OwnershipLost: the partition was taken over.
        """

    async def record_inputs(
        self,
        owner: Ownership,
        next_offset: int,
        events: Sequence[Event],
        positions: Mapping[TopicPartition, int],
    ) -> None:
        """Stores order events that are applied before an offset, and the offsets read so far, in one transaction.

        Raises:
            OwnershipLost: the partition was taken over.
        """

    async def forget_inputs(
        self, owner: Ownership, before: int, positions: Mapping[TopicPartition, int]
    ) -> None:
        """Deletes order events applied before an offset that all snapshots include, and stores the offsets read so far.

        Raises:
            OwnershipLost: the partition was taken over.
        """

    async def inputs(self, partition: int) -> OrderInputs:
        """The recorded order events of a partition."""

    async def missing(self, strategy_ids: Sequence[str]) -> Mapping[str, int]:
        """Ticks (or bars) missing from the warm-up of running strategies, as of their last snapshots; zeros left out."""

    async def snapshots(self, partition: int) -> Sequence[Snapshot]:
        """The snapshots of a partition, by offset and name."""
