"""The simulated feed: simulates one trading day after another, at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import ClassVar, Final

import structlog
from typing_extensions import override

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import SECOND_NS, instant
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.pace import REAL
from alphapanda.marketdata.core.simulated_days import SimulatedRun, first_simulated_day, following_day
from alphapanda.marketdata.core.simulator import SimulatedDay, stocks_of_day
from alphapanda.marketdata.core.ticks import PRICE_SCALE, TickBatch
from alphapanda.marketdata.feeds.feed import Feed, FeedContext, FeedRun, LastFrames
from alphapanda.marketdata.feeds.pace import Pacer

logger: Final = structlog.get_logger(__name__)

_EXCHANGE: Final = "NSE"
"""The exchange whose shipped stocks are simulated; imported ones of another may have the same names."""
_HEARTBEAT_SECONDS: Final = 1.0


class SimulatedFeed(Feed):
    """Simulates a market. Outside sessions its clock jumps to the next open.

    Args:
        seed: seed of the simulated prices.
        interval_ms: market time between steps.
        speed: market seconds per wall second, > 0; above 1 it moves in lockstep, at most at this speed.
        directory: the instruments; those with a reference price are simulated.
        reference_prices: start prices, rupees by tradingsymbol.
        calendar: trading days and sessions.
        today: the simulation starts on this day, or on the next trading day.
        sleep: waits a number of wall seconds.
        monotonic: returns seconds of a monotonic clock.
    """

    name: ClassVar[str] = "sim"
    simulated: ClassVar[bool] = True
    heartbeats: ClassVar[bool] = True
    frame_by_frame: ClassVar[bool] = False

    def __init__(
        self,
        seed: int,
        interval_ms: int,
        speed: float,
        directory: InstrumentDirectory,
        reference_prices: Mapping[str, Decimal],
        calendar: TradingCalendar,
        today: date,
        sleep: Callable[[float], Awaitable[None]],
        monotonic: Callable[[], float],
    ) -> None:
        self._seed = seed
        self._interval_ns = interval_ms * 1_000_000
        self._lockstep = speed > REAL
        self._directory = directory
        self._reference_prices = reference_prices
        self._calendar = calendar
        self._today = today
        self._sleep = sleep
        self._pacer = Pacer(speed, sleep, monotonic)

    @classmethod
    def open(cls, argument: str, context: FeedContext) -> SimulatedFeed:
        """Opens the feed; it takes no argument.

        Raises:
            InvalidInput: an argument was given.
        """
        if argument:
            raise InvalidInput("feed", f"sim:{argument}", "sim, without an argument")
        return cls(
            context.seed,
            context.frame_interval_ms,
            REAL if context.speed is None else context.speed,
            context.directory,
            context.reference_prices,
            context.calendar,
            context.today,
            asyncio.sleep,
            lambda: asyncio.get_running_loop().time(),
        )

    @property
    @override
    def lockstep(self) -> bool:
        return self._lockstep

    @property
    @override
    def pacer(self) -> Pacer:
        return self._pacer

    @override
    def check(self) -> None:
        """Does nothing: the feed has no input."""

    @override
    async def stop(self) -> None:
        """Does nothing: it has started nothing."""

    @override
    async def runs(self, last: LastFrames | None) -> AsyncIterator[FeedRun]:
        """Yields a run for each day. The day of the last frames continues after the last step that all shards have."""
        run = self._first_run(last)
        prices = self._prices_before(run)
        made = None if last is None or last.feed_run != run.feed_run else last
        while True:
            day = self._day(run.day, prices)
            steps_made = _steps_made(day, made)
            following = following_day(self._calendar, run.day)
            if steps_made < day.steps or following is None:
                last_day = following is None
                batches = self._batches(day, steps_made, last_day=last_day)
                yield FeedRun(run.feed_run, batches, steps_made)
            if following is None:
                return
            run = SimulatedRun(run.seed, run.first_day, following)
            prices = day.closing_prices()
            made = None

    def _first_run(self, last: LastFrames | None) -> SimulatedRun:
        if last is not None:
            played = SimulatedRun.of(last.feed_run)
            if played is not None and played.seed == self._seed:
                return played
        day = first_simulated_day(self._calendar, self._today)
        if not self._calendar.covers(self._today):
            logger.warning("calendar.today_missing", today=str(self._today), simulated_day=str(day))
        if last is not None:
            clock_day = self._calendar.trading_day(instant(last.market_time_ns))
            if day <= clock_day:
                day = self._day_after(clock_day)
        return SimulatedRun(self._seed, day, day)

    def _day_after(self, clock_day: date) -> date:
        following = following_day(self._calendar, clock_day)
        if following is None:
            raise InvalidInput(
                "feed",
                self.name,
                f"the trading calendar ends with {self._calendar.last_covered_day} and this data directory's market"
                f" clock is at {clock_day}; name another folder with --data-dir, or start over with --fresh",
            )
        return following

    def _prices_before(self, run: SimulatedRun) -> Mapping[int, int]:
        """The start prices of the run's day: each day after the first begins where the previous one ended."""
        by_symbol = self._reference_prices
        prices: Mapping[int, int] = {
            instrument.instrument_token: int(by_symbol[instrument.tradingsymbol] * PRICE_SCALE)
            for instrument in self._directory
            if instrument.exchange == _EXCHANGE
            and instrument.tradable
            and instrument.tradingsymbol in by_symbol
        }
        day = run.first_day
        while day < run.day:
            prices = self._day(day, prices).closing_prices()
            following = following_day(self._calendar, day)
            if following is None:
                break
            day = following
        return prices

    def _day(self, day: date, prices: Mapping[int, int]) -> SimulatedDay:
        stocks = stocks_of_day(self._calendar, day, list(self._directory), prices)
        return SimulatedDay(self._seed, day, stocks, self._interval_ns)

    async def _batches(
        self, day: SimulatedDay, steps_made: int, *, last_day: bool
    ) -> AsyncIterator[TickBatch]:
        for number in range(steps_made + 1, day.steps + 1):
            await self._pacer.step(self._interval_ns / SECOND_NS)
            yield day.step(number)
        if last_day:
            logger.warning(
                "calendar.ended", message="no further trading day is known, so the market stays closed"
            )
            closed = TickBatch(day.step(day.steps).market_time_ns, ())
            while True:
                await self._sleep(_HEARTBEAT_SECONDS)
                yield closed


def _steps_made(day: SimulatedDay, last: LastFrames | None) -> int:
    if last is None:
        return 0
    if last.sequences:
        return min(last.sequences.values())
    return day.steps_until(last.market_time_ns)
