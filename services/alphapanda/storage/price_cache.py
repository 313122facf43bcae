"""Last prices and the market's clock in Redis: written by marketdata, read with one command by risk and trading (rule 9).

Keys: `instrument:price:{token}` = "price|scale|traded_at_ns|volume|bar_start_ns|open|high|low" (prices in 1/scale rupees; volume
may be empty, and so may a recorded bar's start and open; high and low are only there with a bar, and earlier versions leave them out;
where the paper exchange has circuit limits, all of them are there, empty or not, and "|day|first" follows: the day's first price);
`market:clock` = "feed_run|market_time_ns|wall_time_ns|simulated|frame_id". Nothing is replaced by what is older in market time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

from redis.asyncio import Redis
from typing_extensions import override

from alphapanda.domain.first_prices import FirstPrices
from alphapanda.domain.frame import Frame, instant, nanoseconds
from alphapanda.domain.market import BarOpen, LastPrice, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.resilience.budgets import within
from alphapanda.storage.kill_switch_mirror import KEY as KILL_SWITCH_KEY
from alphapanda.storage.kill_switch_mirror import shown_state

CLOCK_KEY: Final = "market:clock"
PRICE_KEY: Final = "instrument:price:"
_OF_BAR: Final = 4
_WITH_FIRST: Final = 10
"""Fields of a recorded bar, and of a price with the day's first one."""

# Nanoseconds are beyond a Lua number's 53 bits, so they are compared as the digits they are.
_WRITE: Final = """
local function newer(old, new)
  if not old then return true end
  if #old ~= #new then return #new > #old end
  return new >= old
end
local lost = redis.call('EXISTS', KEYS[1]) == 0
for i = 1, #KEYS do
  local value, at = ARGV[2 * i - 1], ARGV[2 * i]
  local stored = redis.call('GET', KEYS[i])
  local field = i == 1 and '^[^|]*|(%d+)|' or '^[^|]*|[^|]*|(%d+)'
  if newer(stored and string.match(stored, field), at) then
    redis.call('SET', KEYS[i], value)
  end
end
return lost and 1 or 0
"""


@dataclass(frozen=True, slots=True)
class MarketClock:
    """The market's clock as marketdata wrote it.

    Attributes:
        feed_run: run of the feed that moved it.
        market_time_ns: market time, nanoseconds since the epoch.
        wall_time_ns: wall time at which it was written, nanoseconds since the epoch.
        simulated: whether the feed owns its market time.
        frame_id: the frame that moved it.
    """

    feed_run: str
    market_time_ns: int
    wall_time_ns: int
    simulated: bool
    frame_id: str


@dataclass(frozen=True, slots=True)
class CachedPrice:
    """A last price with the day's volume, units; None where the feed doesn't give it."""

    last: LastPrice
    volume: int | None


@dataclass(frozen=True, slots=True)
class MarketReading:
    """One reading of the cache; instruments without a price are absent; the clock is None where it was never written."""

    clock: MarketClock | None
    prices: Mapping[int, CachedPrice]


class MarketViews(Protocol):
    """Gives views of the market: time and last prices."""

    async def view(self, tokens: Sequence[int]) -> MarketView:
        """Returns the market's time and the prices of these instruments, read at one moment."""


class ExecutionViews(MarketViews, Protocol):
    """Gives views of the market together with the kill switches, in one reading."""

    async def view_with_states(
        self, tokens: Sequence[int], brokers: Sequence[str]
    ) -> tuple[MarketView, Mapping[str, TradingState]]:
        """Returns the same with the brokers' kill switches as mirrored in Redis."""


class PriceCache(ExecutionViews):
    """Reads and writes last prices and the market's clock. Raises Redis errors, which are transient.

    Args:
        redis: opened with `decode_responses=True` or without.
        clock_max_age_seconds: wall age from which a real-time feed's market time is unknown.
        wall_clock: wall time, aware.
        bars: whether views have the opens of recorded bars, because orders on bars fill at the next open.
        firsts: whether the first price of each day is kept; a day's first price outlives a restart of who writes.
    """

    def __init__(
        self,
        redis: Redis,
        clock_max_age_seconds: float,
        wall_clock: Callable[[], datetime],
        *,
        bars: bool = False,
        firsts: bool = False,
    ) -> None:
        self._redis = redis
        self._firsts = FirstPrices() if firsts else None
        self._bars = bars
        self._max_age = timedelta(seconds=clock_max_age_seconds)
        self._wall_clock = wall_clock
        self._write = redis.register_script(_WRITE)
        self._clock: tuple[str, int] | None = None
        self._written: dict[int, tuple[str, int]] = {}

    async def write(self, frames: Sequence[Frame]) -> None:
        """Stores the frames' prices and the market time of the last one, in one round trip.

        Where Redis has lost the clock, as after a restart, all prices written before are written again.

        Args:
            frames: at least one, all of one run, in order.
        """
        end = frames[-1]
        wall_time_ns = nanoseconds(self._wall_clock())
        clock = f"{end.feed_run}|{end.market_time_ns}|{wall_time_ns}|{int(end.simulated)}|{end.frame_id}"
        latest: dict[int, tuple[str, int]] = {}
        if self._firsts is not None:
            await self._take_firsts(self._firsts, frames)
        for frame in frames:
            for at, token in enumerate(frame.instrument_token):
                traded_at = frame.exchange_time[at]
                volume = frame.volume[at] if frame.volume else ""
                bar = "|" if self._firsts is None else "|||"
                if frame.open and frame.bar_start:
                    bar = f"{frame.bar_start[at]}|{frame.open[at]}|{frame.high[at]}|{frame.low[at]}"
                value = f"{frame.last_price[at]}|{frame.price_scale}|{traded_at}|{volume}|{bar}"
                if self._firsts is not None:
                    day, first = self._firsts.by_token[token]
                    value = f"{value}|{day}|{first}"
                latest[token] = (value, traded_at)
        self._clock = (clock, end.market_time_ns)
        self._written |= latest
        lost = await self._store(latest)
        if lost and len(self._written) > len(latest):
            await self._store(self._written)

    async def _take_firsts(self, firsts: FirstPrices, frames: Sequence[Frame]) -> None:
        """Takes the frames' first prices, after those that a process before this one has seen of the same day."""
        new = [
            token
            for token in dict.fromkeys(token for frame in frames for token in frame.instrument_token)
            if token not in firsts.by_token
        ]
        if new:
            stored = await self._redis.mget([f"{PRICE_KEY}{token}" for token in new])
            for token, value in zip(new, stored, strict=True):
                fields = _text(value).split("|") if value else []
                if len(fields) == _WITH_FIRST:
                    firsts.by_token[token] = (int(fields[-2]), int(fields[-1]))
        for frame in frames:
            firsts.take(frame)

    async def restore(self) -> None:
        """Writes again what this object has written, newest prices and clock; newer ones in Redis stay."""
        if self._clock is not None:
            await self._store(self._written)

    async def _store(self, prices: Mapping[int, tuple[str, int]]) -> bool:
        """Writes the clock and these prices where they are newer; returns whether there was no clock before."""
        keys = [CLOCK_KEY, *(f"{PRICE_KEY}{token}" for token in prices)]
        arguments: list[str | int] = [*(self._clock or ())]
        for value, traded_at in prices.values():
            arguments += (value, traded_at)
        return bool(await self._write(keys=keys, args=arguments))

    @override
    async def view(self, tokens: Sequence[int]) -> MarketView:
        return self._view(await self.read(tokens))

    @override
    async def view_with_states(
        self, tokens: Sequence[int], brokers: Sequence[str]
    ) -> tuple[MarketView, Mapping[str, TradingState]]:
        stored = await self._redis.mget(
            [*_keys(tokens), *(f"{KILL_SWITCH_KEY}{broker}" for broker in brokers)]
        )
        market, switches = stored[: 1 + len(tokens)], stored[1 + len(tokens) :]
        states = {broker: shown_state(shown) for broker, shown in zip(brokers, switches, strict=True)}
        return self._view(_reading(tokens, market, bars=self._bars)), states

    async def read(self, tokens: Sequence[int]) -> MarketReading:
        """Reads the clock as it was written, and the prices of these instruments with their volumes."""
        return _reading(tokens, await self._redis.mget(_keys(tokens)), bars=self._bars)

    def _view(self, reading: MarketReading) -> MarketView:
        return MarketView(
            market_time=self.market_time(reading.clock),
            feed_run=reading.clock.feed_run if reading.clock else "",
            prices={token: cached.last for token, cached in reading.prices.items()},
            frame_id=reading.clock.frame_id if reading.clock else "",
        )

    def market_time(self, clock: MarketClock | None) -> datetime | None:
        """Returns the market's time; None where it was never written or a real-time feed is silent.

        It is also unknown where the wall clock was set back: a value from its future may be of any age.
        """
        if clock is None:
            return None
        if not clock.simulated and abs(self._wall_clock() - instant(clock.wall_time_ns)) > self._max_age:
            return None
        return instant(clock.market_time_ns)


class BudgetedViews(ExecutionViews):
    """Views within a time budget, which is short: what can't be read in it counts as unreadable. Raises TimeoutError then.

    Args:
        views: the price cache.
        budget_seconds: of one reading.
    """

    def __init__(self, views: ExecutionViews, budget_seconds: float) -> None:
        self._views = views
        self._budget = budget_seconds

    @override
    async def view(self, tokens: Sequence[int]) -> MarketView:
        return await within(self._budget, self._views.view(tokens))

    @override
    async def view_with_states(
        self, tokens: Sequence[int], brokers: Sequence[str]
    ) -> tuple[MarketView, Mapping[str, TradingState]]:
        return await within(self._budget, self._views.view_with_states(tokens, brokers))


def _keys(tokens: Sequence[int]) -> list[str]:
    return [CLOCK_KEY, *(f"{PRICE_KEY}{token}" for token in tokens)]


def _reading(tokens: Sequence[int], stored: Sequence[bytes | str | None], *, bars: bool) -> MarketReading:
    clock, *prices = [_text(value) if value else value for value in stored]
    return MarketReading(
        clock=_clock(clock) if clock else None,
        prices={token: _price(text, bars=bars) for token, text in zip(tokens, prices, strict=True) if text},
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _clock(text: str) -> MarketClock:
    feed_run, market_time_ns, wall_time_ns, simulated, frame_id = text.split("|")
    return MarketClock(feed_run, int(market_time_ns), int(wall_time_ns), simulated == "1", frame_id)


def _price(text: str, *, bars: bool) -> CachedPrice:
    price, scale, traded_at_ns, volume, *more = text.split("|")
    bar, firsts = more[:_OF_BAR], more[_OF_BAR:]
    opened = None
    if bars and all(bar) and bar:
        start, *path = bar
        opened = BarOpen(instant(int(start)), *(Decimal(one) / Decimal(scale) for one in path))
    traded = int(volume) if volume else None
    return CachedPrice(
        LastPrice(
            Decimal(price) / Decimal(scale),
            instant(int(traded_at_ns)),
            opened,
            traded,
            Decimal(firsts[1]) / Decimal(scale) if firsts else None,
        ),
        traded,
    )
