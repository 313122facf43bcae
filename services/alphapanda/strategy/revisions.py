"""The revisions of strategies that a process knows, and how a new one takes effect between two records.

Before the second record is handled, the store has an activation of the revision at that record's offset, in one transaction
with a snapshot of its first state. So a restart brings the revision into effect at the same offset with the same state.
"""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from alphapanda.contract.topics import TopicPartition, shard_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.bars import INTERVALS
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.isolator import StrategyBroken
from alphapanda.strategy.foreign_frames import ForeignFrames
from alphapanda.strategy.order_inputs import OrderReading
from alphapanda.strategy.partition import TickPartition
from alphapanda.strategy.store.port import Activation, Memory, StrategyStore
from alphapanda.strategy.warm_up_reader import WarmUpReader
from panda.events.v1.events_pb2 import Event


class StrategyRevisions:
    """Keeps the newest known revision of each strategy, and activates it on each partition.

    Args:
        store: strategy's store.
        tick_topic: the topic of the ticks.
        warm_up_reader: warms a revision up on ticks that the log has.
        orders: reads order events for strategies that read their position.
        foreign: reads other partitions' frames for strategies that see several instruments.
        logger: logs changes that are ignored, and warm-ups that begin.
    """

    def __init__(
        self,
        store: StrategyStore,
        tick_topic: str,
        warm_up_reader: WarmUpReader,
        orders: OrderReading,
        foreign: ForeignFrames,
        logger: FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._tick_topic = tick_topic
        self._warm_up_reader = warm_up_reader
        self._orders = orders
        self._foreign = foreign
        self._logger = logger
        self._configs: dict[str, StrategyConfig] = {}
        self._generation = 0

    async def on_changed(self, event: Event) -> None:
        """Receives a change; it takes effect at the beginning of each partition's next batch.

        The configuration is read from the store, which has it before the event is published. A revision that the store
        doesn't have belongs to another database; it is ignored.
        """
        changed = event.strategy_changed
        if self.knows(changed.strategy_id, changed.revision):
            return
        stored = await self._store.get(changed.strategy_id)
        if stored is None or stored.config.revision < changed.revision:
            self._logger.error(
                "strategy.change_ignored",
                strategy_id=changed.strategy_id,
                revision=changed.revision,
            )
            return
        self.add(stored.config)

    def knows(self, strategy_id: str, revision: int) -> bool:
        """Whether this revision, or a later one, was received and takes effect with the next batch."""
        known = self._configs.get(strategy_id)
        return known is not None and known.revision >= revision

    def running(self) -> frozenset[str]:
        """Strategies that run, or will run from the next batch on."""
        return frozenset(c.strategy_id for c in self._configs.values() if c.state is StrategyState.RUNNING)

    def watched(self) -> dict[str, list[int]]:
        """The instrument tokens of each strategy that runs, or will run from the next batch on."""
        running = [one for one in self._configs.values() if one.state is StrategyState.RUNNING]
        return {one.strategy_id: [each.instrument_token for each in one.instruments] for one in running}

    def bar_length(self, strategy_id: str) -> int:
        """Length of a strategy's bars, nanoseconds; 0 where it is on ticks or unknown, or its bars are days."""
        config = self._configs.get(strategy_id)
        return INTERVALS.get(config.parameters.get("interval", ""), 0) if config else 0

    def add(self, config: StrategyConfig) -> None:
        """Adds a configuration unless it, or a later revision, is known; it takes effect with each partition's next batch."""
        if not self.knows(config.strategy_id, config.revision):
            self._configs[config.strategy_id] = config
            self._generation += 1

    async def apply(self, partition: TickPartition, offset: int) -> None:
        """Records new revisions at the offset and applies them; requires that no signal is unpublished."""
        generation = self._generation
        if partition.applied == generation or not partition.may_change(offset):
            return
        partition.load_due(offset)
        configs = [self._configs[strategy_id] for strategy_id in sorted(self._configs)]
        while changes := list(partition.changes(configs, offset)):
            await self._load_previous_frame(partition, offset)
            for config in changes:
                await self._activate(partition, config, offset)
        partition.applied = generation

    async def _load_previous_frame(self, partition: TickPartition, offset: int) -> None:
        """Reads the previous frame if none was replayed, so that a repetition of it is recognised."""
        if not partition.knows_no_frame or not offset:
            return
        frame = await self._warm_up_reader.frame_before(
            TopicPartition(self._tick_topic, partition.number), offset
        )
        if frame is not None:
            partition.mark_handled(frame.feed_run, frame.sequence)

    async def _activate(self, partition: TickPartition, newest: StrategyConfig, offset: int) -> None:
        # A revision whose recording failed goes first: the store may have it in spite of the error.
        config = partition.activating.setdefault(newest.strategy_id, newest)
        activation = Activation(config.strategy_id, config.revision, partition.number, offset)
        warmed = await self._orders.with_holdings(
            partition, config, await self._warmed(partition, config, offset), offset
        )
        warmed = warmed._replace(state=partition.with_inputs(config, warmed.state, offset))
        await self._store.activate(partition.owner, activation, warmed)
        partition.configure(config, partition.revisions.get(config.strategy_id, 0), warmed.state)
        del partition.activating[config.strategy_id]

    async def _warmed(self, partition: TickPartition, config: StrategyConfig, offset: int) -> Memory:
        """Warms a revision up. The state is stored with its activation, so that a restart begins with the same."""
        here = partition.restricted(config)
        if config.state is not StrategyState.RUNNING or not here.instruments:
            return Memory(config.revision)
        try:
            ends = {TopicPartition(self._tick_topic, partition.number): offset}
            if partition.host.build.sees_all(here):
                read = (await self._foreign.tail(partition)).positions()
                others = {shard_of(each.instrument_token) for each in here.instruments} - {partition.number}
                ends |= {at: end for at, end in read.items() if at.partition in others}
                await self._store.record_inputs(partition.owner, offset, (), partition.input_positions())
            made = await self._warm_up_reader.warmed(ends, here)
        except (InvalidInput, StrategyBroken):
            return Memory(config.revision)  # configuring it raises the same error, which stops it
        partition.failed(made.failures)
        if made.missing > 1:
            self._logger.info(
                "strategy.warm_up_began",
                strategy_id=config.strategy_id,
                revision=config.revision,
                missing=made.missing,
            )
        return Memory(config.revision, made.state, made.missing)
