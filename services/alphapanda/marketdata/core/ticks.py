"""Ticks as a feed delivers them, before the sanitiser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

PRICE_SCALE: Final = 100
"""Units of a price in one rupee; the exchange's cash market prices in paise."""


class Tick(NamedTuple):
    """One trade, or one bar.

    A bar is a tick at its end, when it is known: its price is the close.

    Attributes:
        instrument_token: the broker's token.
        price: in 1/PRICE_SCALE rupees.
        exchange_time: nanoseconds since the epoch.
        volume: units traded in the day so far; None if the feed has no volumes.
        bar_start: start of the bar, nanoseconds since the epoch; None for a trade.
        open: first price of the bar, in 1/PRICE_SCALE rupees; None for a trade, and for a bar known by its close alone.
        high: highest price of the bar; None if `open` is.
        low: lowest price of the bar; None if `open` is.
    """

    instrument_token: int
    price: int
    exchange_time: int
    volume: int | None = None
    bar_start: int | None = None
    open: int | None = None
    high: int | None = None
    low: int | None = None


new_tick: Final = partial(tuple.__new__, Tick)
"""Makes a Tick from a tuple of its eight fields, twice as fast as Tick()."""


class TickBatch(NamedTuple):
    """The ticks of a feed at one market time; a batch without ticks only advances market time."""

    market_time_ns: int
    ticks: Sequence[Tick]


def batches_by_time(ticks: Iterable[Tick]) -> Iterator[TickBatch]:
    """Groups a replay's ticks by exchange time, which is their market time."""
    time = -1
    held: list[Tick] = []
    for tick in ticks:
        if tick[2] != time:
            if held:
                yield TickBatch(time, held)
            time = tick[2]
            held = []
        held.append(tick)
    if held:
        yield TickBatch(time, held)
