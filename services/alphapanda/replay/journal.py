"""Records a replay for its figures and its report: equity, the strategies' profits, prices, and every fill."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final, Protocol

from alphapanda.domain.frame import Frame
from alphapanda.domain.money import ZERO
from alphapanda.domain.order_events import Filled
from alphapanda.replay.curves import Curves

BATCH: Final = 1024
"""Number of frames that strategies handle at once; few enough for a processor's cache."""
_DAY_NS: Final = 86_400_000_000_000
_IST_NS: Final = 19_800_000_000_000
_EPOCH_DAY: Final = date(1970, 1, 1)


class Prices(Protocol):
    """What a replay knows at a moment: the account's equity and the last prices."""

    @property
    def equity(self) -> Decimal | None:
        """Equity in rupees; None while it is unknown."""

    def last_price(self, token: int) -> Decimal | None:
        """Last price of an instrument, rupees; None if there was none."""


@dataclass(frozen=True, slots=True)
class Trade:
    """A booked fill, the rupees that it realised, and the position after it in units."""

    filled: Filled
    realised: Decimal
    position: int


class ReplayJournal:
    """Records days' ends while frames pass, and fills as they are booked.

    Args:
        now: returns what the replay knows now.
        tokens: the instruments that strategies watch.
        curves: takes samples of equity and prices within the days, too, for a report; None where there is none.

    Attributes:
        days: equity in rupees at the last tick of each day in India with ticks.
        strategy_days: the same for each strategy's profit after charges, by its name; from its first fill on.
        price_days: the same for the watched instruments' last prices, by token.
        first_prices: their first prices, by token.
        first_ns: market time of the first frame, nanoseconds since the epoch; 0 where there was none.
        last_ns: market time of the last frame.
        trades: the fills.
    """

    def __init__(
        self, now: Callable[[], Prices], tokens: Collection[int], curves: Curves | None = None
    ) -> None:
        self._now = now
        self._curves = curves
        self._unseen = set(tokens)
        self._positions: dict[object, int] = {}
        self._cash: dict[str, Decimal] = {}
        self._held: dict[str, dict[int, int]] = {}
        self.days: dict[date, Decimal] = {}
        self.strategy_days: dict[str, dict[date, Decimal]] = {}
        self.price_days: dict[int, dict[date, Decimal]] = {}
        self.first_prices: dict[int, Decimal] = {}
        self.first_ns = self.last_ns = self._due_ns = 0
        self.trades: list[Trade] = []

    def batches(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """Splits frames into batches that end where something is recorded; the next is asked for when one was handled."""
        for batch in batches(frames, self.next_ns):
            self.begin(batch)
            yield batch
        self.end()

    def next_ns(self, now_ns: int) -> int:
        """When something is recorded next, after frames of this market time have begun."""
        tomorrow_ns = (_day(now_ns) + 1) * _DAY_NS - _IST_NS
        return tomorrow_ns if self._curves is None else min(tomorrow_ns, self._curves.next_ns(now_ns))

    def begin(self, batch: Sequence[Frame]) -> None:
        """Records what was before a batch of `batches`, which is going to be handled."""
        now_ns = batch[0].market_time_ns
        if not self.last_ns:
            self.first_ns = now_ns
        elif _day(now_ns) != _day(self.last_ns):
            self._end_day()
        elif self._curves is not None and now_ns >= self._due_ns:
            self._sample(self._curves)
        if now_ns >= self._due_ns:
            self._due_ns = self.next_ns(now_ns)
        self.last_ns = max(self.last_ns, now_ns, batch[-1].market_time_ns)
        for frame in batch if self._unseen else ():
            self._see(frame)

    def end(self) -> None:
        """Records what is after the last batch."""
        if self.last_ns:
            self._end_day()

    def on_fill(self, filled: Filled, realised: Decimal) -> None:
        """Records a booked fill and the rupees that it realised."""
        order, fill = filled.order, filled.fill
        change = order.side.sign * fill.quantity
        position = self._positions.get(order.key, 0) + change
        self._positions[order.key] = position
        self.trades.append(Trade(filled, realised, position))
        name, token = order.key.strategy_id, order.instrument_token
        self._cash[name] = self._cash.get(name, ZERO) - change * fill.price - fill.commission
        held = self._held.setdefault(name, {})
        held[token] = held.get(token, 0) + change

    def _end_day(self) -> None:
        """Records the values at the last tick of a day."""
        now, day = self._now(), day_of(self.last_ns)
        if self._curves is not None:
            self._sample(self._curves)
        if now.equity is not None:
            self.days[day] = now.equity
        for token in self.first_prices:
            price = now.last_price(token)
            if price is not None:
                self.price_days.setdefault(token, {})[day] = price
        for name, cash in self._cash.items():
            value = cash
            for token, units in self._held[name].items():
                price = now.last_price(token) if units else ZERO
                if price is None:
                    break
                value += units * price
            else:
                self.strategy_days.setdefault(name, {})[day] = value

    def _see(self, frame: Frame) -> None:
        """Records the first prices of instruments."""
        for token, price in zip(frame.instrument_token, frame.last_price, strict=True):
            if token in self._unseen:
                self._unseen.discard(token)
                self.first_prices[token] = Decimal(price) / frame.price_scale

    def _sample(self, curves: Curves) -> None:
        now = self._now()
        if now.equity is not None:
            prices = {token: now.last_price(token) for token in self.first_prices}
            curves.add(self.last_ns, now.equity, prices)


def batches(frames: Iterable[Frame], next_ns: Callable[[int], int] | None = None) -> Iterator[list[Frame]]:
    """Splits frames into batches of up to BATCH.

    Args:
        frames: the frames.
        next_ns: returns the market time at which the next batch begins at the latest, for one at which one begins.
    """
    if next_ns is None:
        ahead = iter(frames)
        while many := list(islice(ahead, BATCH)):
            yield many
        return
    batch: list[Frame] = []
    due_ns = 0
    for frame in frames:
        if frame.market_time_ns >= due_ns or len(batch) == BATCH:
            if batch:
                yield batch
                batch = []
            if frame.market_time_ns >= due_ns:
                due_ns = next_ns(frame.market_time_ns)
        batch.append(frame)
    if batch:
        yield batch


def day_batches(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Splits frames into batches of one day in India each, up to BATCH."""
    return batches(frames, lambda now_ns: (_day(now_ns) + 1) * _DAY_NS - _IST_NS)


def day_of(market_time_ns: int) -> date:
    """The date in India of a market time."""
    return _EPOCH_DAY + timedelta(days=_day(market_time_ns))


def _day(nanoseconds: int) -> int:
    """Number of the day in India since the epoch."""
    return (nanoseconds + _IST_NS) // _DAY_NS
