"""Runs the strategies of a routing on frames: on their ticks, on the bars that these close, at the session's open."""

from __future__ import annotations

from alphapanda.domain.frame import Frame
from alphapanda.domain.signal import Signal
from alphapanda.strategy.core.bar_watch import InstrumentBars
from alphapanda.strategy.core.bars import recorded_length, unserved_interval
from alphapanda.strategy.core.basket import MOST_SYMBOLS
from alphapanda.strategy.core.failures import Failures
from alphapanda.strategy.core.routing import ANY_SHARD, Routing
from alphapanda.strategy.core.signal_making import SignalMaking
from alphapanda.strategy.core.watching import Watcher


class FrameRun:
    """Runs strategies on frames.

    Args:
        routing: the strategies by instrument.
        making: makes their signals.
        failures: stops strategies whose interval can't be made from the recorded bars.
        on_baskets: whether each of these strategies sees several instruments.
    """

    def __init__(
        self, routing: Routing, making: SignalMaking, failures: Failures, *, on_baskets: bool = False
    ) -> None:
        self._routing = routing
        self._making = making
        self._failures = failures
        self._on_baskets = on_baskets

    def on_frame(self, frame: Frame) -> list[Signal]:
        """Runs the strategies on a frame; returns the signals, in the order of the ticks."""
        self._failures.frame = frame
        routing, of_target = self._routing, self._making.of_target
        tokens = frame.instrument_token
        signals: list[Signal] = []
        route_of = routing.routes.get
        prices = frame.last_price
        times = frame.exchange_time
        belongs_at = frame.bar_start if len(frame.bar_start) else times
        scale = frame.price_scale
        for ordinal, token in enumerate(tokens):
            route = route_of(token)
            if route is None:
                continue
            at = belongs_at[ordinal]
            window = route.window
            inside = window.open_ns <= at < window.close_ns or window.move_to(at)
            for watcher in route.watchers if inside else route.always:
                target = watcher.on_tick(prices[ordinal] / scale, times[ordinal])
                if inside and (target is not None or watcher.waiting.target is not None):
                    close = prices[ordinal] / scale if at < times[ordinal] else 0.0
                    target = watcher.tradable(target, times[ordinal], close)
                    if watcher.waits_for_open:
                        routing.waiting.setdefault(frame.shard, set()).add(token)
                if target is not None:
                    signals += of_target(
                        watcher,
                        target,
                        frame,
                        ordinal,
                        0,
                        times[ordinal],
                        prices[ordinal],
                        window.close if inside else None,
                    )
            if route.bars is not None and inside:
                signals += self._tick_of_bars(route.bars, frame, ordinal, at)
            elif route.bars is not None and len(frame.volume):
                route.bars.outside(frame.volume[ordinal], at)
        return signals + self._time_passed(frame)

    def _time_passed(self, frame: Frame) -> list[Signal]:
        """The signals that a frame's market time causes, after its ticks: of targets that waited, of bars that it closes."""
        routing = self._routing
        signals: list[Signal] = []
        if not frame.instrument_token and (routing.waiting or self._on_baskets):
            signals += self._open(frame)
        ends = routing.next_ends
        if ends and frame.market_time_ns > ends.get(frame.shard, frame.market_time_ns):
            signals += self._close_bars(frame)
        return signals

    def _tick_of_bars(
        self, bars: InstrumentBars[Watcher], frame: Frame, ordinal: int, at_ns: int
    ) -> list[Signal]:
        price = frame.last_price[ordinal] / frame.price_scale
        volume = frame.volume[ordinal] if len(frame.volume) else None
        time_ns = frame.exchange_time[ordinal]
        prices = None
        if len(frame.open):
            scale = frame.price_scale
            prices = (frame.open[ordinal] / scale, frame.high[ordinal] / scale, frame.low[ordinal] / scale)
        targets = bars.tick(price, at_ns, time_ns, volume, frame.shard, prices)
        if bars.unserved:
            self._stop_unserved(bars, recorded_length(at_ns, time_ns, bars.window))
        self._routing.schedule_open(bars, frame.instrument_token[ordinal], frame.shard)
        self._routing.schedule_close(bars, frame.instrument_token[ordinal], frame.shard)
        return self._making.of_bars(targets, frame, ordinal, 0, time_ns) if targets else []

    def _open(self, frame: Frame) -> list[Signal]:
        """The signals of targets that waited for the open which a frame without ticks shows."""
        routing = self._routing
        signals: list[Signal] = []
        now = frame.market_time_ns
        of_shard = routing.bars.get(frame.shard, {})
        waiting = routing.waiting.pop(frame.shard, set()) | routing.waiting.pop(ANY_SHARD, set())
        # A bar of one instrument may let targets wait on the others of a strategy that sees several.
        for token in sorted(of_shard if self._on_baskets else waiting):
            route, bars = routing.routes[token], of_shard.get(token)
            for watcher in route.watchers:
                signals += self._opened(watcher, frame)
            if bars is not None and (targets := bars.opened(now)):
                n = token * MOST_SYMBOLS if self._on_baskets else token
                signals += self._making.of_bars(targets, frame, 1, n, now)
            if any(each.waits_for_open for each in (*route.watchers, *((bars,) if bars else ()))):
                routing.waiting.setdefault(frame.shard, set()).add(token)
        return signals

    def _opened(self, watcher: Watcher, frame: Frame) -> list[Signal]:
        """The signals of a target on ticks that waited for the open."""
        now, window, close = frame.market_time_ns, watcher.window, watcher.waiting.close
        in_session = window.open_ns <= now < window.close_ns or window.move_to(now)
        if not (watcher.waits_for_open and in_session):
            return []
        target = watcher.waiting.taken(window.day_open_ns)
        if target is None:
            return []
        token, units = watcher.instrument.instrument_token, round(close * frame.price_scale)
        return self._making.of_target(watcher, target, frame, 1, token, now, units, window.close)

    def _stop_unserved(self, bars: InstrumentBars[Watcher], length_ns: int) -> None:
        """Stops the strategies whose interval can't be made from the recorded bars."""
        unserved, bars.unserved = bars.unserved, []
        for watch in unserved:
            if not watch.watcher.running.stopped:
                error = unserved_interval(watch.builder.interval, length_ns)
                self._failures.unserved[watch.watcher.running.config.strategy_id] = (
                    watch.builder.interval,
                    error,
                )
                self._failures.note(watch.watcher, error, 0, stops=True)

    def _close_bars(self, frame: Frame) -> list[Signal]:
        """Closes the bars of the frame's shard that end before its market time."""
        routing = self._routing
        signals: list[Signal] = []
        now = frame.market_time_ns
        del routing.next_ends[frame.shard]
        for token, bars in sorted(routing.bars[frame.shard].items()):
            if 0 < bars.next_end_ns < now:
                # Numbered by token: no tick causes these, and a strategy may have one for each instrument. One that sees
                # several may have as many at each.
                n = token * MOST_SYMBOLS if self._on_baskets else token
                signals += self._making.of_bars(
                    bars.close_due(now), frame, len(frame.instrument_token), n, now
                )
            routing.schedule_close(bars, token, frame.shard)
        return signals
