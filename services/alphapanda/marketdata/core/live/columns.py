"""Ticks of a live feed as it sent them: columns of whole numbers where there are many, tuples where there are few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alphapanda.marketdata.core.ticks import Tick

Whole: TypeAlias = NDArray[np.int64]

UNTIMED: Final = -1
"""Stands for the time of a tick whose feed gives none: it is the market's time at which it came."""
NEVER: Final = 0
"""Stands for the time of the last trade of what hasn't traded yet."""
NOT_IN_PAISE: Final = -1
"""Stands for a price with more decimals than frames have, as currencies' have."""
NO_VOLUME: Final = -1
"""Stands for the volume of what has none, such as an index."""


class RawTick(NamedTuple):
    """One tick as it was sent.

    Attributes:
        token: the broker's token.
        price: in 1/PRICE_SCALE rupees; 0: none; NOT_IN_PAISE.
        traded_ns: time of the last trade (an index: of its value), nanoseconds since the epoch; UNTIMED, NEVER.
        volume: units traded in the day so far; NO_VOLUME.
        close: the previous day's close, in 1/PRICE_SCALE rupees; 0: not given.
    """

    token: int
    price: int
    traded_ns: int
    volume: int
    close: int


class RawColumns(NamedTuple):
    """Many ticks as they were sent; the columns are `RawTick`'s fields. Either all of them have a volume, or none has."""

    token: Whole
    price: Whole
    traded_ns: Whole
    volume: Whole
    close: Whole


class LiveMessage(NamedTuple):
    """What a message of a live feed held; one without ticks only says that the feed is there.

    Attributes:
        wall_ns: wall time at which it came, nanoseconds since the epoch.
        newest_s: the newest of the exchange's timestamps in it, seconds since the epoch; 0: it has none.
        few: ticks one by one.
        many: ticks as columns.
    """

    wall_ns: int
    newest_s: int = 0
    few: Sequence[RawTick] = ()
    many: Sequence[RawColumns] = ()


class KeptColumns(NamedTuple):
    """Sanitised ticks as columns; `volume` is None where they have none.

    Attributes:
        shard: of each tick's instrument.
    """

    token: Whole
    price: Whole
    time_ns: Whole
    volume: Whole | None
    shard: Whole


class Kept(NamedTuple):
    """What passed of a message: most of it in columns, and ticks that had to be looked at one by one."""

    columns: Sequence[KeptColumns] = ()
    ticks: Sequence[Tick] = ()
