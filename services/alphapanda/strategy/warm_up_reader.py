"""Reads earlier ticks from the log for a strategy's warm-up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from alphapanda.contract.topics import TopicMap, TopicPartition
from alphapanda.contract.wire import frame_from
from alphapanda.domain.frame import Frame
from alphapanda.eventlog.decode import Unreadable, from_record
from alphapanda.eventlog.port import EventLog
from alphapanda.strategy.core.config import StrategyConfig
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.warm_up import Warmed, narrowed, warmed
from alphapanda.strategy.earlier_bars import EarlierBars

MAX_RECORDS = 20_000
_FIRST_RECORDS = 256
_WIDER = 4
_FETCH = 500
_WAIT_SECONDS = 1.0
_EARLIER_DAYS = (5, 60)
"""Days of bars that are asked for, one after the other; a broker gives 60 days of minutes at once."""


class WarmUpReader:
    """Warms strategies up on the records before an offset.

    It reads from further and further back until the strategy has enough ticks: at most `MAX_RECORDS` records, or as many
    as retention has kept.

    Args:
        log: the log.
        topic_map: the deployment's topics.
        new_host: makes an empty host.
        earlier: bars of the past, for a strategy on bars for which the log doesn't reach back; None: it waits for its bars.
        now_ns: returns the time before which they are asked for where the log has no frame, nanoseconds since the epoch.
    """

    def __init__(
        self,
        log: EventLog,
        topic_map: TopicMap,
        new_host: Callable[[], StrategyHost],
        earlier: EarlierBars | None = None,
        now_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._log = log
        self._topic_map = topic_map
        self._new_host = new_host
        self._earlier = earlier
        self._now_ns = now_ns

    async def warmed(self, ends: Mapping[TopicPartition, int], config: StrategyConfig) -> Warmed:
        """Makes the state with which a configuration begins that takes effect at an offset.

        Args:
            ends: the offset at which it takes effect, by partition that has its instruments. Frames of several partitions
                are handled in the order of market time.
            config: the configuration.

        Raises:
            InvalidInput: the type, a parameter or an instrument doesn't exist.
            StrategyBroken: the type's own code raised.
            LogUnavailable: the log can't be read now.
        """
        tokens = frozenset(each.instrument_token for each in config.instruments)
        length = _FIRST_RECORDS
        made = warmed(self._new_host(), config, ())
        frames: list[Frame] = []
        while not made.complete:
            firsts = {at: max(offset - length, 0) for at, offset in ends.items()}
            frames = [
                narrowed(frame, tokens)
                for at, offset in ends.items()
                async for frame in self._frames(at, firsts[at], offset)
            ]
            frames.sort(key=lambda frame: frame.market_time_ns)
            made = warmed(self._new_host(), config, frames)
            if not any(firsts.values()) or length >= MAX_RECORDS:
                break
            length = min(length * _WIDER, MAX_RECORDS)
        return made if made.complete or not made.on_bars else await self._with_earlier(config, frames, made)

    async def _with_earlier(self, config: StrategyConfig, frames: Sequence[Frame], made: Warmed) -> Warmed:
        """The same with bars from before the log's frames, from further and further back."""
        if self._earlier is None:
            return made
        before_ns = frames[0].market_time_ns if frames else self._now_ns()
        for days in _EARLIER_DAYS:
            bars = await self._earlier.frames(config.instruments, before_ns, days)
            if not bars:
                break
            made = warmed(self._new_host(), config, [*bars, *frames])
            if made.complete:
                break
        return made

    async def frame_before(self, at: TopicPartition, offset: int) -> Frame | None:
        """The frame of the record before an offset; None if the record is gone or unreadable.

        Raises:
            LogUnavailable: the log can't be read now.
        """
        frames = [frame async for frame in self._frames(at, max(offset - 1, 0), offset)]
        return frames[-1] if frames else None

    async def _frames(self, at: TopicPartition, first: int, end: int) -> AsyncIterator[Frame]:
        """The frames of a partition, each once, even if the log has one twice."""
        starts = dict(await self._log.end_offsets([at.topic])) | {at: first}
        reader = self._log.topic_reader([at.topic], starts)
        await reader.start()
        last = ("", 0)
        try:
            while reader.position(at) < end:
                for record in await reader.fetch(_FETCH, _WAIT_SECONDS):
                    if record.partition != at.partition or record.offset >= end:
                        continue
                    try:
                        frame = frame_from(from_record(record, self._topic_map).tick_frame)
                    except Unreadable:
                        continue  # its consumer has dead-lettered it
                    if frame.feed_run != last[0] or frame.sequence > last[1]:
                        last = (frame.feed_run, frame.sequence)
                        yield frame
        finally:
            await reader.stop()
