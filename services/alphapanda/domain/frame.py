"""Many ticks as columns (rule 7)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from alphapanda.domain import ids

SECOND_NS: Final = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@lru_cache(maxsize=64)  # an order on its way asks for the same moment several times
def instant(nanoseconds: int) -> datetime:
    """An aware UTC datetime of nanoseconds since the epoch; parts of a microsecond are cut off."""
    return EPOCH + nanoseconds // 1000 * _MICROSECOND


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime, exact."""
    delta = moment - EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


class _Columns(NamedTuple):
    feed_run: str
    shard: int
    sequence: int
    market_time_ns: int
    price_scale: int
    instrument_token: Sequence[int]
    last_price: Sequence[int]
    exchange_time: Sequence[int]
    bar_start: Sequence[int]
    volume: Sequence[int]
    simulated: bool


class Frame(_Columns):
    """Ticks as columns; every non-empty column has one value per tick. Without ticks it is a heartbeat.

    A tuple below, because a replay makes one for every bar: it is built in C and can't be changed.

    Attributes:
        feed_run: run of the feed that made it.
        shard: which shard's instruments it holds.
        sequence: 1, 2, 3 … within (feed_run, shard).
        market_time_ns: market time at its end, nanoseconds since the epoch.
        price_scale: units of a price in one rupee.
        instrument_token: per tick.
        last_price: per tick, in 1/price_scale rupees, > 0.
        exchange_time: per tick, nanoseconds since the epoch.
        bar_start: start of the bar a tick closes, nanoseconds; empty where ticks are not bars' closes.
        volume: units traded in the day, per tick; empty where not given.
        simulated: True where the feed owns its market time.
    """

    __slots__ = ()

    def __new__(  # noqa: PYI034 - a Frame, whatever inherits
        cls,
        feed_run: str,
        shard: int,
        sequence: int,
        market_time_ns: int,
        price_scale: int,
        instrument_token: Sequence[int] = (),
        last_price: Sequence[int] = (),
        exchange_time: Sequence[int] = (),
        bar_start: Sequence[int] = (),
        volume: Sequence[int] = (),
        simulated: bool = True,
    ) -> Frame:
        """Checks the columns' lengths; O(1) in the ticks.

        Raises:
            ValueError: a column's length differs.
        """
        ticks = len(instrument_token)
        for name, column in (("last_price", last_price), ("exchange_time", exchange_time)):
            if len(column) != ticks:
                raise ValueError(f"frame column {name} has {len(column)} values for {ticks} ticks")
        for name, column in (("bar_start", bar_start), ("volume", volume)):
            if len(column) not in (0, ticks):
                raise ValueError(f"frame column {name} has {len(column)} values for {ticks} ticks")
        return tuple.__new__(
            cls,
            (
                feed_run,
                shard,
                sequence,
                market_time_ns,
                price_scale,
                instrument_token,
                last_price,
                exchange_time,
                bar_start,
                volume,
                simulated,
            ),
        )

    @property
    def frame_id(self) -> str:
        """UUIDv5 of (feed_run, shard, sequence); computed when asked for, most frames of a replay are not."""
        return ids.frame_id(self.feed_run, self.shard, self.sequence)

    @property
    def market_time(self) -> datetime:
        """Market time at its end, aware UTC."""
        return instant(self.market_time_ns)
