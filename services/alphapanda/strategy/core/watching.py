"""What a host keeps of its strategies: a strategy at a revision, on an instrument, and by instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.strategy.core.bar_watch import BarWatch, InstrumentBars
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument
from alphapanda.strategy.core.holdings import Context, Holdings
from alphapanda.strategy.core.isolator import Isolated
from alphapanda.strategy.core.sessions import SessionWindow
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Strategy, StrategyParameters, Target


@dataclass(frozen=True, slots=True)
class StrategyFailure:
    """A strategy raised, or made more signals than it may.

    Attributes:
        strategy_id: which strategy.
        revision: its revision.
        instrument_id: on which instrument.
        frame_id: on which frame.
        error: class and message of the error.
        errors_in_a_row: how many on this instrument, this one included; 0 where it made too many signals.
        stopped: True where it was one too many: the strategy receives nothing more until its next revision.
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
    """A strategy at one revision; `holdings` is None where it doesn't read them."""

    __slots__ = (
        "brokers",
        "config",
        "failed",
        "holdings",
        "quantity",
        "shortest",
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
        self.shortest = 0 if config.product is Product.CNC else -config.quantity
        self.ttl = timedelta(seconds=config.signal_ttl_seconds)
        self.watchers: list[Watcher] = []
        self.holdings: Holdings | None = None
        self.stopped = False


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
        "window",
    )

    def __init__(self, running: Running, instrument: StrategyInstrument, window: SessionWindow) -> None:
        self.running = running
        self.instrument = instrument
        self.window = window
        self.isolated: Isolated
        self.on_tick: Callable[[float, int], Target | None]
        self.keys = position_keys(running.config, instrument, running.brokers)
        self.outside_sessions = False
        self.bars: BarWatch[Watcher] | None = None
        self.minute = 0
        self.made = 0

    def read_holdings(self) -> None:
        """Gives the strategy its context: what is held under its keys."""
        holdings = self.running.holdings
        if holdings is not None:
            self.isolated.may_read(Context({key.broker: holdings[key] for key in self.keys}))

    @property
    def missing(self) -> int:
        """Ticks, or bars, that the strategy still needs here before its first target."""
        return self.isolated.still_needs() if self.bars is None else self.bars.missing

    def state(self) -> JsonValue:
        """The strategy's state here, and the state of its bars."""
        remembered = self.isolated.state()
        return remembered if self.bars is None else [remembered, self.bars.state()]

    def restore(self, state: Any) -> None:
        """Restores what `state` returned."""
        if self.bars is not None:
            state, waiting = state
            self.bars.restore(waiting)
        self.isolated.restore(state)

    def __call__(self, isolated: Isolated, error: Exception) -> None:
        """Passes an error on. There may be 100,000 watchers, so none has a callable of its own for this."""
        self.running.failed(self, isolated, error)


class Route:
    """The strategies on an instrument, on ticks and on bars, and its session."""

    __slots__ = ("always", "bars", "watchers", "window")

    def __init__(self, window: SessionWindow) -> None:
        self.window = window
        self.watchers: tuple[Watcher, ...] = ()
        self.always: tuple[Watcher, ...] = ()
        self.bars: InstrumentBars[Watcher] | None = None


def position_keys(
    config: StrategyConfig, instrument: StrategyInstrument, brokers: Iterable[str]
) -> tuple[PositionKey, ...]:
    """The positions of a strategy on an instrument, broker by broker."""
    return tuple(
        PositionKey(broker, config.account, config.strategy_id, instrument.instrument_id, config.product)
        for broker in brokers
    )


def bar_watch(
    watcher: Watcher, strategy_type: type[Strategy[Any]], parameters: StrategyParameters
) -> BarWatch[Watcher] | None:
    """The watch that builds bars for a strategy on bars; None for one on ticks."""
    if not issubclass(strategy_type, BarStrategy) or not isinstance(parameters, BarParameters):
        return None
    return BarWatch(watcher, watcher.isolated.on_bar, parameters.interval, strategy_type.warm_up(parameters))
