"""Warms a strategy up on earlier ticks of the log, so that its first signal needn't wait.

It begins as if it had been started just long enough ago. A strategy on ticks gets, of each instrument, one tick less than
it needs: the next tick may make its first target. One on bars gets all of them without a signal, and its next bar makes
its first. So no target of the past becomes a signal, and none gets lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from alphapanda.domain.frame import Frame
from alphapanda.strategy.core.config import StrategyConfig
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.remembered import FRESH
from alphapanda.strategy.core.watching import StrategyFailure


class Warmed(NamedTuple):
    """The result of a warm-up.

    Attributes:
        state: for StrategyHost.configure; empty where there was nothing to warm up on.
        missing: ticks, or bars, that it still needs before its first target, on the instrument that lacks most.
        complete: whether earlier frames would change nothing.
        failures: what it raised meanwhile.
    """

    state: bytes
    missing: int
    complete: bool
    failures: Sequence[StrategyFailure]


def narrowed(frame: Frame, tokens: frozenset[int], stays: Callable[[int, int], bool] | None = None) -> Frame:
    """The frame with these instruments' ticks alone, and of those the ones for whose (ordinal, token) `stays` is true."""
    kept = [
        ordinal
        for ordinal, token in enumerate(frame.instrument_token)
        if token in tokens and (stays is None or stays(ordinal, token))
    ]

    def column(values: Sequence[int]) -> Sequence[int]:
        return [values[ordinal] for ordinal in kept] if len(values) else ()

    return Frame(
        frame.feed_run,
        frame.shard,
        frame.sequence,
        frame.market_time_ns,
        frame.price_scale,
        column(frame.instrument_token),
        column(frame.last_price),
        column(frame.exchange_time),
        column(frame.bar_start),
        column(frame.volume),
        frame.simulated,
    )


def warmed(host: StrategyHost, config: StrategyConfig, frames: Sequence[Frame]) -> Warmed:
    """A configuration's state after the frames before it takes effect.

    Args:
        host: empty.
        config: of one partition's instruments; running.
        frames: in their order, each once.

    Raises:
        InvalidInput: type, parameters or an instrument don't exist.
        StrategyBroken: the type's own code raised.
    """
    host.configure(replace(config, flattens=None))
    wanted = host.warm_up(config.strategy_id)
    if not wanted:
        return Warmed(b"", 0, complete=True, failures=())
    on_bars = host.is_on_bars(config.strategy_id)
    tokens = frozenset(each.instrument_token for each in config.instruments)
    shown: Iterable[Frame] = frames if on_bars else _last_ticks(host, frames, tokens, wanted - 1)
    for frame in shown:
        host.on_frame(frame)
    host.rest(config.strategy_id)
    failures = host.take_failures()
    if any(
        failure.stopped for failure in failures
    ):  # it begins with an empty state, and is stopped by its next errors
        return Warmed(b"", wanted, complete=True, failures=())
    missing = host.missing(config.strategy_id)
    complete = missing == 0 if on_bars else missing <= 1
    return Warmed(FRESH + host.state(config.strategy_id), missing, complete, failures)


def _last_ticks(
    host: StrategyHost, frames: Sequence[Frame], tokens: frozenset[int], most: int
) -> Iterable[Frame]:
    """The frames with no more than the last `most` ticks of each instrument that strategies receive."""

    def shows(frame: Frame, ordinal: int, token: int) -> bool:
        belongs_at = frame.bar_start if len(frame.bar_start) else frame.exchange_time
        return host.shows(token, belongs_at[ordinal])

    surplus: Counter[int] = Counter()
    for frame in frames:
        surplus.update(
            token
            for ordinal, token in enumerate(frame.instrument_token)
            if token in tokens and shows(frame, ordinal, token)
        )
    for token in surplus:
        surplus[token] -= most
    for frame in frames:

        def stays(ordinal: int, token: int, frame: Frame = frame) -> bool:
            if not shows(frame, ordinal, token):
                return False
            surplus[token] -= 1
            return surplus[token] < 0

        yield narrowed(frame, tokens, stays)
