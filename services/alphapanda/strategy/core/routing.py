"""Which strategies get the ticks of an instrument, and when the bars of a shard are closed by market time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from alphapanda.strategy.core.bar_watch import BarWatch, InstrumentBars
from alphapanda.strategy.core.watching import Route, Running, Watcher

ANY_SHARD: Final = -1


class Routing:
    """The strategies by instrument.

    Attributes:
        routes: the strategies on an instrument, by token.
        bars: the bars of an instrument, by shard and token.
        next_ends: by shard, the earliest end of an open bar, nanoseconds since the epoch.
        waiting: by shard, the instruments on which a target waits for the next open; those whose shard isn't known after a
            restart are under ANY_SHARD.
    """

    __slots__ = ("bars", "next_ends", "routes", "waiting")

    def __init__(self) -> None:
        self.routes: dict[int, Route] = {}
        self.bars: dict[int, dict[int, InstrumentBars[Watcher]]] = {}
        self.next_ends: dict[int, int] = {}
        self.waiting: dict[int, set[int]] = {}

    def rebuild(self, strategies: Iterable[Running]) -> None:
        """Rebuilds the lookup, in the order in which the strategies are called; changes are rare."""
        routes: dict[int, Route] = {}
        on_bars: dict[int, list[BarWatch[Watcher]]] = {}
        waiting: dict[int, set[int]] = {}
        for running in strategies:
            for watcher in () if running.stopped else running.watchers:
                token = watcher.instrument.instrument_token
                route = routes.get(token)
                if route is None:
                    route = routes[token] = Route(watcher.window)
                if watcher.bars is not None:
                    on_bars.setdefault(token, []).append(watcher.bars)
                    continue
                route.watchers += (watcher,)
                if watcher.waits_for_open:
                    waiting.setdefault(ANY_SHARD, set()).add(token)
                if watcher.outside_sessions:
                    route.always += (watcher,)
        self.routes = routes
        self.bars = {}
        self.next_ends = {}
        self.waiting = waiting
        for token, watches in on_bars.items():
            bars = routes[token].bars = InstrumentBars(routes[token].window, watches)
            self.schedule_open(bars, token, bars.shard)
            self.schedule_close(bars, token, bars.shard)

    def remove(self, running: Running) -> None:
        """Removes a strategy from all instruments at once, even within a frame."""
        for route in self.routes.values():
            route.watchers = tuple(w for w in route.watchers if w.running is not running)
            route.always = tuple(w for w in route.always if w.running is not running)
            if route.bars is not None:
                route.bars.keep(lambda watcher: watcher.running is not running)

    def schedule_open(self, bars: InstrumentBars[Watcher], token: int, shard: int) -> None:
        """Stores that a target waits for the instrument's next open, if one does."""
        if bars.waits_for_open:
            self.waiting.setdefault(shard, set()).add(token)

    def schedule_close(self, bars: InstrumentBars[Watcher], token: int, shard: int) -> None:
        """Stores when market time has to close the instrument's bars, if no tick closes them before."""
        of_shard = self.bars.setdefault(shard, {})
        of_shard[token] = bars
        ends = bars.next_end_ns
        if ends and ends < self.next_ends.get(shard, ends + 1):
            self.next_ends[shard] = ends
