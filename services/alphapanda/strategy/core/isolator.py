"""Catches and reports whatever a strategy's code raises, so that the other strategies continue."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.holdings import Context
from alphapanda.strategy.core.strategy import P, Strategy, Target


class StrategyBroken(Exception):
    """A strategy can't be built or can't restore its state; the error that its code raised is the cause."""


class Isolated:
    """A strategy on one instrument; its errors are caught and reported.

    Args:
        strategy_type: the type; it is built here.
        parameters: an instance of its `parameters_model`.
        failed: called with this object and the error, after the error was counted.
        symbols: the instruments, if it is a type that sees several.

    Raises:
        StrategyBroken: the constructor raised.
    """

    __slots__ = ("_failed", "_strategy", "errors_in_a_row")

    def __init__(
        self,
        strategy_type: type[Strategy[P]],
        parameters: P,
        failed: Callable[[Isolated, Exception], None],
        symbols: Sequence[str] = (),
    ) -> None:
        self.errors_in_a_row = 0
        self._failed = failed
        try:
            self._strategy = strategy_type(*((parameters, symbols) if symbols else (parameters,)))
        except Exception as error:
            raise StrategyBroken(f"{strategy_type.type_name} can't be built: {error_text(error)}") from error

    @property
    def takes_context(self) -> bool:
        """Whether the strategy's object has room for a context; a type with slots of its own may have none."""
        return hasattr(self._strategy, "__dict__") or "context" in getattr(
            type(self._strategy), "__slots__", ()
        )

    def set_context(self, context: Context | Mapping[str, Context]) -> None:
        """Sets the strategy's context, from which it reads facts of the instrument, its position and open orders.

        Raises:
            StrategyBroken: the attribute can't be set.
        """
        try:
            object.__setattr__(self._strategy, "context", context)
        except Exception as error:
            raise StrategyBroken(f"it can't be given its context: {error_text(error)}") from error

    def on_tick(self, price: float, time_ns: int) -> Target | None:
        """Calls `on_tick`; None if it raises."""
        try:
            target = self._strategy.on_tick(price, time_ns)
            if target is not None:
                _require_target(target, "on_tick")
        except Exception as error:
            self.errors_in_a_row += 1
            self._failed(self, error)
            return None
        if self.errors_in_a_row:
            self.errors_in_a_row = 0
        return target

    @property
    def supports_batches(self) -> bool:
        """Whether the strategy's own class implements `on_ticks`: an inherited one knows nothing of an `on_tick` that was overridden."""
        return "on_ticks" in vars(type(self._strategy))

    def on_ticks(self, prices: Sequence[float], times_ns: Sequence[int]) -> list[tuple[int, Target]] | None:
        """Calls `on_ticks`; None if it raises, and the strategy then has to be restored."""
        try:
            targets = self._strategy.on_ticks(prices, times_ns)
            for _, target in targets:
                _require_target(target, "on_ticks")
        except Exception:
            return None
        if len(prices):
            self.errors_in_a_row = 0
        return targets

    def on_bar(self, bar: Bar) -> Target | None:
        """Calls `on_bar`; None if it raises."""
        try:
            target: Target | None = self._on_bar(bar)
            if target is not None:
                _require_target(target, "on_bar")
        except Exception as error:
            self.errors_in_a_row += 1
            self._failed(self, error)
            return None
        self.errors_in_a_row = 0
        return target

    def on_basket_bar(self, symbol: str, bar: Bar, priced: Mapping[str, object]) -> Mapping[str, Target]:
        """Calls `on_bar` of a type that sees several instruments; no target if it raises.

        Args:
            symbol: the instrument of the bar.
            bar: the bar.
            priced: by symbol, the instruments that may have a target.
        """
        try:
            targets = targets_by_symbol(self._on_bar(symbol, bar), priced)
        except Exception as error:
            self.errors_in_a_row += 1
            self._failed(self, error)
            return {}
        self.errors_in_a_row = 0
        return targets

    @property
    def _on_bar(self) -> Callable[..., Any]:
        """The strategy's handler of bars, which takes the symbol first if it sees several instruments."""
        handler: Callable[..., Any] = self._strategy.on_bar  # type: ignore[attr-defined]
        return handler

    def still_needs(self) -> int:
        """Calls `still_needs`; 0 if it raises."""
        try:
            return max(0, int(self._strategy.still_needs()))
        except Exception as error:
            self._failed(self, error)
            return 0

    def state(self) -> list[JsonValue]:
        """The number of errors in a row and the strategy's state, as it comes back from JSON.

        Raises:
            StrategyBroken: `state` raised or returned no JSON value.
        """
        try:
            remembered = json.loads(json.dumps(self._strategy.state()))
        except Exception as error:
            raise StrategyBroken(f"its state can't be stored: {error_text(error)}") from error
        return [self.errors_in_a_row, remembered]

    def restore(self, state: JsonValue) -> None:
        """Restores what `state` returned.

        Raises:
            StrategyBroken: the strategy's `restore` raised.
        """
        try:
            self.errors_in_a_row, remembered = state  # type: ignore[misc, str-unpack, assignment]
            self._strategy.restore(remembered)
        except Exception as error:
            raise StrategyBroken(f"its state can't be restored: {error_text(error)}") from error


def targets_by_symbol(returned: object, priced: Mapping[str, object]) -> Mapping[str, Target]:
    """Checks what a handler of several instruments returned.

    Raises:
        TypeError: it isn't None or a mapping of symbols to targets, or one of an instrument without a bar so far.
    """
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise TypeError(f"on_bar returned {returned!r}; it returns targets by symbol, or None")
    for symbol, target in returned.items():
        if not isinstance(target, Target):
            raise TypeError(f"on_bar returned {target!r} for {symbol}; it returns a Target for each symbol")
        if symbol not in priced:
            known = ", ".join(priced)
            raise TypeError(
                f"on_bar returned a target for {symbol!r}; its instruments with a bar so far are {known}"
            )
    return returned


def _require_target(returned: object, by: str) -> None:
    if not isinstance(returned, Target):
        raise TypeError(f"{by} returned {returned!r}; it returns a Target or None")


def error_text(error: BaseException) -> str:
    """An error's class and message."""
    return f"{type(error).__name__}: {error}"
