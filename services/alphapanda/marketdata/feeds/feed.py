"""What a feed is."""

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
    """A recording that begins before the data directory's market clock."""

    def __init__(self, files: str, begins_ns: int, clock_ns: int) -> None:
        super().__init__(
            "feed",
            files,
            f"it begins at {instant(begins_ns).isoformat()}, before this data directory's market clock"
            f" {instant(clock_ns).isoformat()}; name another folder with --data-dir, or start over with --fresh",
        )


@dataclass(frozen=True, slots=True)
class LastFrames:
    """Where the market stood when the data directory was last used.

    Attributes:
        feed_run: run that was fed last.
        market_time_ns: market time then, nanoseconds since the epoch.
        sequences: sequence of that run's last frame, for every shard (0: none); empty where the log has no frame
            any more.
    """

    feed_run: str
    market_time_ns: int
    sequences: Mapping[int, int] = field(default_factory=dict)

    def holds(self, frame: Frame) -> bool:
        """Whether a frame of this run was fed before."""
        if self.sequences:
            return frame.sequence <= self.sequences[frame.shard]
        return frame.market_time_ns <= self.market_time_ns


@dataclass(frozen=True, slots=True)
class FeedRun:
    """A run of a feed: what is fed under one name.

    Attributes:
        feed_run: its name, the same for the same input.
        batches: what it gives; a batch without ticks moves market time.
        made_before: frames that each shard has had before the first of these batches.
        price_scale: units of a price in one rupee.
    """

    feed_run: str
    batches: AsyncIterator[TickBatch]
    made_before: int = 0
    price_scale: int = PRICE_SCALE


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run whose frames were made before: they are fed as they are.

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
        lockstep: whether the next frame waits until everything the last one caused is done.
        heartbeats: whether each batch gives every shard a frame.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool]
    heartbeats: ClassVar[bool]

    @property
    def lockstep(self) -> bool:
        """See above."""

    @property
    def resting(self) -> bool:
        """Whether it waits for its pace now, so that no frame is due."""

    def check(self) -> None:
        """Looks at its input as far as that can be done before anything is started.

        Raises:
            InvalidInput: it can't be used.
        """

    def runs(self, last: LastFrames | None) -> AsyncIterator[FeedRun | RecordedRun]:
        """Its runs, one after the other, going on after what was fed last.

        Raises:
            InvalidInput: its input can't be used, or lies before the market's clock. Raised before the first run.
        """


@dataclass(frozen=True, slots=True)
class FeedContext:
    """What a feed may need to be opened.

    Attributes:
        seed: of what is made up.
        frame_interval_ms: market time between made-up frames.
        speed: market seconds in a wall second, > 0, pace.MAX for as fast as it goes; None leaves it to the feed.
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
