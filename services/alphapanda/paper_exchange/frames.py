"""Shows the paper exchange the frames of the log, from before an order comes that waits until none waits any more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.contract.wire import frame_from
from alphapanda.domain.frame import Frame
from alphapanda.eventlog.decode import Unreadable, from_record
from alphapanda.eventlog.port import EventLog, StoredRecord
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.tasks import kept_running

_PAYLOAD: Final = "tick_frame"
_REREAD_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 10.0
_MOST_RECORDS: Final = 256
_log = structlog.get_logger(__name__)


class Waiting(Protocol):
    """Lets the orders that wait meet the market, and makes the engine know of it."""

    in_lockstep: bool

    async def see(self, frame: Frame) -> None:
        """Lets them meet the ticks of a frame."""

    async def step(self) -> bool:
        """Lets one of them meet the present prices; returns whether it has changed."""


class PaperFrames:
    """Follows the frames while an order waits at the paper exchange: the exchange's own consumer, without a group.

    In lockstep it does nothing: there the publisher shows each frame before all else.

    Args:
        exchange: the paper exchange.
        orders: lets the orders meet the frames, and drives them.
        log: the log.
        topic_map: the deployment's topics.
    """

    name = "paper exchange"

    def __init__(self, exchange: PaperExchange, orders: Waiting, log: EventLog, topic_map: TopicMap) -> None:
        self._exchange = exchange
        self._orders = orders
        self._log = log
        self._topic_map = topic_map
        self._topics = topic_map.topics(_PAYLOAD)
        self._next: Mapping[TopicPartition, int] | None = None
        self._beginning = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins, with the orders that wait from before."""
        if self._orders.in_lockstep:
            return
        self._exchange.will_wait = self.begin
        self._task = kept_running(self._run, self.name, _log)

    async def stop(self) -> None:
        """Stops following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def begin(self) -> None:
        """Follows from here on: called before an order comes that may wait, so that it meets every price after it.

        Raises:
            LogUnavailable: the log can't be reached; the order didn't come.
        """
        async with self._beginning:
            if self._next is None:
                self._next = await self._log.end_offsets(self._topics)
        self._wanted.set()

    async def _run(self) -> None:
        """Follows the frames in spells; between them it looks now and then whether another process took an order."""
        await self._reread()
        while True:
            if self._next is not None:
                await self._follow(self._next)
                continue
            try:
                async with asyncio.timeout(_REREAD_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                await self._reread()

    async def _reread(self) -> None:
        """Reads the orders that wait anew; if there are any, it begins to follow, at the present prices."""
        await self._exchange.reread()
        if self._exchange.holds and self._next is None:
            await self.begin()
            while await self._orders.step():
                pass

    async def _follow(self, start: Mapping[TopicPartition, int]) -> None:
        """Shows the frames from these offsets on, until no order has waited for a while."""
        now = asyncio.get_running_loop().time
        reader = self._log.topic_reader(self._topics, start)
        await reader.start()
        reread_at, waited_at = now() + _REREAD_SECONDS, now()
        try:
            while self._exchange.holds or self._wanted.is_set() or now() - waited_at < _IDLE_SECONDS:
                if self._exchange.holds or self._wanted.is_set():
                    waited_at = now()
                self._wanted.clear()
                for record in await reader.fetch(_MOST_RECORDS, _REREAD_SECONDS):
                    await self._show(record)
                self._next = {at: reader.position(at) for at in start}
                if now() >= reread_at:
                    await self._exchange.reread()
                    reread_at = now() + _REREAD_SECONDS
            self._next = None
        finally:
            await reader.stop()

    async def _show(self, record: StoredRecord) -> None:
        if not self._exchange.holds:
            return
        try:
            event = from_record(record, self._topic_map)
        except Unreadable as unreadable:
            _log.error(
                "paper_exchange.frame_unreadable",
                alarm=True,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=in_one_line(unreadable),
            )
            return
        await self._orders.see(frame_from(event.tick_frame))
