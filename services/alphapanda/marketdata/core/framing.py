"""Makes frames of ticks; a frame has ticks of one shard, at most one for each instrument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from alphapanda.domain.frame import Frame
from alphapanda.marketdata.core.live.columns import KeptColumns
from alphapanda.marketdata.core.ticks import Tick


class _Open:
    """A frame that is being filled."""

    __slots__ = ("shape", "ticks", "tokens")

    def __init__(self, shape: tuple[bool, bool, bool]) -> None:
        self.shape: Final = shape
        self.tokens: set[int] = set()
        self.ticks: list[Tick] = []


class FrameBuilder:
    """Makes the frames of one run of a feed, numbered per shard. Market time never goes back.

    Args:
        feed_run: name of the feed's run.
        shards: number of shards.
        shard_of: returns an instrument token's shard, 0 to shards - 1.
        price_scale: units of a price in one rupee.
        simulated: whether market time is the feed's own, not the wall clock's.
    """

    def __init__(
        self,
        feed_run: str,
        shards: int,
        shard_of: Callable[[int], int],
        price_scale: int,
        *,
        simulated: bool,
    ) -> None:
        self._feed_run = feed_run
        self._shards = shards
        self._shard_of = shard_of
        self._price_scale = price_scale
        self._simulated = simulated
        self._sequences = [0] * shards
        self._shard_by_token: dict[int, int] = {}
        self._market_time_ns = 0

    @property
    def market_time_ns(self) -> int:
        """The market time reached so far."""
        return self._market_time_ns

    def continue_after(self, sequences: Mapping[int, int], market_time_ns: int) -> None:
        """Continues after earlier frames: their last sequence by shard, and their market time."""
        for shard, sequence in sequences.items():
            self._sequences[shard] = sequence
        self._market_time_ns = market_time_ns

    def frames(self, market_time_ns: int, ticks: Sequence[Tick]) -> list[Frame]:
        """Makes frames of sanitised ticks, in the order of their first ticks.

        A second tick of an instrument begins a new frame of its shard. So does a tick that has a bar's start, a bar's open or
        a volume if the earlier ones have none, or the reverse, because a column is either complete or empty.
        """
        self._market_time_ns = max(self._market_time_ns, market_time_ns)
        if len(ticks) == 1:
            return [self._frame_of_one(ticks[0])]
        filled: list[tuple[int, _Open]] = []
        latest: dict[int, _Open] = {}
        for tick in ticks:
            shard = self._shard(tick[0])
            shape = (tick[4] is None, tick[3] is None, tick[5] is None)
            current = latest.get(shard)
            if current is None or tick[0] in current.tokens or current.shape != shape:
                current = latest[shard] = _Open(shape)
                filled.append((shard, current))
            current.tokens.add(tick[0])
            current.ticks.append(tick)
        return [self._frame(shard, each.ticks) for shard, each in filled]

    def frames_of(self, market_time_ns: int, columns: Sequence[KeptColumns]) -> list[Frame]:
        """Makes frames of sanitised columns, in each of which an instrument is once: a frame a shard."""
        self._market_time_ns = max(self._market_time_ns, market_time_ns)
        frames = []
        for one in columns:
            shards = one.shard.tolist()
            found = sorted(set(shards))
            for shard in found:
                part = slice(None) if len(found) == 1 else one.shard == shard
                frames.append(
                    Frame(
                        feed_run=self._feed_run,
                        shard=shard,
                        sequence=self._next(shard),
                        market_time_ns=self._market_time_ns,
                        price_scale=self._price_scale,
                        instrument_token=one.token[part].tolist(),
                        last_price=one.price[part].tolist(),
                        exchange_time=one.time_ns[part].tolist(),
                        volume=() if one.volume is None else one.volume[part].tolist(),
                        simulated=self._simulated,
                    )
                )
        return frames

    def heartbeats(self, market_time_ns: int, frames: Sequence[Frame] = ()) -> list[Frame]:
        """Makes a frame without ticks for each shard that has none among `frames`."""
        self._market_time_ns = max(self._market_time_ns, market_time_ns)
        with_ticks = {frame.shard for frame in frames}
        return [self._frame(shard, ()) for shard in range(self._shards) if shard not in with_ticks]

    def _shard(self, token: int) -> int:
        shard = self._shard_by_token.get(token)
        if shard is None:
            shard = self._shard_by_token[token] = self._shard_of(token)
        return shard

    def _next(self, shard: int) -> int:
        self._sequences[shard] += 1
        return self._sequences[shard]

    def _frame_of_one(self, tick: Tick) -> Frame:
        # All frames of a replayed bar file are made here; the columns are valid by construction, so checks are skipped.
        token, price, time, volume, bar_start, open_, high, low = tick
        shard = self._shard(token)
        self._sequences[shard] = sequence = self._sequences[shard] + 1
        return tuple.__new__(
            Frame,
            (
                self._feed_run,
                shard,
                sequence,
                self._market_time_ns,
                self._price_scale,
                (token,),
                (price,),
                (time,),
                () if bar_start is None else (bar_start,),
                () if volume is None else (volume,),
                () if open_ is None else (open_,),
                () if high is None else (high,),
                () if low is None else (low,),
                self._simulated,
            ),
        )

    def _frame(self, shard: int, ticks: Sequence[Tick]) -> Frame:
        return Frame(
            feed_run=self._feed_run,
            shard=shard,
            sequence=self._next(shard),
            market_time_ns=self._market_time_ns,
            price_scale=self._price_scale,
            instrument_token=tuple(tick.instrument_token for tick in ticks),
            last_price=tuple(tick.price for tick in ticks),
            exchange_time=tuple(tick.exchange_time for tick in ticks),
            bar_start=tuple(tick.bar_start for tick in ticks if tick.bar_start is not None),
            volume=tuple(tick.volume for tick in ticks if tick.volume is not None),
            open=tuple(tick.open for tick in ticks if tick.open is not None),
            high=tuple(tick.high for tick in ticks if tick.high is not None),
            low=tuple(tick.low for tick in ticks if tick.low is not None),
            simulated=self._simulated,
        )
