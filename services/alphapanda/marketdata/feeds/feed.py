"""The interface of a feed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Protocol

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.marketdata.core.live.columns import LiveMessage
from alphapanda.marketdata.core.recorded.options import NO_OPTIONS, ReadingOptions
from alphapanda.marketdata.core.ticks import PRICE_SCALE, TickBatch
from alphapanda.marketdata.feeds.live_status import LiveStatus
from alphapanda.marketdata.feeds.pace import Pacer

if TYPE_CHECKING:
    from alphapanda.marketdata.feeds.kite import KiteSource


class MarketClockWouldGoBack(InvalidInput):
    """A recording begins before the data directory's market clock, which never goes back."""

    def __init__(self, files: str, begins_ns: int, clock_ns: int) -> None:
        super().__init__(
            "feed",
            files,
            f"it begins at {instant(begins_ns).isoformat()}, before this data directory's market clock"
            f" {instant(clock_ns).isoformat()}; name another folder with --data-dir, or start over with --fresh",
        )


@dataclass(frozen=True, slots=True)
class LastFrames:
    """The last published frames, from the log; if the log has none any more, from the price cache's clock.

    Attributes:
        feed_run: the last run.
        market_time_ns: its last market time, nanoseconds since the epoch.
        sequences: sequence of that run's last frame in every shard (0: none); empty if the log has no frame any more.
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
        feed_run: name of the run, the same for the same input.
        batches: its ticks; a batch without ticks only advances market time.
        frames_before: number of frames that each shard had before the first batch.
        price_scale: units of a price in one rupee.
        noted: rows of its input that were changed or left out, by reason.
        denied_firsts: a price near the true first one, of each instrument whose first price the next ones deny.
    """

    feed_run: str
    batches: AsyncIterator[TickBatch]
    frames_before: int = 0
    price_scale: int = PRICE_SCALE
    noted: Mapping[str, int] = field(default_factory=dict)
    denied_firsts: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run of a live feed, as messages.

    Attributes:
        feed_run: name of the run, new at each start.
        messages: what came, in order; several at once where they came faster than they were published.
        calendar: the sessions.
        owns_time: whether the exchange is a simulated one, whose timestamps alone are market time.
        market_time_ns: market time before the first message, nanoseconds since the epoch.
    """

    feed_run: str
    messages: AsyncIterator[Sequence[LiveMessage]]
    calendar: TradingCalendar
    owns_time: bool = False
    market_time_ns: int = 0


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A recorded run, whose frames are published as they were recorded.

    Attributes:
        feed_run: name of the run.
        frames: all frames of the run, in the order in which they were published.
    """

    feed_run: str
    frames: AsyncIterator[Frame]


class Feed(Protocol):
    """A source of ticks.

    Attributes:
        name: registered name.
        simulated: whether market time is the feed's own, not the wall clock's.
        heartbeats: whether each batch makes a frame for every shard, without ticks if need be.
        frame_by_frame: whether lockstep waits after each frame of a batch, so that what they cause is decided in the order of
            the frames, as `replay` decides it; otherwise after each batch, whose frames have one market time.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool]
    heartbeats: ClassVar[bool]
    frame_by_frame: ClassVar[bool]

    @property
    def lockstep(self) -> bool:
        """Whether it waits until everything that the previous frame (or batch) caused has been processed."""

    @property
    def pacer(self) -> Pacer:
        """Paces the feed, and tells what share of the wanted pace is reached."""

    @property
    def problem(self) -> str:
        """Why it doesn't bring what it should, in one line; empty where it does."""
        return ""

    def live(self) -> LiveStatus | None:
        """How a live feed is; None of any other."""
        return None

    def check(self) -> None:
        """Checks the feed's input as far as possible before anything is started.

        Raises:
            InvalidInput: the input can't be used.
        """

    async def stop(self) -> None:
        """Stops what it has started, once nobody reads its run any more."""

    def runs(self, last: LastFrames | None) -> AsyncIterator[FeedRun | RecordedRun | LiveRun]:
        """Yields its runs, one after the other, continuing after the last frames.

        Raises:
            InvalidInput: the input can't be used, or begins before the market's clock; raised before the first run.
        """


@dataclass(frozen=True, slots=True)
class FeedContext:
    """What a feed may need to be opened.

    Attributes:
        seed: seed of simulated prices.
        frame_interval_ms: market time between simulated frames.
        speed: market seconds per wall second, > 0; pace.MAX: as fast as possible; None: the feed's default.
        directory: the instruments.
        calendar: trading days and sessions.
        today: the current day in India, by the wall clock.
        reference_prices: start prices of simulated stocks, rupees by tradingsymbol.
        instrument: such as "NSE:INFY", for files that don't name their instrument.
        reading: what the user says about the files of a recording.
        shows_opens: whether a replay of bars has frames without ticks at the sessions' opens, so that orders can fill there.
        kite: what the live feed of Kite is made of; None where Zerodha isn't used.
    """

    seed: int
    frame_interval_ms: int
    directory: InstrumentDirectory
    calendar: TradingCalendar
    today: date
    reference_prices: Mapping[str, Decimal]
    speed: float | None = None
    instrument: str | None = None
    reading: ReadingOptions = NO_OPTIONS
    shows_opens: bool = False
    kite: KiteSource | None = None
