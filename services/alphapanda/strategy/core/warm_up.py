"""Warms a strategy up on earlier ticks, so that it can signal from its first tick on.

The strategy begins as if it had been started just long enough ago. A strategy on ticks gets one tick less per instrument than
it needs, so that the next tick may make its first target. A strategy on bars gets all the bars that it needs, without signals; its next
bar makes its first target. So no past target becomes a signal, and no new one is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from alphapanda.domain.frame import Frame
from alphapanda.strategy.core.config import StrategyConfig
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.core.revision_state import FRESH
from alphapanda.strategy.core.watching import StrategyFailure


class Warmed(NamedTuple):
    """The result of a warm-up.

    Attributes:
        state: for StrategyHost.configure; empty if the strategy needs no warm-up.
        missing: ticks (or bars) that it still needs before its first target, on the instrument that lacks most.
        complete: whether it needs no earlier frames.
        failures: the errors that it raised during the warm-up.
        on_bars: whether it gets bars.
    """

    state: bytes
    missing: int
    complete: bool
    failures: Sequence[StrategyFailure]
    on_bars: bool = False


def narrowed(frame: Frame, tokens: frozenset[int], stays: Callable[[int, int], bool] | None = None) -> Frame:
    """The frame with only the ticks of these instruments for which `stays(index, token)` is true."""
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
        column(frame.open),
        column(frame.high),
        column(frame.low),
        frame.simulated,
    )


def warmed(host: StrategyHost, config: StrategyConfig, frames: Sequence[Frame]) -> Warmed:
    """Warms a configuration up on the frames before it takes effect.

    Args:
        host: an empty host.
        config: a running configuration, with the instruments of one partition.
        frames: the frames in their order, each once.

    Raises:
        InvalidInput: the type, a parameter or an instrument doesn't exist.
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
    host.forget_stance(config.strategy_id)
    failures = host.take_failures()
    if any(failure.stopped for failure in failures):
        # It begins with an empty state, and its next errors stop it.
        return Warmed(b"", wanted, complete=True, failures=())
    missing = host.missing(config.strategy_id)
    complete = missing == 0 if on_bars else missing <= 1
    return Warmed(FRESH + host.state(config.strategy_id), missing, complete, failures, on_bars)


def _last_ticks(
    host: StrategyHost, frames: Sequence[Frame], tokens: frozenset[int], most: int
) -> Iterable[Frame]:
    """The frames with at most the last `most` ticks of each instrument that strategies would receive."""

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
