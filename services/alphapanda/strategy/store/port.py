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
    """A configuration with its last change.

    Attributes:
        config: the configuration.
        note: a sentence for people; empty where there is nothing to say.
        changed_by: the caller that made this revision.
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
"""Decides a strategy's next revision from its current one (None: there is none); None changes nothing. May raise."""

Answer = Callable[[StoredStrategy], Message]


@dataclass(frozen=True, slots=True)
class Activation:
    """A revision is in effect on a partition of the ticks from `next_offset` on."""

    strategy_id: str
    revision: int
    partition: int
    next_offset: int


class Ownership(NamedTuple):
    """A partition and the epoch under which a process owns it; another process takes it over by raising the epoch."""

    partition: int
    epoch: int


class Memory(NamedTuple):
    """The state of a strategy's revision on a partition.

    Attributes:
        revision: the revision.
        state: as StrategyHost.state returned it; empty where the revision has seen nothing yet.
        missing: ticks, or bars, that it still needs before its first target, on the instrument that lacks most.
    """

    revision: int
    state: bytes = b""
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A strategy's stored state on a partition, after every offset below `next_offset`.

    Attributes:
        config: the revision that is in effect there.
        next_offset: the first offset that isn't in the state.
        state: as StrategyHost.state returned it; empty where the revision has seen nothing yet.
        replaced: the revision that was in effect there before; 0 where none was.
    """

    config: StrategyConfig
    next_offset: int
    state: bytes
    replaced: int = 0


class OrderInput(NamedTuple):
    """An order event that is applied before the record at `next_offset` of the ticks."""

    next_offset: int
    event: Event


class OrderInputs(NamedTuple):
    """The recorded order events of a partition's strategies.

    Attributes:
        positions: how far the order topics were read; None where they never were.
        inputs: events since the snapshots, in their order.
    """

    positions: Mapping[TopicPartition, int] | None
    inputs: Sequence[OrderInput]


class Overtaken(Exception):
    """Another process owns the partition now: this one must neither store nor publish anything of it."""


class StrategyStore(Protocol):
    """Strategies by revision, and what the partitions of the ticks have stored of them."""

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
        """Makes a change of the service's own; returns the strategy afterwards."""

    async def get(self, strategy_id: str) -> StoredStrategy | None:
        """The current revision of a strategy, a deleted one too."""

    async def page(self, state: StrategyState | None, after: str, limit: int) -> Sequence[StoredStrategy]:
        """Strategies by name, from the first after `after` on; only those in `state` where it is given.

        Deleted ones are in no page.
        """

    async def current(self) -> Sequence[StrategyConfig]:
        """The current configuration of every strategy."""

    async def seed(self, changes: Sequence[Change]) -> bool:
        """Stores the first strategies ever, all in one transaction; False where there was one already."""

    async def take(self, partition: int) -> Ownership:
        """Takes a partition over: its earlier owner can store nothing of it any more."""

    async def require(self, owner: Ownership) -> None:
        """Requires that the partition is still the owner's.

        Raises:
            Overtaken: it was taken over.
        """

    async def activate(self, owner: Ownership, activation: Activation, warmed: Memory) -> None:
        """Records once that a revision takes effect at an offset, with the state that its warm-up gave it.

        Raises:
            Overtaken: the partition was taken over, or the strategy's snapshot is of a later offset or revision.
        """

    async def activations(self, strategy_id: str) -> Sequence[Activation]:
        """Where each revision took effect, by partition and revision."""

    async def save(self, owner: Ownership, next_offset: int, states: Mapping[str, Memory]) -> None:
        """Stores strategies' states as of an offset; an older one never replaces a newer one.

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
        """Deletes order events from before an offset, which every snapshot has now, and stores the positions.

        Raises:
            Overtaken: the partition was taken over.
        """

    async def inputs(self, partition: int) -> OrderInputs:
        """The recorded order events of a partition."""

    async def missing(self, strategy_ids: Sequence[str]) -> Mapping[str, int]:
        """Ticks, or bars, that running strategies lack of their warm-up, as of the last snapshots; those that lack any."""

    async def snapshots(self, partition: int) -> Sequence[Snapshot]:
        """The snapshots of a partition, by offset and name."""
