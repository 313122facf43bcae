"""The last prices of a replay, as the price cache of the services has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import repeat

from alphapanda.domain.first_prices import FirstPrices
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.frame_batch import FrameBatch
from alphapanda.domain.market import BarOpen, LastPrice, MarketView
from alphapanda.portfolio.core.drawdown import EquityTracker


class LastPrices:
    """The last price of each instrument.

    Args:
        price_scale: units of a frame's price in one rupee.
        next_open: whether orders on recorded bars fill at the open of the next bar, so that opens are kept.
        firsts: whether the first price of each day is kept, of frames that are quoted one by one.

    Attributes:
        last: by token: price, time, a recorded bar's start and its open, 0 if orders fill at the price, high and low, 0 if
            they aren't known, and the day's volume, None if it isn't known. Times in nanoseconds since the epoch, prices in
            units of a frame.
    """

    def __init__(self, price_scale: int, next_open: bool, firsts: bool) -> None:
        self._scale = price_scale
        self._next_open = next_open
        self._firsts = FirstPrices() if firsts else None
        self.last: dict[int, tuple[int, int, int, int, int, int, int | None]] = {}

    def quote(self, frame: Frame) -> None:
        """Takes the frame's prices over, as the price cache does."""
        if self._firsts is not None:
            self._firsts.take(frame)
        last, times = self.last, frame.exchange_time
        starts = frame.bar_start or times
        volumes = frame.volume or repeat(None, len(times))
        if self._next_open and frame.open:
            columns = (frame.last_price, times, starts, frame.open, frame.high, frame.low, volumes)
            last.update(zip(frame.instrument_token, zip(*columns, strict=True), strict=True))
            return
        for ordinal, (token, volume) in enumerate(zip(frame.instrument_token, volumes, strict=True)):
            last[token] = (frame.last_price[ordinal], times[ordinal], starts[ordinal], 0, 0, 0, volume)

    def take(self, batch: FrameBatch, first: int, last: int, tracker: EquityTracker) -> None:
        """Takes over the prices of the frames from `first` to `last`, and marks the equity with each of them."""
        begin = batch.ends[first - 1] if first else 0
        end = batch.ends[last]
        prices = batch.last_price[begin:end]
        token = batch.only_token
        starts, times = batch.belongs_at, batch.exchange_time
        opens: Sequence[int] = batch.opens if self._next_open else ()
        if token is not None and prices:
            at = end - 1
            self.last[token] = (prices[-1], times[at], starts[at], opens[at] if opens else 0, 0, 0, None)
            tracker.marks_of(token, prices)
        else:
            tokens = batch.instrument_token[begin:end]
            opened = opens[begin:end] if opens else repeat(0, end - begin)
            size = end - begin
            high, low, volume = repeat(0, size), repeat(0, size), repeat(None, size)
            lasts = zip(prices, times[begin:end], starts[begin:end], opened, high, low, volume, strict=True)
            self.last.update(zip(tokens, lasts, strict=True))
            for each, price in zip(tokens, prices, strict=True):
                tracker.mark(each, price)

    def view(self, tokens: Sequence[int], market_time: datetime, feed_run: str) -> MarketView:
        """The market at a time, with the last prices of these instruments."""
        prices = {}
        for token in tokens:
            if token in self.last:
                price, at, start, opened, high, low, volume = self.last[token]
                bar = self._bar(start, opened, high, low) if opened else None
                first = None if self._firsts is None else self._firsts.of(token, self._scale)
                prices[token] = LastPrice(Decimal(price) / self._scale, instant(at), bar, volume, first)
        return MarketView(market_time, feed_run, prices)

    def _bar(self, start: int, opened: int, high: int, low: int) -> BarOpen:
        first = Decimal(opened) / self._scale
        if not low:
            return BarOpen(instant(start), first)
        return BarOpen(instant(start), first, Decimal(high) / self._scale, Decimal(low) / self._scale)
