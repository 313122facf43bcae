"""Applies order events to strategies that read their position, as inputs recorded between two ticks.

Order events and ticks arrive in no defined order, so the order is decided here and stored. Before a batch is handled, new
order events are stored with the offset of the batch's first record, under the partition's epoch; only then are they
applied. After a kill they are applied again before the same record. Records that were on the log when the partition was
assigned are handled with stored order events only, because the previous owner may have handled them without new ones. A
revision begins with the holdings of the previous one, or with those computed from all its events on the order topics; they
are part of the state that is stored with its activation.

A strategy that doesn't read its position has none of this cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from alphapanda.contract.order_wire import order_update_from
from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.domain.errors import InvalidInput
from alphapanda.eventlog.port import EventLog
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.holdings import after, state_of
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.revision_state import revision_state, with_holdings
from alphapanda.strategy.order_tail import PAYLOADS, OrderTail, history
from alphapanda.strategy.partition import TickPartition, restricted
from alphapanda.strategy.store.port import Memory, OrderInputs, Ownership, Snapshot, StrategyStore


class OrderReading:
    """Reads, records and applies order events for a process's strategies.

    Args:
        store: strategy's store.
        log: the log with the order topics.
        topic_map: the deployment's topics.
    """

    def __init__(self, store: StrategyStore, log: EventLog, topic_map: TopicMap) -> None:
        self._store = store
        self._log = log
        self._topic_map = topic_map

    async def apply_new(self, partition: TickPartition, offset: int) -> None:
        """Stores and then applies new order events, before a record is handled; requires that no signal is unpublished.

        Raises:
            LogUnavailable: the order topics can't be read now.
            OwnershipLost: the partition was taken over.
        """
        if not partition.may_change(offset):
            return
        partition.load_due(offset)
        tail = await self._tail(partition, offset)
        events = await tail.new_events(partition.readers)
        if events:
            await self._store.record_inputs(partition.owner, offset, events, partition.input_positions())
            tail.recorded()
            partition.apply(offset, events)

    async def with_holdings(
        self, partition: TickPartition, config: StrategyConfig, begins: Memory, offset: int
    ) -> Memory:
        """The state with which a revision begins; with its holdings, if the strategy reads its position."""
        here, host = partition.restricted(config), partition.host
        if not _reads(host, here):
            return begins
        keys = host.build.position_keys(here)
        held = host.holdings(config.strategy_id)
        if not all(key in held for key in keys):
            tail = await self._tail(partition, offset)
            events = await history(self._log, self._topic_map, here, tail.positions())
            held = after(keys, (order_update_from(event).order for event in events))
        return begins._replace(state=with_holdings(begins.state, state_of({key: held[key] for key in keys})))

    async def add_missing_holdings(
        self, owner: Ownership, host: StrategyHost, snapshots: Sequence[Snapshot], recorded: OrderInputs
    ) -> tuple[Sequence[Snapshot], OrderInputs]:
        """Adds holdings to snapshots that lack them, because the strategy's code has begun to read its position."""
        made = []
        for snapshot in snapshots:
            here = restricted(snapshot.config, host, owner.partition)
            if _reads(host, here) and revision_state(snapshot.state).holdings is None:
                topics = self._topic_map.topics(*PAYLOADS)
                ends = recorded.positions_on(topics) or await self._ends()
                events = await history(self._log, self._topic_map, here, ends)
                held = after(
                    host.build.position_keys(here), (order_update_from(event).order for event in events)
                )
                state = with_holdings(snapshot.state, state_of(held))
                memory = Memory(snapshot.config.revision, state)
                recorded = recorded._replace(positions={**(recorded.positions or {}), **ends})
                await self._store.record_inputs(owner, snapshot.next_offset, (), recorded.positions or {})
                await self._store.save(owner, snapshot.next_offset, {here.strategy_id: memory})
                made.append(Snapshot(snapshot.config, snapshot.next_offset, state, snapshot.replaced))
            else:
                made.append(snapshot)
        return made, recorded

    async def forget(self, partition: TickPartition) -> None:
        """Deletes recorded inputs that the new snapshots include."""
        tail = partition.tail
        if tail is None and partition.foreign_tail is None:
            return
        if (tail is None or not tail.has_unrecorded) and partition.all_loaded:
            await self._store.forget_inputs(partition.owner, partition.position, partition.input_positions())

    async def release(self, partition: TickPartition) -> None:
        """Stops reading order topics for a partition."""
        tail, partition.tail = partition.tail, None
        if tail is not None:
            await tail.stop()

    async def _tail(self, partition: TickPartition, offset: int) -> OrderTail:
        if partition.tail is None:
            if partition.order_positions is None:
                partition.order_positions = await self._ends()
                await self._store.record_inputs(partition.owner, offset, (), partition.input_positions())
            tail = OrderTail(self._log, self._topic_map, partition.order_positions)
            await tail.start()
            partition.tail = tail
        return partition.tail

    async def _ends(self) -> dict[TopicPartition, int]:
        return dict(await self._log.end_offsets(self._topic_map.topics(*PAYLOADS)))


def _reads(host: StrategyHost, here: StrategyConfig) -> bool:
    if here.state is not StrategyState.RUNNING or not here.instruments:
        return False
    try:
        return host.build.reads_position(here)
    except InvalidInput:  # configuring it raises the same error, which stops it
        return False
