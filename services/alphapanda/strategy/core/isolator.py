"""Contains a strategy's errors: whatever its code raises is reported, and the other strategies go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from pydantic import JsonValue

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.holdings import Context
from alphapanda.strategy.core.strategy import BarStrategy, P, Strategy, Target


class StrategyBroken(Exception):
    """A strategy that can't be built, or can't take up its state; the error it raised is the cause."""


class Isolated:
    """A strategy on one instrument whose errors are reported and go no further.

    Args:
        strategy_type: the type, built here.
        parameters: one of its `parameters_model`.
        failed: called with this and the error, after the error was counted.

    Raises:
        StrategyBroken: the type's construction raised.
    """

    __slots__ = ("_failed", "_strategy", "errors_in_a_row")

    def __init__(
        self,
        strategy_type: type[Strategy[P]],
        parameters: P,
        failed: Callable[[Isolated, Exception], None],
    ) -> None:
        self.errors_in_a_row = 0
        self._failed = failed
        try:
            self._strategy = strategy_type(parameters)
        except Exception as error:
            raise StrategyBroken(f"{strategy_type.type_name} can't be built: {error_text(error)}") from error

    def may_read(self, context: Context) -> None:
        """Gives the strategy what it reads of its own trading.

        Raises:
            StrategyBroken: it doesn't take it.
        """
        try:
            object.__setattr__(self._strategy, "context", context)
        except Exception as error:
            raise StrategyBroken(f"it can't be given its context: {error_text(error)}") from error

    def on_tick(self, price: float, time_ns: int) -> Target | None:
        """What the strategy says of a tick; None where it raises."""
        try:
            wish = self._strategy.on_tick(price, time_ns)
            if wish is not None:
                _require_wish(wish, "on_tick")
        except Exception as error:
            self.errors_in_a_row += 1
            self._failed(self, error)
            return None
        if self.errors_in_a_row:
            self.errors_in_a_row = 0
        return wish

    @property
    def takes_many(self) -> bool:
        """Whether the strategy takes many ticks at once."""
        return type(self._strategy).on_ticks is not Strategy.on_ticks

    def on_ticks(self, prices: Sequence[float], times_ns: Sequence[int]) -> list[tuple[int, Target]] | None:
        """What the strategy says of many ticks, as (index, wish); None where it raises, and it has to be restored then."""
        try:
            wishes = self._strategy.on_ticks(prices, times_ns)
            for _, wish in wishes:
                _require_wish(wish, "on_ticks")
        except Exception:
            return None
        if len(prices):
            self.errors_in_a_row = 0
        return wishes

    def on_bar(self, bar: Bar) -> Target | None:
        """What a strategy on bars says of one; None where it raises."""
        try:
            wish = self._strategy.on_bar(bar) if isinstance(self._strategy, BarStrategy) else None
            if wish is not None:
                _require_wish(wish, "on_bar")
        except Exception as error:
            self.errors_in_a_row += 1
            self._failed(self, error)
            return None
        self.errors_in_a_row = 0
        return wish

    def still_needs(self) -> int:
        """Ticks that the strategy still needs, as it says; 0 where it raises."""
        try:
            return max(0, int(self._strategy.still_needs()))
        except Exception as error:
            self._failed(self, error)
            return 0

    def state(self) -> JsonValue:
        """What the strategy remembers, as it comes back from JSON, and its errors in a row.

        Raises:
            StrategyBroken: it doesn't give a JSON value.
        """
        try:
            remembered = json.loads(json.dumps(self._strategy.state()))
        except Exception as error:
            raise StrategyBroken(f"its state can't be stored: {error_text(error)}") from error
        return [self.errors_in_a_row, remembered]

    def restore(self, state: JsonValue) -> None:
        """Takes up what `state` gave.

        Raises:
            StrategyBroken: the strategy doesn't take it.
        """
        try:
            self.errors_in_a_row, remembered = state  # type: ignore[misc, str-unpack, assignment]
            self._strategy.restore(remembered)
        except Exception as error:
            raise StrategyBroken(f"its state can't be taken up: {error_text(error)}") from error


def _require_wish(returned: object, by: str) -> None:
    if not isinstance(returned, Target):
        raise TypeError(f"{by} returned {returned!r}; it returns a Target or None")


def error_text(error: BaseException) -> str:
    """An error's class and message."""
    return f"{type(error).__name__}: {error}"
