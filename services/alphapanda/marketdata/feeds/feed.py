"""The interface of a feed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import ClassVar, Protocol

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.ticks import PRICE_SCALE, TickBatch


class MarketClockWouldGoBack(InvalidInput):
    """A recording begins before the data directory's market clock."""

    def __init__(self, files: str, begins_ns: int, clock_ns: int) -> None:
        super().__init__(
            "feed",
            files,
            f"it begins at {instant(begins_ns).isoformat()}, before this data directory's market clock"
            f" {instant(clock_ns).isoformat()}; name another folder with --data-dir, or start over with --fresh",
        )


@dataclass(frozen=True, slots=True)
class LastFrames:
    """The last frames on the log, or the price cache's clock where the log has none any more.

    Attributes:
        feed_run: the last run.
        market_time_ns: its last market time, nanoseconds since the epoch.
        sequences: sequence of that run's last frame, for every shard (0: none); empty where the log has no frame
            any more.
    """

    feed_run: str
    market_time_ns: int
    sequences: Mapping[int, int] = field(default_factory=dict)

    def holds(self, frame: Frame) -> bool:
        """Whether a frame of this run was published before."""
        if self.sequences:
            return frame.sequence <= self.sequences[frame.shard]
        return frame.market_time_ns <= self.market_time_ns


@dataclass(frozen=True, slots=True)
class FeedRun:
    """A run of a feed, as batches of ticks.

    Attributes:
        feed_run: its name, the same for the same input.
        batches: its ticks; a batch without ticks moves market time.
        made_before: frames that each shard had before the first of these batches.
        price_scale: units of a price in one rupee.
    """

    feed_run: str
    batches: AsyncIterator[TickBatch]
    made_before: int = 0
    price_scale: int = PRICE_SCALE


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A recorded run: its frames are published as they are.

    Attributes:
        feed_run: its name.
        frames: in the order they were published, all of this run.
    """

    feed_run: str
    frames: AsyncIterator[Frame]


class Feed(Protocol):
    """A source of ticks.

    Attributes:
        name: under which it is registered.
        simulated: whether it owns its market time.
        heartbeats: whether each batch makes a frame for every shard.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool]
    heartbeats: ClassVar[bool]

    @property
    def lockstep(self) -> bool:
        """Whether the next frame waits until everything the last one caused is done."""

    @property
    def resting(self) -> bool:
        """Whether it is waiting for its pace, so that no frame is due."""

    def check(self) -> None:
        """Checks its input as far as possible before anything is started.

        Raises:
            InvalidInput: it can't be used.
        """

    def runs(self, last: LastFrames | None) -> AsyncIterator[FeedRun | RecordedRun]:
        """Its runs, one after the other, continuing after the last frames.

        Raises:
            InvalidInput: its input can't be used, or is earlier than the market's clock. Raised before the first run.
        """


@dataclass(frozen=True, slots=True)
class FeedContext:
    """What a feed may need to be opened.

    Attributes:
        seed: of simulated prices.
        frame_interval_ms: market time between simulated frames.
        speed: market seconds in a wall second, > 0, pace.MAX for as fast as possible; None is the feed's default.
        directory: the known instruments.
        calendar: trading days.
        today: the day in India, by the wall clock.
        reference_prices: where a made-up stock starts, rupees by tradingsymbol.
        instrument: "NSE:INFY", for files that don't name theirs.
    """

    seed: int
    frame_interval_ms: int
    directory: InstrumentDirectory
    calendar: TradingCalendar
    today: date
    reference_prices: Mapping[str, Decimal]
    speed: float | None = None
    instrument: str | None = None
