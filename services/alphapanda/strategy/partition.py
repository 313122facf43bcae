"""One partition of the ticks: its strategies, its position, its unpublished signals."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alphapanda.contract.order_wire import order_update_from
from alphapanda.contract.topics import TopicPartition, shard_of
from alphapanda.contract.wire import frame_from
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.signal import Signal
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.isolator import StrategyBroken
from alphapanda.strategy.core.revision_state import is_fresh, revision_state, with_inputs
from alphapanda.strategy.core.watching import StrategyFailure
from alphapanda.strategy.order_tail import OrderTail
from alphapanda.strategy.store.port import OrderInput, OrderInputs, Ownership, Snapshot
from panda.events.v1.events_pb2 import Event

if TYPE_CHECKING:
    from alphapanda.strategy.foreign_frames import ForeignTail


class LogBehindSnapshot(Exception):
    """A snapshot is of an offset after the end of the log, so database and log don't belong together."""


@dataclass(frozen=True, slots=True)
class Halt:
    """A strategy to stop, and why; `cause_id` is the id of the frame that caused it, or empty."""

    strategy_id: str
    revision: int
    why: str
    cause_id: str


class TickPartition:
    """The state of one partition while this process owns it.

    A strategy is loaded at the offset of its snapshot. So it sees no tick twice and misses none, even if the partition is
    read from further back for another strategy. New revisions wait until all records that were on the log at the take-over
    have been handled, because the previous owner may have handled them under the old revision.

    Args:
        owner: the partition, and the epoch under which this process owns it.
        host: an empty host.
        snapshots: the stored snapshots of the partition.
        recorded: the stored inputs of its strategies.
        begins: offset of the next record, unless a snapshot needs an earlier one.
        end: end of the partition's log at the take-over.
        tick_topic: the topic of the ticks.

    Raises:
        LogBehindSnapshot: a snapshot is of an offset after `end`.

    Attributes:
        position: offset of the next record to handle.
        unpublished: signals of handled records that the log hasn't acknowledged yet.
        halts: strategies to stop in the store.
        failures: errors of strategies that aren't logged yet.
        applied: generation of the configurations that were applied last.
        saved: (position, monotonic time) of the last snapshot.
        activating: revisions whose activation is being stored, by strategy.
        readers: configurations of the strategies that read their position.
        order_positions: stored offsets of the order topics; None if they were never read for this partition.
        tail: reads the order topics for `readers`; None until it is needed.
        foreign_positions: stored offsets of the other partitions' ticks.
        foreign_tail: reads the other partitions' ticks for strategies that see several instruments; None until it is needed.
    """

    def __init__(
        self,
        owner: Ownership,
        host: StrategyHost,
        snapshots: Sequence[Snapshot],
        recorded: OrderInputs,
        begins: int,
        end: int,
        tick_topic: str,
    ) -> None:
        self.owner = owner
        self.number = owner.partition
        self.host = host
        self.busy = asyncio.Lock()
        self.unpublished: list[Signal] = []
        self.halts: list[Halt] = []
        self.failures: list[StrategyFailure] = []
        self.applied = 0
        self.activating: dict[str, StrategyConfig] = {}
        self.readers: Sequence[StrategyConfig] = ()
        positions = recorded.positions or {}
        self.order_positions = {at: n for at, n in positions.items() if at.topic != tick_topic} or None
        self.tail: OrderTail | None = None
        self.foreign_tail: ForeignTail | None = None
        self._inputs = (0, 0)
        self._recorded = deque(recorded.inputs)
        self._last_frame = ("", 0)
        self.revisions = {snapshot.config.strategy_id: snapshot.config.revision for snapshot in snapshots}
        self._to_load = [
            s for s in snapshots if s.config.state is StrategyState.RUNNING or _has_pending_flattening(s)
        ]
        self._to_load.sort(key=self._enters)
        self.foreign_positions: dict[TopicPartition, int] = {}
        if any(host.build.sees_all(snapshot.config) for snapshot in self._to_load):
            self.foreign_positions = {at: n for at, n in positions.items() if at.topic == tick_topic}
        # Without snapshots no earlier process had a strategy on this partition.
        self._new_revisions_from = end if snapshots else begins
        self.position = min([snapshot.next_offset for snapshot in self._to_load], default=begins)
        self.replays = bool(self._to_load)
        self.saved = (self.position, 0.0)
        for snapshot in snapshots:
            if snapshot.next_offset > end:
                raise LogBehindSnapshot(
                    f"strategy {snapshot.config.strategy_id!r} has seen partition {self.number} up to offset"
                    f" {snapshot.next_offset}, but the log ends at {end}: database and log don't belong together"
                )

    def load_due(self, offset: int) -> None:
        """Loads strategies, and applies recorded inputs, that are due before the record at this offset.

        A strategy that sees several instruments enters after the inputs of its offset that its state includes.
        """
        never = (offset + 1, 0)
        while True:
            enters = self._enters(self._to_load[0]) if self._to_load else never
            recorded = never
            if self._recorded:
                at = self._recorded[0].next_offset
                recorded = (at, self.inputs_included(at))
            if min(enters, recorded)[0] > offset:
                return
            if enters <= recorded:
                snapshot = self._to_load.pop(0)
                self.configure(snapshot.config, snapshot.replaced, snapshot.state)
            else:
                self.apply(recorded[0], [self._recorded.popleft().event])

    def apply(self, offset: int, events: Iterable[Event]) -> None:
        """Applies inputs that are recorded for an offset: order events, and frames of other partitions."""
        for event in events:
            self._inputs = (offset, self.inputs_included(offset) + 1)
            if event.HasField("tick_frame"):
                self.unpublished += self.host.on_foreign_frame(frame_from(event.tick_frame))
            else:
                self.host.on_order(order_update_from(event).order)

    def queue(self, inputs: Iterable[OrderInput]) -> None:
        """Adds inputs that were just recorded, in the order of their offsets, and are applied when these are due."""
        self._recorded.extend(inputs)

    def inputs_included(self, offset: int) -> int:
        """The number of inputs recorded for an offset that were applied."""
        return self._inputs[1] if self._inputs[0] == offset else 0

    def input_positions(self) -> dict[TopicPartition, int]:
        """The offsets up to which the topics of inputs were read."""
        orders = (self.order_positions or {}) if self.tail is None else self.tail.positions()
        foreign = self.foreign_positions if self.foreign_tail is None else self.foreign_tail.positions()
        return {**orders, **foreign}

    def state(self, strategy_id: str) -> bytes:
        """A strategy's state as of the position.

        Raises:
            StrategyBroken: the type's state can't be stored.
        """
        state = self.host.state(strategy_id)
        included = self.inputs_included(self.position)
        return with_inputs(state, included) if included and self.host.sees_all(strategy_id) else state

    def with_inputs(self, config: StrategyConfig, state: bytes, offset: int) -> bytes:
        """A new revision's state at an offset, with the number of inputs recorded for it that went before."""
        included = self.inputs_included(offset)
        return with_inputs(state, included) if included and self.host.build.sees_all(config) else state

    def _enters(self, snapshot: Snapshot) -> tuple[int, int]:
        """The offset at which a stored strategy is loaded, and the number of inputs recorded for it that go before."""
        sees_all = self.host.build.sees_all(snapshot.config)
        return snapshot.next_offset, revision_state(snapshot.state).inputs if sees_all else 0

    @property
    def all_loaded(self) -> bool:
        """Whether every strategy with a snapshot is loaded."""
        return not self._to_load

    def changes(self, configs: Sequence[StrategyConfig], offset: int) -> Iterator[StrategyConfig]:
        """The configurations that take effect before `offset` is handled; none while new revisions have to wait."""
        if offset < self._new_revisions_from:
            return
        for config in configs:
            held = self.revisions.get(config.strategy_id)
            if held is None:
                here = self.restricted(config)
                if config.state is StrategyState.RUNNING and (here.instruments or here.flattens):
                    yield config
            elif config.revision > held:
                yield config

    @property
    def knows_no_frame(self) -> bool:
        """Whether no earlier frame is known, so that a repetition can't be recognised."""
        return not self._last_frame[0]

    def is_repeated(self, feed_run: str, sequence: int) -> bool:
        """Whether a frame was handled before; its publisher publishes it again if the log didn't acknowledge it.

        Handled twice, a frame would change the strategies' state twice, and make signals with the same ids and different
        contents.
        """
        return feed_run == self._last_frame[0] and sequence <= self._last_frame[1]

    def mark_handled(self, feed_run: str, sequence: int) -> None:
        """Records that a frame was handled."""
        if not self.is_repeated(feed_run, sequence):
            self._last_frame = (feed_run, sequence)

    def may_change(self, offset: int) -> bool:
        """Whether new revisions and order events may take effect at this offset."""
        return offset >= self._new_revisions_from

    def configure(self, config: StrategyConfig, replaced: int, state: bytes = b"") -> None:
        """Loads a revision in place of `replaced`. If it can't be loaded, it is marked to be stopped; the others continue."""
        self.revisions[config.strategy_id] = config.revision
        try:
            self.host.configure(self.restricted(config.after(replaced)), state)
        except (InvalidInput, StrategyBroken) as error:
            self.halts.append(
                Halt(config.strategy_id, config.revision, f"it can't be loaded: {error}", cause_id="")
            )
        self.readers = self.host.readers()

    def take_failures(self) -> None:
        """Collects the strategies' errors; marks strategies that failed too often to be stopped."""
        self.failed(self.host.take_failures())

    def failed(self, failures: Sequence[StrategyFailure]) -> None:
        """Adds failures; marks strategies that failed too often to be stopped."""
        for failure in failures:
            self.failures.append(failure)
            if failure.stopped:
                self.halts.append(Halt(failure.strategy_id, failure.revision, failure.why, failure.frame_id))

    @property
    def has_baskets(self) -> bool:
        """Whether a strategy that sees several instruments is loaded."""
        return bool(self.host.basket_tokens())

    @property
    def expects_baskets(self) -> bool:
        """Whether such a strategy is loaded, or will be when its snapshot is due."""
        return self.has_baskets or any(self.host.build.sees_all(each.config) for each in self._to_load)

    def restricted(self, config: StrategyConfig) -> StrategyConfig:
        """The configuration with only the instruments of this partition."""
        return restricted(config, self.host, self.number)


def restricted(config: StrategyConfig, host: StrategyHost, number: int) -> StrategyConfig:
    """The configuration with only the instruments of a partition: those whose ticks it has.

    A strategy that sees several instruments has all of them on the partition of its first one, and none elsewhere.
    """
    if host.build.sees_all(config) and config.instruments:
        at_home = shard_of(config.instruments[0].instrument_token) == number
        return config.restricted_to(lambda _: at_home)
    return config.restricted_to(lambda each: shard_of(each.instrument_token) == number)


def _has_pending_flattening(snapshot: Snapshot) -> bool:
    return is_fresh(snapshot.state) and snapshot.config.after(snapshot.replaced).flattens is not None
