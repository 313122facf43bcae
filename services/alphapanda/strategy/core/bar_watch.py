"""Builds the bars of an instrument, calls the strategies on them, and returns their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from pydantic import JsonValue

from alphapanda.strategy.core.bars import Bar, BarBuilder, OpenHighLow
from alphapanda.strategy.core.pricing import At, restored, stored
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import Target
from alphapanda.strategy.core.waiting import WaitingTarget

W = TypeVar("W")

BarTarget = tuple[W, Target, float]
"""(strategy, its target, price in rupees at which the target was made)."""


class BarWatch(Generic[W]):
    """A strategy on the bars of one instrument: counts its warm-up and drops targets that repeat the stance.

    Args:
        watcher: the strategy on the instrument.
        on_bar: calls the strategy.
        interval: interval of its bars.
        warm_up: bars that it needs before a target counts.
        carries: whether a target made at the close of a day is for the next day.
    """

    __slots__ = (
        "_at", "_day_open_ns", "_on_bar", "_seen", "_stance", "_warm_up", "builder", "waiting", "watcher"
    )  # fmt: skip

    def __init__(
        self,
        watcher: W,
        on_bar: Callable[[Bar], Target | None],
        interval: str,
        warm_up: int,
        *,
        carries: bool = True,
    ) -> None:
        self.watcher = watcher
        self.builder = BarBuilder(interval)
        self.waiting = WaitingTarget(carries=carries)
        self._on_bar = on_bar
        self._warm_up = warm_up
        self._seen = 0
        self._stance: int | None = None
        self._at: At | None = None
        self._day_open_ns = 0

    def target_after(self, bar: Bar) -> Target | None:
        """Calls the strategy with a bar and returns its target; None during its warm-up."""
        target = self._on_bar(bar)
        self.count()
        return None if self._seen < self._warm_up else target

    def targets_after(self, bar: Bar) -> Sequence[tuple[BarWatch[W], Target, float]]:
        """Calls the strategy with a bar; returns (on which of its instruments, the target, that instrument's last price)."""
        target = self.target_after(bar)
        return () if target is None else ((self, target, bar.close),)

    def window(self, of_bar: SessionWindow, time_ns: int) -> SessionWindow | None:
        """The session in which a target made at this time is traded, given that of the bar; None if there is none."""
        return of_bar if of_bar.open_ns <= time_ns < of_bar.close_ns else None

    def count(self) -> None:
        """Counts a bar of the warm-up."""
        if self._seen < self._warm_up:
            self._seen += 1

    @property
    def missing(self) -> int:
        """Bars that the strategy still needs before a target counts."""
        return self._warm_up - self._seen

    def forget_stance(self) -> None:
        """Forgets the last stance, so that the next target makes a signal; the strategy's state stays."""
        self.waiting.forget()
        self._stance = self._at = None

    def update_stance(self, target: Target, day_open_ns: int) -> bool:
        """Stores the target's stance and price; False if they are the same as before on the same day."""
        if target.stance == self._stance and day_open_ns == self._day_open_ns and target.at == self._at:
            return False
        self._stance, self._at = target.stance, target.at
        self._day_open_ns = day_open_ns
        return True

    def state(self) -> JsonValue:
        """The state: warm-up, stance, a target that waits for the next session, and the bar builder."""
        stance = None if self._stance is None else int(self._stance)
        kept: list[JsonValue] = [
            self._seen,
            stance,
            self._day_open_ns,
            self.waiting.state(),
            self.builder.state(),
        ]
        return [*kept, stored(self._at, None)] if self._at is not None else kept

    def restore(self, state: Any) -> None:
        """Restores what `state` returned."""
        self._seen, self._stance, self._day_open_ns, waiting, built, *at = state
        self._at, _ = restored(at[0] if at else None)
        self.waiting.restore(waiting)
        self.builder.restore(built)


class InstrumentBars(Generic[W]):
    """The bars of one instrument, built once for all strategies with the same interval.

    Each strategy begins with a builder of its own, which has only the ticks since the strategy's revision. As soon as two
    builders of one interval have the same state, both strategies share one. So a strategy's bars never depend on which
    other strategies run, or on the snapshots from which they were restored.

    Args:
        window: the current session.
        watches: the strategies, in the order in which they are called.

    Attributes:
        unserved: strategies whose interval can't be made from the recorded bars, such as 5m from 15m, or whose targets could
            be traded at opens that aren't shown; the caller removes them and clears the list.
    """

    __slots__ = ("builders", "unserved", "watches", "window")

    def __init__(self, window: SessionWindow, watches: Iterable[BarWatch[W]]) -> None:
        self.window = window
        self.watches = tuple(watches)
        self.builders: tuple[BarBuilder, ...] = ()
        self.unserved: list[BarWatch[W]] = []
        self._share()

    @property
    def next_end_ns(self) -> int:
        """The earliest end of an open bar; 0 if no bar is open."""
        return min((builder.end_ns for builder in self.builders if builder.end_ns), default=0)

    @property
    def shard(self) -> int:
        """Shard of the instrument's ticks; -1 before the first tick."""
        return max((builder.shard for builder in self.builders), default=-1)

    def tick(
        self,
        price: float,
        at_ns: int,
        time_ns: int,
        volume: int | None,
        shard: int,
        prices: OpenHighLow | None = None,
    ) -> list[BarTarget[W]]:
        """Handles a tick inside the window's session, or a recorded bar that starts there.

        Args:
            price: rupees; a recorded bar's close.
            at_ns: the tick's time; a recorded bar's start.
            time_ns: the tick's time; a recorded bar's end, when it is known.
            volume: units traded in the day so far; None if the feed has no volumes.
            shard: shard of its frame.
            prices: open, high and low of a recorded bar; None if unknown.

        Returns:
            The targets that it caused, in the watches' order.
        """
        closed: dict[BarBuilder, list[Bar]] = {}
        if at_ns <= self.window.day_open_ns and self.window.day_close_ns <= time_ns:
            # Of days alone, and no open was shown since: what waits can never be traded.
            self.unserved += [watch for watch in self.watches if watch.waiting.target is not None]
        for builder in self.builders:
            if builder.end_ns and builder.ends_before(at_ns, time_ns, self.window):
                closed.setdefault(builder, []).append(builder.close())
            builder.add(price, at_ns, volume, self.window, shard, prices, time_ns if at_ns < time_ns else 0)
            if builder.end_ns and time_ns >= builder.end_ns:
                if at_ns < time_ns and not builder.serves(time_ns, self.window):
                    self.unserved += [watch for watch in self.watches if watch.builder is builder]
                    continue
                closed.setdefault(builder, []).append(builder.close())
        window = self.window
        in_session = window.open_ns <= time_ns < window.close_ns
        targets: list[BarTarget[W]] = []
        if in_session:
            for watch in self.watches:
                if watch.waiting.target is None:
                    continue
                target = watch.waiting.taken(window.day_open_ns)
                if target is not None and watch.update_stance(target, window.day_open_ns):
                    targets.append((watch.watcher, target, price))
        recorded = at_ns < time_ns
        return targets + self._targets_after(closed, time_ns, recorded=recorded) if closed else targets

    @property
    def waits_for_open(self) -> bool:
        """Whether a target made at the close of a recorded bar waits for the next open."""
        return any(watch.waiting.target is not None and watch.waiting.close for watch in self.watches)

    def opened(self, market_time_ns: int) -> list[BarTarget[W]]:
        """Handles a session's open; returns the targets that waited for it; none if no session is open."""
        window = self.window
        if not (window.open_ns <= market_time_ns < window.close_ns or window.move_to(market_time_ns)):
            return []
        targets: list[BarTarget[W]] = []
        for watch in self.watches:
            close = watch.waiting.close
            if watch.waiting.target is None or not close:
                continue
            target = watch.waiting.taken(window.day_open_ns)
            if target is not None and watch.update_stance(target, window.day_open_ns):
                targets.append((watch.watcher, target, close))
        return targets

    def outside(self, volume: int, at_ns: int) -> None:
        """Takes the day's volume at a tick outside of sessions."""
        for builder in self.builders:
            builder.outside(volume, at_ns)

    def close_due(self, market_time_ns: int) -> list[BarTarget[W]]:
        """Closes the bars that end before this market time; returns the targets that this caused."""
        closed = {
            builder: [builder.close()]
            for builder in self.builders
            if builder.end_ns and builder.end_ns < market_time_ns
        }
        window = self.window
        if not window.open_ns <= market_time_ns < window.close_ns:
            window.move_to(market_time_ns)
        return self._targets_after(closed, market_time_ns)

    def keep(self, stays: Callable[[W], bool]) -> None:
        """Drops the watches of strategies for which `stays` is false."""
        self.watches = tuple(watch for watch in self.watches if stays(watch.watcher))
        self._share()

    def _targets_after(
        self, closed: dict[BarBuilder, list[Bar]], time_ns: int, *, recorded: bool = False
    ) -> list[BarTarget[W]]:
        targets: list[BarTarget[W]] = []
        for watch in self.watches:
            for bar in closed.get(watch.builder, ()):
                for on, target, price in watch.targets_after(bar):
                    window = on.window(self.window, time_ns)
                    if window is None:
                        on.waiting.put(target, bar.day_open_ns, price if recorded else 0.0)
                        continue
                    wanted: Target | None = target
                    if bar.day_open_ns != window.day_open_ns:  # no tick showed the end of its day
                        on.waiting.put(target, bar.day_open_ns)
                        wanted = on.waiting.taken(window.day_open_ns)
                    if wanted is not None and on.update_stance(wanted, window.day_open_ns):
                        targets.append((on.watcher, wanted, price))
        if len(self.builders) > 1:
            self._share()
        return targets

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
