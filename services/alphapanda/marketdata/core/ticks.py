"""Ticks as a feed delivers them, before they are sanitised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

PRICE_SCALE: Final = 100
"""Units of a price in one rupee: the exchange's cash market prices in paise."""

OFF_SCALE: Final = -(2**63)
"""Stands for a price that has no exact value in the scale; it is on no price grid."""


class Tick(NamedTuple):
    """One trade, or one bar's close.

    Attributes:
        instrument_token: the broker's.
        price: in 1/PRICE_SCALE rupees; OFF_SCALE where it has no exact value.
        exchange_time: nanoseconds since the epoch.
        volume: units traded in the day so far; None where the feed doesn't give it.
        bar_start: start of the bar the tick closes, nanoseconds; None where it is a trade.
    """

    instrument_token: int
    price: int
    exchange_time: int
    volume: int | None = None
    bar_start: int | None = None


new_tick: Final = partial(tuple.__new__, Tick)
"""Makes a Tick of a tuple of all its five fields, in half the time."""


class TickBatch(NamedTuple):
    """The ticks of a feed at one market time; without ticks it only moves market time."""

    market_time_ns: int
    ticks: Sequence[Tick]


def batches_by_time(ticks: Iterable[Tick]) -> Iterator[TickBatch]:
    """Groups ticks by exchange time, which is their market time: the steps of a replay."""
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
