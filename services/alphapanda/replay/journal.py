"""Records a replay for its report: samples of equity and prices, and every fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.order_events import Filled

SAMPLE_NS: Final = 300_000_000_000
"""Market time between two samples within a day, in nanoseconds."""
_DAY_NS: Final = 86_400_000_000_000
_IST_NS: Final = 19_800_000_000_000


@dataclass(frozen=True, slots=True)
class EquitySample:
    """Equity in rupees at a market time; `ends_day`: it is the last sample of a day in India."""

    at: datetime
    equity: Decimal
    ends_day: bool


@dataclass(frozen=True, slots=True)
class Trade:
    """A booked fill, the rupees that it realised, and the position after it in units."""

    filled: Filled
    realised: Decimal
    position: int


class ReplayJournal:
    """Records samples of equity and prices while frames pass, and fills as they are booked.

    Args:
        equity: returns the replay's current equity in rupees; None while it is unknown.

    Attributes:
        samples: samples of equity.
        trades: the fills.
        prices: samples of prices as (market time, rupees), by instrument token.
    """

    def __init__(self, equity: Callable[[], Decimal | None]) -> None:
        self._equity = equity
        self._positions: dict[object, int] = {}
        self.samples: list[EquitySample] = []
        self.trades: list[Trade] = []
        self.prices: dict[int, list[tuple[datetime, Decimal]]] = {}

    def sampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Passes the frames through; samples before the first frame of each day and of each SAMPLE_NS."""
        last_ns = next_ns = 0
        for frame in frames:
            now_ns = frame.market_time_ns
            if now_ns >= next_ns or _day(now_ns) != _day(last_ns):
                if last_ns:
                    self._sample_equity(last_ns, ends_day=_day(now_ns) != _day(last_ns))
                next_ns = now_ns - now_ns % SAMPLE_NS + SAMPLE_NS
                self._sample_prices(frame)
            last_ns = now_ns
            yield frame
        if last_ns:
            self._sample_equity(last_ns, ends_day=True)

    def on_fill(self, filled: Filled, realised: Decimal) -> None:
        """Records a booked fill and the rupees that it realised."""
        key = filled.order.key
        position = self._positions.get(key, 0) + filled.order.side.sign * filled.fill.quantity
        self._positions[key] = position
        self.trades.append(Trade(filled, realised, position))

    def _sample_equity(self, at_ns: int, *, ends_day: bool) -> None:
        equity = self._equity()
        if equity is not None:
            self.samples.append(EquitySample(instant(at_ns), equity, ends_day))

    def _sample_prices(self, frame: Frame) -> None:
        at = frame.market_time
        for token, price in zip(frame.instrument_token, frame.last_price, strict=True):
            self.prices.setdefault(token, []).append((at, Decimal(price) / frame.price_scale))


def _day(nanoseconds: int) -> int:
    return (nanoseconds + _IST_NS) // _DAY_NS
