"""One partition of the ticks: its strategies, its position and what is still to be published."""

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
from alphapanda.strategy.core.remembered import is_fresh
from alphapanda.strategy.core.watching import StrategyFailure
from alphapanda.strategy.order_tail import OrderTail
from alphapanda.strategy.store.port import OrderInputs, Ownership, Snapshot
from panda.events.v1.events_pb2 import Event


class LogBehindSnapshot(Exception):
    """A stored state is past the end of the log: database and log don't belong together."""


@dataclass(frozen=True, slots=True)
class Halt:
    """A strategy to be stopped, and why; `cause_id` is the id of the frame that caused it, or empty."""

    strategy_id: str
    revision: int
    why: str
    cause_id: str


class TickPartition:
    """The state of one partition while this process holds it.

    A strategy joins the host at the offset of its snapshot, so that it sees no tick twice and misses none, even where the
    partition is read from further back for another strategy. New revisions wait until everything that was on the log when
    the partition was taken over has been handled: the previous owner may have handled that under the old revision.

    Args:
        owner: the partition, and the epoch under which this process owns it.
        host: empty.
        snapshots: what is stored for the partition.
        recorded: the stored order events of its strategies.
        begins: offset of the next record, unless a snapshot needs an earlier one.
        end: end of the partition's log when it was taken over.

    Raises:
        LogBehindSnapshot: a snapshot is past the end.

    Attributes:
        position: offset of the next record to handle.
        unpublished: signals of handled records that the log hasn't acknowledged.
        halts: strategies that are to be stopped in the store.
        failures: what strategies raised and was not logged yet.
        applied: generation of the configurations that were applied last.
        saved: position and (monotonic) time of the last snapshot.
        begun: revisions that are being recorded, by strategy.
        readers: configurations of the strategies that read their position.
        order_positions: stored positions in the order topics; None where nothing was read for this partition.
        tail: reads the order topics for `readers`; None while there are none.
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
        self.begun: dict[str, StrategyConfig] = {}
        self.readers: Sequence[StrategyConfig] = ()
        self.order_positions = recorded.positions
        self.tail: OrderTail | None = None
        self._recorded = deque(recorded.inputs)
        self._last_frame = ("", 0)
        self.revisions = {snapshot.config.strategy_id: snapshot.config.revision for snapshot in snapshots}
        self._entering = [
            s for s in snapshots if s.config.state is StrategyState.RUNNING or _still_flattens(s)
        ]
        # Where nothing is stored, no process before had a strategy on this partition.
        self._new_revisions_from = end if snapshots else begins
        self.position = min([snapshot.next_offset for snapshot in self._entering], default=begins)
        self.replays = bool(self._entering)
        self.saved = (self.position, 0.0)
        for snapshot in snapshots:
            if snapshot.next_offset > end:
                raise LogBehindSnapshot(
                    f"strategy {snapshot.config.strategy_id!r} has seen partition {self.number} up to offset"
                    f" {snapshot.next_offset}, but the log ends at {end}: database and log don't belong together"
                )

    def enter(self, offset: int) -> None:
        """Loads the strategies whose snapshots end at or before the next record, and replays recorded order events."""
        while True:
            enters = self._entering[0].next_offset if self._entering else offset + 1
            recorded = self._recorded[0].next_offset if self._recorded else offset + 1
            if min(enters, recorded) > offset:
                return
            if enters <= recorded:
                snapshot = self._entering.pop(0)
                self.configure(snapshot.config, snapshot.replaced, snapshot.state)
            else:
                self.apply_orders([self._recorded.popleft().event])

    def apply_orders(self, events: Iterable[Event]) -> None:
        """Applies order events to what strategies hold."""
        for event in events:
            self.host.on_order(order_update_from(event).order)

    @property
    def all_loaded(self) -> bool:
        """Whether every strategy that has a snapshot is loaded."""
        return not self._entering

    def changes(self, configs: Sequence[StrategyConfig], offset: int) -> Iterator[StrategyConfig]:
        """The configurations that must take effect before `offset` is handled; none while it is too early."""
        if offset < self._new_revisions_from:
            return
        for config in configs:
            held = self.revisions.get(config.strategy_id)
            if held is None:
                here = self.here(config)
                if config.state is StrategyState.RUNNING and (here.instruments or here.flattens):
                    yield config
            elif config.revision > held:
                yield config

    @property
    def saw_nothing(self) -> bool:
        """Whether no earlier frame is known, so that a repetition could not be recognised."""
        return not self._last_frame[0]

    def repeats(self, feed_run: str, sequence: int) -> bool:
        """Whether a frame was handled before: its publisher sends it again where the log didn't acknowledge it.

        Handled twice, a frame would change the strategies' state twice, and its signals would have the same ids with other
        contents.
        """
        return feed_run == self._last_frame[0] and sequence <= self._last_frame[1]

    def saw(self, feed_run: str, sequence: int) -> None:
        """Records that a frame was handled."""
        if not self.repeats(feed_run, sequence):
            self._last_frame = (feed_run, sequence)

    def may_change(self, offset: int) -> bool:
        """Whether new revisions may take effect at this offset."""
        return offset >= self._new_revisions_from

    def configure(self, config: StrategyConfig, replaced: int, state: bytes = b"") -> None:
        """Replaces revision `replaced`; one that can't be loaded is to be stopped, the others continue."""
        self.revisions[config.strategy_id] = config.revision
        try:
            self.host.configure(self.here(config.after(replaced)), state)
        except (InvalidInput, StrategyBroken) as error:
            self.halts.append(
                Halt(config.strategy_id, config.revision, f"it can't be loaded: {error}", cause_id="")
            )
        self.readers = self.host.readers()

    def take_failures(self) -> None:
        """Collects what strategies raised; those that failed too often are to be stopped."""
        self.failed(self.host.take_failures())

    def failed(self, failures: Sequence[StrategyFailure]) -> None:
        """Adds failures; strategies that failed too often are to be stopped."""
        for failure in failures:
            self.failures.append(failure)
            if failure.stopped:
                self.halts.append(Halt(failure.strategy_id, failure.revision, failure.why, failure.frame_id))

    def here(self, config: StrategyConfig) -> StrategyConfig:
        """The configuration with the instruments whose ticks are in this partition."""
        return config.here(lambda each: shard_of(each.instrument_token) == self.number)


def _still_flattens(snapshot: Snapshot) -> bool:
    return is_fresh(snapshot.state) and snapshot.config.after(snapshot.replaced).flattens is not None
