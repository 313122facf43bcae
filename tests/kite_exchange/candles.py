"""Historical candles: today's of the trades seen, earlier ones made of the token and the day alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
from tests.kite_exchange.clock import IST, SECOND_NS, moment
from tests.kite_exchange.errors import bad_input
from tests.kite_exchange.market import Quote, hashed

from alphapanda.domain.calendar import TradingCalendar, load_nse_calendar

MINUTES_OF: Final = {
    "minute": 1, "3minute": 3, "5minute": 5, "10minute": 10, "15minute": 15, "30minute": 30, "60minute": 60, "day": 0,
}  # fmt: skip
MOST_DAYS: Final = {
    "minute": 60, "3minute": 100, "5minute": 100, "10minute": 100, "15minute": 200, "30minute": 200, "60minute": 400,
    "day": 2_000,
}  # fmt: skip
_MINUTE_NS: Final = 60 * SECOND_NS
_SEGMENT: Final = "NSE_EQ"


@dataclass(slots=True)
class Bar:
    """A candle in units of a price: [start, start + interval)."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int

    def add(self, other: Bar) -> None:
        """Adds the bar that follows."""
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume


@dataclass(slots=True)
class Candles:
    """The candles of every instrument.

    Attributes:
        calendar: the trading days and hours.
    """

    calendar: TradingCalendar = field(default_factory=load_nse_calendar)
    _seen: dict[int, dict[int, Bar]] = field(default_factory=dict)
    _volumes: dict[int, int] = field(default_factory=dict)

    def see(self, quote: Quote) -> None:
        """Takes the latest trade over into its minute."""
        token = quote.listed.instrument_token
        minute = quote.time_ns // _MINUTE_NS * _MINUTE_NS
        volume = max(quote.volume - self._volumes.get(token, 0), 0)
        self._volumes[token] = quote.volume
        bars = self._seen.setdefault(token, {})
        now = Bar(minute, quote.last, quote.last, quote.last, quote.last, volume)
        if minute in bars:
            bars[minute].add(now)
        else:
            bars[minute] = now

    def between(self, quote: Quote, interval: str, begin: datetime, end: datetime, now_ns: int) -> list[Bar]:
        """The candles that start from `begin` up to `end`, both in India, none of the future.

        Raises:
            KiteError: 400: the interval isn't known, or more days than it allows are asked for.
        """
        if interval not in MINUTES_OF:
            raise bad_input("invalid interval")
        if end < begin:
            raise bad_input("from date cannot be after to date")
        if end - begin > timedelta(days=MOST_DAYS[interval]):
            raise bad_input(f"interval exceeds max limit: {MOST_DAYS[interval]} days")
        first, last = _ns(begin), min(_ns(end), now_ns)
        bars = list(self._minutes(quote, begin.date(), min(end.date(), moment(now_ns).date()), now_ns))
        made = _joined(bars, MINUTES_OF[interval])
        if interval == "day":
            return [bar for bar in made if begin.date() <= moment(bar.start_ns).date() <= end.date()]
        return [bar for bar in made if first <= bar.start_ns <= last]

    def _minutes(self, quote: Quote, begin: date, end: date, now_ns: int) -> Iterator[Bar]:
        today = moment(now_ns).date()
        day = begin
        seen = self._seen.get(quote.listed.instrument_token, {})
        seen_days = {moment(start).date() for start in (min(seen), max(seen))} if seen else set()
        while day <= end:
            if day in seen_days:
                yield from sorted(
                    (bar for bar in seen.values() if moment(bar.start_ns).date() == day),
                    key=lambda bar: bar.start_ns,
                )
            elif self.calendar.covers(day):
                yield from (bar for bar in self._made(quote, day, today) if bar.start_ns <= now_ns)
            day += timedelta(days=1)

    def _made(self, quote: Quote, day: date, today: date) -> Iterator[Bar]:
        token, tick = quote.listed.instrument_token, quote.listed.tick
        anchor = quote.close / _level(token, today - timedelta(days=1))
        for session in self.calendar.sessions(day, _SEGMENT):
            minutes = (session.close_ns - session.open_ns) // _MINUTE_NS
            begin, end = anchor * _level(token, day - timedelta(days=1)), anchor * _level(token, day)
            drawn = np.random.default_rng(hashed(token, day.toordinal()))
            path = drawn.standard_normal(minutes + 1).cumsum()
            share = np.linspace(0, 1, minutes + 1)
            path -= path[0] + share * (path[-1] - path[0])
            prices = begin + share * (end - begin) + path * begin * 0.0004
            units = np.maximum(np.rint(prices / tick), 1).astype(np.int64) * tick
            wicks = drawn.integers(0, 3, (2, minutes)) * tick
            volumes = drawn.integers(1, 9_000, minutes)
            opens, closes = units[:-1], units[1:]
            highs = np.maximum(opens, closes) + wicks[0]
            lows = np.maximum(np.minimum(opens, closes) - wicks[1], tick)
            for at in range(minutes):
                yield Bar(
                    session.open_ns + at * _MINUTE_NS, int(opens[at]), int(highs[at]), int(lows[at]), int(closes[at]),
                    0 if quote.listed.index else int(volumes[at]),
                )  # fmt: skip


def _level(token: int, day: date) -> float:
    at = day.toordinal() + token % 97
    return 1 + 0.12 * math.sin(at / 61) + 0.02 * math.sin(at / 5)


def _joined(bars: list[Bar], minutes: int) -> list[Bar]:
    """Bars of a longer interval, counted from the day's first; 0 minutes: a bar a day, at midnight."""
    made: list[Bar] = []
    day, first = None, 0
    for bar in bars:
        at = moment(bar.start_ns)
        if at.date() != day:
            day, first = at.date(), bar.start_ns
            place = -1
        start = (
            _midnight(at)
            if minutes == 0
            else first + (bar.start_ns - first) // (minutes * _MINUTE_NS) * minutes * _MINUTE_NS
        )
        if start != place:
            place = start
            made.append(Bar(start, bar.open, bar.high, bar.low, bar.close, bar.volume))
        else:
            made[-1].add(bar)
    return made


def _midnight(at: datetime) -> int:
    return int(at.replace(hour=0, minute=0, second=0).timestamp()) * SECOND_NS


def _ns(naive: datetime) -> int:
    return int(naive.replace(tzinfo=IST).timestamp()) * SECOND_NS
