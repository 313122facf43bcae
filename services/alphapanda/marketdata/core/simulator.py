"""Simulates a market; the ticks of a (seed, day, step) are always the same, in whatever order steps are computed.

A day's price path is drawn in blocks of 20 s, with volatility clusters, a common factor that moves all stocks together, and
a slow trend of about a minute in each stock. Within a block the path is a Brownian bridge between the block's ends, drawn when it is
needed. So the closing prices of a day, and any of its steps, can be computed without the steps before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alphapanda.domain.calendar import Session, TradingCalendar
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.price_grid import tick_size
from alphapanda.marketdata.core.grids import rounded
from alphapanda.marketdata.core.ticks import PRICE_SCALE, TickBatch, new_tick

BLOCK_NS: Final = 20_000_000_000

_BLOCK_VOLATILITY: Final = 0.011 / 1125**0.5  # 1.1 percent in a day of 6 h 15 min
_COMMON_SHARE: Final = 0.35
_TREND_SHARE: Final = 0.6
_TREND_MEMORY: Final = 0.75
_CLUSTER_MEMORY: Final = 0.97
_CLUSTER_SIZE: Final = 0.45
_STEP_NOISE: Final = 0.5
_TICK_CHANCE: Final = 0.75
_BLOCK_RUPEES: Final = 600_000  # traded in one stock

_Floats = NDArray[np.float64]
_Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """A period in which some instrument trades: [open_ns, close_ns), nanoseconds since the epoch."""

    open_ns: int
    close_ns: int


@dataclass(frozen=True, slots=True)
class SimulatedStock:
    """A stock and its hours on the day.

    Attributes:
        instrument_token: the broker's token.
        tick: tick size in 1/PRICE_SCALE rupees.
        start_price: price at the beginning of the day in 1/PRICE_SCALE rupees, on the price grid.
        hours: sessions of the day.
    """

    instrument_token: int
    tick: int
    start_price: int
    hours: tuple[Window, ...]


def stocks_of_day(
    calendar: TradingCalendar, day: date, instruments: Sequence[Instrument], prices: Mapping[int, int]
) -> tuple[SimulatedStock, ...]:
    """The instruments with a start price, sorted by token, with their sessions of the day."""
    return tuple(
        SimulatedStock(
            i.instrument_token,
            (step := _step(i, prices[i.instrument_token], day)),
            rounded(prices[i.instrument_token], step),
            tuple(_window(session) for session in calendar.sessions(day, i.session_segment)),
        )
        for i in sorted(instruments, key=lambda instrument: instrument.instrument_token)
        if i.instrument_token in prices
    )


def _step(instrument: Instrument, price: int, day: date) -> int:
    """The price step at the day's start, in 1/PRICE_SCALE rupees."""
    return max(1, int(tick_size(instrument, Decimal(price) / PRICE_SCALE, day) * PRICE_SCALE))


class SimulatedDay:
    """One simulated trading day, as steps 1 to `steps`.

    A trading period has a step every interval from its open, and one at its close without ticks, which moves market time
    to the close. A stock has at most one tick a step, and only within its own hours.

    Args:
        seed: seed of the simulator.
        day: the trading day.
        stocks: the stocks.
        interval_ns: market time between steps.
    """

    def __init__(self, seed: int, day: date, stocks: Sequence[SimulatedStock], interval_ns: int) -> None:
        self._seed = [seed, day.toordinal()]
        self._interval_ns = interval_ns
        self._tokens = [stock.instrument_token for stock in stocks]
        self._ticks = np.array([stock.tick for stock in stocks], dtype=np.int64)
        self._hours = [stock.hours for stock in stocks]
        self._windows = _union(window for stock in stocks for window in stock.hours)
        self._steps_of = [-(-(w.close_ns - w.open_ns) // interval_ns) + 1 for w in self._windows]
        self._ends = list(accumulate(self._steps_of))
        self._block_steps = max(2, BLOCK_NS // interval_ns)
        blocks = -(-self.steps // self._block_steps)
        start = np.array([stock.start_price for stock in stocks], dtype=np.float64)
        self._path = _block_path(self._seed, start, blocks, self._block_steps * interval_ns / BLOCK_NS)
        self._volumes = _block_volumes(self._seed, start, blocks)
        self._steps_in = lru_cache(maxsize=2)(self._bridge)

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self._ends[-1] if self._ends else 0

    def step(self, number: int) -> TickBatch:
        """The ticks of step `number`, from 1."""
        time, trading = self._time(number)
        if not trading:
            return TickBatch(time, ())
        at = number - 1
        prices, volumes, ticking = self._steps_in(at // self._block_steps)
        row = at % self._block_steps
        return TickBatch(
            time,
            [
                new_tick((token, price, time, volume, None, None, None, None))
                for token, hours, price, volume, ticks in zip(
                    self._tokens, self._hours, prices[row], volumes[row], ticking[row], strict=True
                )
                if ticks and any(window.open_ns <= time < window.close_ns for window in hours)
            ],
        )

    def steps_until(self, market_time_ns: int) -> int:
        """The number of steps at or before a market time."""
        low, high = 0, self.steps
        while low < high:
            middle = (low + high + 1) // 2
            if self._time(middle)[0] <= market_time_ns:
                low = middle
            else:
                high = middle - 1
        return low

    def closing_prices(self) -> dict[int, int]:
        """The closing prices by token, on the price grid; the next day starts from them."""
        return dict(zip(self._tokens, self._on_grid(self._path[-1]).tolist(), strict=True))

    def _time(self, number: int) -> tuple[int, bool]:
        """The market time of a step, and whether it has ticks (the step at a close has none)."""
        if not 1 <= number <= self.steps:
            raise IndexError(f"step {number} of a day with {self.steps}")
        for window, count, end in zip(self._windows, self._steps_of, self._ends, strict=True):
            if number <= end:
                nth = number - (end - count) - 1
                return min(window.open_ns + nth * self._interval_ns, window.close_ns), nth < count - 1
        raise IndexError(number)

    def _bridge(self, block: int) -> tuple[list[list[int]], list[list[int]], list[list[bool]]]:
        """Prices, day volumes, and which stocks have a tick; each by step of the block and then by stock."""
        draws = np.random.default_rng([*self._seed, 1, block])
        shape = (self._block_steps, len(self._tokens))
        share = np.arange(1, self._block_steps + 1)[:, None] / self._block_steps
        begin, end = self._path[block], self._path[block + 1]
        noise = np.cumsum(draws.standard_normal(shape), axis=0)
        noise -= share * noise[-1]
        size = _STEP_NOISE * _BLOCK_VOLATILITY / self._block_steps**0.5
        path = begin + share * (end - begin) + noise * size
        ticking = draws.random(shape) < _TICK_CHANCE
        before, after = self._volumes[block], self._volumes[block + 1]
        volumes = before + (share * (after - before)).astype(np.int64)
        return self._on_grid(path).tolist(), volumes.tolist(), ticking.tolist()

    def _on_grid(self, path: _Floats) -> _Whole:
        steps = np.rint(np.exp(path) / self._ticks).astype(np.int64)
        return np.maximum(steps, 1) * self._ticks


def _block_path(seed: list[int], start: _Floats, blocks: int, length: float) -> _Floats:
    """The logarithm of the price at the start of each block and at the end of the day: (blocks + 1) x stocks."""
    draws = np.random.default_rng([*seed, 0])
    stocks = len(start)
    own = draws.standard_normal((blocks, stocks))
    common = draws.standard_normal((blocks, 1))
    trend = _autoregressive(draws.standard_normal((blocks, stocks)), _TREND_MEMORY)
    returns = (
        (1 - _COMMON_SHARE - _TREND_SHARE) ** 0.5 * own
        + _COMMON_SHARE**0.5 * common
        + _TREND_SHARE**0.5 * trend
    )
    cluster = np.exp(
        _CLUSTER_SIZE * _autoregressive(draws.standard_normal((blocks, stocks)), _CLUSTER_MEMORY)
        - _CLUSTER_SIZE**2 / 2
    )
    volatility = _BLOCK_VOLATILITY * length**0.5 * cluster
    path = np.empty((blocks + 1, stocks))
    path[0] = np.log(start)
    np.cumsum(returns * volatility, axis=0, out=path[1:])
    path[1:] += path[0]
    return path


def _autoregressive(shocks: _Floats, memory: float) -> _Floats:
    """An AR(1) process of variance 1, computed as a truncated weighted sum of its shocks."""
    reach = min(len(shocks), int(np.ceil(np.log(0.01) / np.log(memory))))
    weights = memory ** np.arange(reach) * (1 - memory**2) ** 0.5
    faded = np.empty_like(shocks)
    for column in range(shocks.shape[1]):
        faded[:, column] = np.convolve(shocks[:, column], weights)[: len(shocks)]
    return faded


def _block_volumes(seed: list[int], start: _Floats, blocks: int) -> _Whole:
    """Shares traded in the day up to the start of each block, and in total: (blocks + 1) x stocks."""
    draws = np.random.default_rng([*seed, 2])
    usual = _BLOCK_RUPEES * PRICE_SCALE / start
    traded = (draws.exponential(1.0, (blocks, len(start))) * usual).astype(np.int64) + 1
    return np.concatenate([np.zeros((1, len(start)), dtype=np.int64), np.cumsum(traded, axis=0)])


def _window(session: Session) -> Window:
    return Window(session.open_ns, session.close_ns)


def _union(windows: Iterable[Window]) -> list[Window]:
    """The union of the windows, sorted, with touching ones merged."""
    joined: list[Window] = []
    for window in sorted(set(windows), key=lambda each: (each.open_ns, each.close_ns)):
        if joined and window.open_ns <= joined[-1].close_ns:
            joined[-1] = Window(joined[-1].open_ns, max(joined[-1].close_ns, window.close_ns))
        else:
            joined.append(window)
    return joined
