"""Who watches the bars of an instrument, and what becomes of their wishes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from pydantic import JsonValue

from alphapanda.strategy.core.bars import Bar, BarBuilder
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import Stance, Wish

W = TypeVar("W")

Asked = tuple[W, Wish, float]
"""Who wishes what, and the price it was made at, rupees."""


class BarWatch(Generic[W]):
    """One strategy on the bars of one instrument: counts its warm-up, and passes a stance on only where it is new.

    Args:
        watcher: whose it is.
        on_bar: asks the strategy.
        interval: of its bars.
        warm_up: bars it needs before a wish counts.
    """

    __slots__ = ("_day_open_ns", "_on_bar", "_seen", "_stance", "_warm_up", "builder", "held", "watcher")

    def __init__(self, watcher: W, on_bar: Callable[[Bar], Wish | None], interval: str, warm_up: int) -> None:
        self.watcher = watcher
        self.builder = BarBuilder(interval)
        self.held: Wish | None = None
        self._on_bar = on_bar
        self._warm_up = warm_up
        self._seen = 0
        self._stance: int | None = None
        self._day_open_ns = 0

    def ask(self, bar: Bar) -> Wish | None:
        """What the strategy wishes, once it is warm."""
        wish = self._on_bar(bar)
        if self._seen < self._warm_up:
            self._seen += 1
            if self._seen < self._warm_up:
                return None
        return wish

    @property
    def missing(self) -> int:
        """Bars that it still has to see before a wish counts."""
        return self._warm_up - self._seen

    def rest(self) -> None:
        """Forgets the stance, so that the next bar's is told; what it remembers of the bars stays."""
        self.held = self._stance = None

    def turned(self, wish: Wish, day_open_ns: int) -> bool:
        """Whether the stance is another than before, or the day's first; it is the one from now on."""
        if wish.stance == self._stance and day_open_ns == self._day_open_ns:
            return False
        self._stance = wish.stance
        self._day_open_ns = day_open_ns
        return True

    def state(self) -> JsonValue:
        """Warm-up, stance, a wish that waits for a session, and the builder."""
        held: JsonValue = None if self.held is None else [int(self.held.stance), self.held.reason]
        stance = None if self._stance is None else int(self._stance)
        return [self._seen, stance, self._day_open_ns, held, self.builder.state()]

    def restore(self, state: Any) -> None:
        """Takes up a state."""
        self._seen, self._stance, self._day_open_ns, held, built = state
        self.held = None if held is None else Wish(Stance(held[0]), held[1])
        self.builder.restore(built)


class InstrumentBars(Generic[W]):
    """The bars of one instrument, built once for all strategies that want the same.

    Each strategy comes with a builder of its own, which knows only ticks since the strategy's revision; the moment two
    of one interval have the same state, one goes on for both. So what a strategy is shown never depends on who else
    watches, nor on who was restored from which snapshot (rule 11).

    Args:
        window: the session.
        watches: in the order in which they are asked.
    """

    __slots__ = ("builders", "watches", "window")

    def __init__(self, window: SessionWindow, watches: Iterable[BarWatch[W]]) -> None:
        self.window = window
        self.watches = tuple(watches)
        self.builders: tuple[BarBuilder, ...] = ()
        self._share()

    @property
    def next_end_ns(self) -> int:
        """End of the open bar that ends first; 0 where none is open."""
        return min((builder.end_ns for builder in self.builders if builder.end_ns), default=0)

    @property
    def shard(self) -> int:
        """Shard of its ticks; -1 where there was none."""
        return max((builder.shard for builder in self.builders), default=-1)

    def tick(self, price: float, at_ns: int, time_ns: int, volume: int | None, shard: int) -> list[Asked[W]]:
        """A tick inside the window's session: what the watchers wish now, in their order."""
        closed: dict[BarBuilder, list[Bar]] = {}
        for builder in self.builders:
            if builder.end_ns and at_ns >= builder.end_ns:
                closed.setdefault(builder, []).append(builder.close())
            builder.add(price, at_ns, volume, self.window, shard)
            if builder.end_ns and time_ns >= builder.end_ns:
                closed.setdefault(builder, []).append(builder.close())
        window = self.window
        in_session = window.open_ns <= time_ns < window.close_ns
        wishes: list[Asked[W]] = []
        if in_session:
            for watch in self.watches:
                if watch.held is not None:
                    held, watch.held = watch.held, None
                    if watch.turned(held, window.day_open_ns):
                        wishes.append((watch.watcher, held, price))
        return wishes + self._asked(closed, in_session=in_session) if closed else wishes

    def passed(self, market_time_ns: int) -> list[Asked[W]]:
        """Market time has come here: closes the bars whose end it is past."""
        closed = {
            builder: [builder.close()]
            for builder in self.builders
            if builder.end_ns and builder.end_ns < market_time_ns
        }
        window = self.window
        in_session = window.open_ns <= market_time_ns < window.close_ns or window.moved_to(market_time_ns)
        return self._asked(closed, in_session=in_session)

    def keep(self, stays: Callable[[W], bool]) -> None:
        """Drops the watchers that don't stay."""
        self.watches = tuple(watch for watch in self.watches if stays(watch.watcher))
        self._share()

    def _asked(self, closed: dict[BarBuilder, list[Bar]], *, in_session: bool) -> list[Asked[W]]:
        wishes: list[Asked[W]] = []
        for watch in self.watches:
            for bar in closed.get(watch.builder, ()):
                wish = watch.ask(bar)
                if wish is None:
                    continue
                if not in_session:
                    watch.held = wish
                elif watch.turned(wish, self.window.day_open_ns):
                    wishes.append((watch.watcher, wish, bar.close))
        if len(self.builders) > 1:
            self._share()
        return wishes

    def _share(self) -> None:
        builders: list[BarBuilder] = []
        for watch in self.watches:
            own = watch.builder
            for builder in builders:
                if builder is own or (builder.interval == own.interval and builder.state() == own.state()):
                    watch.builder = builder
                    break
            else:
                builders.append(own)
        self.builders = tuple(builders)
