"""A batch of consecutive frames with their ticks joined into columns, for processing without a Python loop per frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, islice, repeat
from typing import Final

from alphapanda.domain.frame import Frame

_JOINED: Final = (Frame._fields.index("market_time_ns"), Frame._fields.index("open") + 1)
"""The columns of a frame that a batch joins, from the first to the one after the last."""


class OutOfOrder(ValueError):
    """Frames that can't form a batch: their market time falls, or their price scales differ."""


class FrameBatch:
    """Consecutive frames, ordered by market time, with their ticks as columns.

    Attributes:
        frames: the frames.
        ends: per frame, the number of ticks in the batch up to the frame's end.
        has_empty_frames: whether a frame has no ticks.
        market_time_ns: per frame, nanoseconds since the epoch; never falls.
        price_scale: price units in one rupee, the same for all frames.
        instrument_token: per tick.
        only_token: the token of every tick; None if there are several, or no ticks.
        last_price: per tick, in 1/price_scale rupees.
        exchange_time: per tick, nanoseconds since the epoch.
        belongs_at: per tick, the time that decides its session: the start of the bar it closes, else its exchange time.
    """

    __slots__ = (
        "_opens",
        "belongs_at",
        "ends",
        "exchange_time",
        "frames",
        "has_empty_frames",
        "instrument_token",
        "last_price",
        "market_time_ns",
        "only_token",
        "price_scale",
    )

    def __init__(self, frames: Sequence[Frame]) -> None:
        """Joins the frames, of which there is at least one.

        Raises:
            OutOfOrder: their market time falls, or their price scales differ.
        """
        columns = islice(zip(*frames, strict=True), *_JOINED)
        market_times, scales, tokens, prices, times, bar_starts, _, opens = columns
        if tuple(sorted(market_times)) != market_times or scales.count(scales[0]) != len(frames):
            raise OutOfOrder
        sizes = list(map(len, tokens))
        # Most recordings have one tick a frame, and then taking it is faster than joining columns.
        one_each = sizes.count(1) == len(frames)
        self.frames = frames
        self.has_empty_frames = not one_each and 0 in sizes
        self.ends: Sequence[int] = list(range(1, len(frames) + 1) if one_each else accumulate(sizes))
        self.market_time_ns: Sequence[int] = market_times
        self.price_scale: int = scales[0]
        join = _only_values if one_each else _joined
        of_one = one_each and tokens.count(tokens[0]) == len(frames)
        all_tokens = list(tokens[0]) * len(frames) if of_one else join(tokens)
        self.instrument_token: list[int] = all_tokens
        one = of_one or (bool(all_tokens) and all_tokens.count(all_tokens[0]) == len(all_tokens))
        self.only_token: int | None = all_tokens[0] if one else None
        self.last_price: list[int] = join(prices)
        self.exchange_time: list[int] = join(times)
        without_opens = opens.count(()) == len(frames) or not any(map(len, opens))
        self._opens = [0] * len(all_tokens) if without_opens else None
        self.belongs_at: list[int] = self.exchange_time
        if any(bar_starts):
            self.belongs_at = _joined([b or t for b, t in zip(bar_starts, times, strict=True)])

    @property
    def opens(self) -> list[int]:
        """Per tick, the open of the recorded bar that it is, in 1/price_scale rupees; 0 if it is none or has none."""
        if self._opens is None:
            self._opens = _joined(
                frame.open if len(frame.open) else repeat(0, len(frame.instrument_token))
                for frame in self.frames
            )
        return self._opens


def _joined(columns: Iterable[Iterable[int]]) -> list[int]:
    return list(chain.from_iterable(columns))


def _only_values(columns: Iterable[Sequence[int]]) -> list[int]:
    """The values of columns with exactly one value each."""
    return [value for (value,) in columns]
