"""One partition of the ticks: its strategies, its position, its unpublished signals."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alphapanda.contract.order_wire import order_update_from
from alphapanda.contract.topics import shard_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.signal import Signal
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.isolator import StrategyBroken
from alphapanda.strategy.core.revision_state import is_fresh
from alphapanda.strategy.core.watching import StrategyFailure
from alphapanda.strategy.order_tail import OrderTail
from alphapanda.strategy.store.port import OrderInputs, Ownership, Snapshot
from panda.events.v1.events_pb2 import Event


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
        recorded: the stored order events of its strategies.
        begins: offset of the next record, unless a snapshot needs an earlier one.
        end: end of the partition's log at the take-over.

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
    """

    def __init__(
        self,
        owner: Ownership,
        host: StrategyHost,
        snapshots: Sequence[Snapshot],
        recorded: OrderInputs,
        begins: int,
        end: int,
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
        self.order_positions = recorded.positions
        self.tail: OrderTail | None = None
        self._recorded = deque(recorded.inputs)
        self._last_frame = ("", 0)
        self.revisions = {snapshot.config.strategy_id: snapshot.config.revision for snapshot in snapshots}
        self._to_load = [
            s for s in snapshots if s.config.state is StrategyState.RUNNING or _has_pending_flattening(s)
        ]
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
        """Loads strategies, and applies recorded order events, that are due before the record at this offset."""
        while True:
            enters = self._to_load[0].next_offset if self._to_load else offset + 1
            recorded = self._recorded[0].next_offset if self._recorded else offset + 1
            if min(enters, recorded) > offset:
                return
            if enters <= recorded:
                snapshot = self._to_load.pop(0)
                self.configure(snapshot.config, snapshot.replaced, snapshot.state)
            else:
                self.apply_orders([self._recorded.popleft().event])

    def apply_orders(self, events: Iterable[Event]) -> None:
        """Applies order events to the strategies' holdings."""
        for event in events:
            self.host.on_order(order_update_from(event).order)

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

    def restricted(self, config: StrategyConfig) -> StrategyConfig:
        """The configuration with only the instruments whose ticks are in this partition."""
        return config.restricted_to(lambda each: shard_of(each.instrument_token) == self.number)


def _has_pending_flattening(snapshot: Snapshot) -> bool:
    return is_fresh(snapshot.state) and snapshot.config.after(snapshot.replaced).flattens is not None
