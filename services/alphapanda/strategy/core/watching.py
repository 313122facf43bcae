"""What a host holds for its strategies: by strategy, by strategy and instrument, by instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.strategy.core.bar_watch import BarWatch, InstrumentBars
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument
from alphapanda.strategy.core.holdings import Context, Holdings
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import Strategy, StrategyParameters, Target
from alphapanda.strategy.core.waiting import WaitingTarget, carries_over_night


@dataclass(frozen=True, slots=True)
class StrategyFailure:
    """A strategy raised an error, or made more signals than allowed.

    Attributes:
        strategy_id: the strategy.
        revision: its revision.
        instrument_id: the instrument on which it failed.
        frame_id: the frame on which it failed.
        error: class and message of the error.
        errors_in_a_row: errors in a row on this instrument, this one included; 0 if it made too many signals.
        stopped: True if this failure stopped the strategy; it receives nothing until its next revision.
    """

    strategy_id: str
    revision: int
    instrument_id: str
    frame_id: str
    error: str
    errors_in_a_row: int
    stopped: bool

    @property
    def why(self) -> str:
        """The failure in one sentence, for the note of a strategy that was stopped."""
        if not self.errors_in_a_row:
            return f"{self.error} on {self.instrument_id}"
        return f"{self.errors_in_a_row} errors in a row on {self.instrument_id}: {self.error}"


class Running:
    """A strategy at one revision.

    `holdings` is None if it doesn't read its position; `sees_all` says whether one object sees all its instruments.
    """

    __slots__ = (
        "brokers",
        "config",
        "failed",
        "holdings",
        "min_quantity",
        "quantity",
        "sees_all",
        "stopped",
        "ttl",
        "watchers",
    )

    def __init__(
        self,
        config: StrategyConfig,
        brokers: tuple[str, ...],
        failed: Callable[[Watcher, Isolated, Exception], None],
    ) -> None:
        self.config = config
        self.brokers = brokers
        self.failed = failed
        self.quantity = config.quantity
        self.min_quantity = 0 if config.product is Product.CNC else -config.quantity
        self.ttl = timedelta(seconds=config.signal_ttl_seconds)
        self.watchers: list[Watcher] = []
        self.holdings: Holdings | None = None
        self.stopped = False
        self.sees_all = False


class Watcher:
    """A strategy at one revision on one instrument."""

    __slots__ = (
        "bars",
        "instrument",
        "isolated",
        "keys",
        "made",
        "minute",
        "on_tick",
        "outside_sessions",
        "running",
        "waiting",
        "window",
    )

    def __init__(
        self, running: Running, instrument: StrategyInstrument, window: SessionWindow, *, carries: bool
    ) -> None:
        self.running = running
        self.instrument = instrument
        self.window = window
        self.isolated: Isolated
        self.on_tick: Callable[[float, int], Target | None]
        self.keys = position_keys(running.config, instrument, running.brokers)
        self.outside_sessions = False
        self.bars: BarWatch[Watcher] | None = None
        self.waiting = WaitingTarget(carries=carries)
        self.minute = 0
        self.made = 0

    def context(self, instrument: Instrument) -> Context:
        """What the strategy may read of the instrument: its facts, and the holdings under its position keys."""
        holdings = self.running.holdings
        return Context(
            None if holdings is None else {key.broker: holdings[key] for key in self.keys},
            symbol=instrument.symbol,
            lot_size=instrument.lot_size,
            tick_size=float(instrument.tick_size),
        )

    @property
    def missing(self) -> int:
        """Ticks (or bars) that the strategy still needs on this instrument before its first target."""
        return self.isolated.still_needs() if self.bars is None else self.bars.missing

    def state(self) -> JsonValue:
        """The strategy's state on this instrument, with the state of its bars."""
        remembered = self.isolated.state()
        if self.bars is not None:
            return [remembered, self.bars.state()]
        return remembered if self.waiting.target is None else [*remembered, self.waiting.state()]

    def restore(self, state: Any) -> None:
        """Restores what `state` returned."""
        if self.bars is not None:
            state, of_bars = state
            self.bars.restore(of_bars)
        errors_in_a_row, remembered, *waiting = state
        self.waiting.restore(waiting[0] if waiting else None)
        self.isolated.restore([errors_in_a_row, remembered])

    @property
    def waits_for_open(self) -> bool:
        """Whether a target made at the close of a recorded bar waits for the next open."""
        return self.waiting.target is not None and bool(self.waiting.close)

    def tradable(self, target: Target | None, time_ns: int, close: float = 0.0) -> Target | None:
        """The target to trade at a tick of the window's session: this one, or one that has waited since the close.

        A target at a tick of the closing moment, such as the day's last minute bar, waits.

        Args:
            target: the target that the strategy made at the tick.
            time_ns: the tick's time.
            close: the tick's price in rupees if it is the close of a recorded bar; 0 if not.
        """
        window = self.window
        if time_ns >= window.close_ns:
            if target is not None:
                self.waiting.put(target, window.day_open_ns, close)
            return None
        waited = self.waiting.taken(window.day_open_ns)
        return waited if target is None else target

    def __call__(self, isolated: Isolated, error: Exception) -> None:
        """Reports an error. The watcher itself is the callable, to save memory: there may be 100,000 watchers."""
        self.running.failed(self, isolated, error)


class Route:
    """The strategies on an instrument, and the instrument's session."""

    __slots__ = ("always", "bars", "watchers", "window")

    def __init__(self, window: SessionWindow) -> None:
        self.window = window
        self.watchers: tuple[Watcher, ...] = ()
        self.always: tuple[Watcher, ...] = ()
        self.bars: InstrumentBars[Watcher] | None = None


def position_keys(
    config: StrategyConfig, instrument: StrategyInstrument, brokers: Iterable[str]
) -> tuple[PositionKey, ...]:
    """The keys of a strategy's positions on an instrument, one for each broker."""
    return tuple(
        PositionKey(broker, config.account, config.strategy_id, instrument.instrument_id, config.product)
        for broker in brokers
    )


def bar_watch(
    watcher: Watcher, strategy_type: type[Strategy[Any]], parameters: StrategyParameters
) -> BarWatch[Watcher] | None:
    """Makes the watch of a strategy on bars; None for one on ticks."""
    interval = strategy_type.interval_of(parameters)
    if interval is None:
        return None
    return BarWatch(
        watcher,
        watcher.isolated.on_bar,
        interval,
        strategy_type.warm_up(parameters),
        carries=carries_over_night(strategy_type, parameters, watcher.running.config.product),
    )
