"""Strategies that see several instruments at once: one object gets the bars of all of them, and has a target for each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.holdings import Context
from alphapanda.strategy.core.strategy import B, Strategy, Target

MOST_SYMBOLS = 500


class BasketStrategy(Strategy[B]):
    """A strategy on closed bars of several instruments, such as a pair, a basket or a ranking.

    One object is built for all its instruments. It gets each bar when it is closed, so in the order of time, and may then
    say a target for any of its instruments of which it has had a bar. Bars that end at the same time come one after the
    other: a strategy that compares instruments waits until each has had its bar (`bar.start_ns` says which it is). A target
    may be repeated: a signal is made if the instrument's stance or its price differs from the one before, and at its first
    target of a day. Targets count once each instrument has had `warm_up` bars. A target at a session's close is carried as with
    BarStrategy.

    Attributes:
        least_symbols: number of instruments that it needs, 2 or more.
        most_symbols: number of instruments that it can have.
        context: by symbol, what it may read of the instrument in its handler.
    """

    __slots__ = ()

    least_symbols: ClassVar[int] = 2
    most_symbols: ClassVar[int] = MOST_SYMBOLS
    if TYPE_CHECKING:
        context: Mapping[str, Context]  # type: ignore[assignment]

    @abstractmethod
    def __init__(self, parameters: B, symbols: Sequence[str]) -> None:
        """Starts with an empty state.

        Args:
            parameters: an instance of `parameters_model`.
            symbols: its instruments, such as "NSE:INFY", in the order of its configuration.
        """

    @abstractmethod
    def on_bar(self, symbol: str, bar: Bar) -> Mapping[str, Target] | None:
        """Handles a closed bar of an instrument; returns targets by symbol. An instrument without one keeps its target."""

    @classmethod
    @override
    def interval_of(cls, parameters: Any) -> str | None:
        """The parameter `interval`."""
        return str(parameters.interval)

    @override
    def on_tick(self, price: float, time_ns: int) -> Target | None:
        """Is never called: it gets no ticks."""
        return None


def require_together(
    strategy_type: type[Strategy[Any]], instruments: Sequence[Instrument], field: str
) -> None:
    """Checks the instruments of a strategy that sees them all; others may have any.

    Raises:
        InvalidInput: there are too few, or too many.
    """
    if not issubclass(strategy_type, BasketStrategy):
        return
    least, most = strategy_type.least_symbols, strategy_type.most_symbols
    symbols = ", ".join(each.symbol for each in instruments)
    if not least <= len(instruments) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        name = strategy_type.type_name
        raise InvalidInput(
            field, symbols, f"{wanted} symbols: one strategy of type {name} sees them all together"
        )
