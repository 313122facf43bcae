"""Keeps a strategy's errors its own: the one place beside the reliable consumer that catches everything."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from pydantic import JsonValue

from alphapanda.strategy.core.bars import Bar
from alphapanda.strategy.core.holdings import Context
from alphapanda.strategy.core.strategy import BarStrategy, P, Strategy, StrategyParameters, Wish

USER_MODULES = "alphapanda_user_strategies"


class StrategyBroken(Exception):
    """A strategy that can't be built, or can't take up its state; the error it raised is the cause."""


class StrategyFileBroken(Exception):
    """A user's file that can't be used; `line` is 0 where none is to blame."""

    def __init__(self, error: str, line: int) -> None:
        self.line = line
        super().__init__(error)


def imported(path: Path) -> ModuleType:
    """Runs a user's Python file as a module of its own.

    Raises:
        StrategyFileBroken: it raised, with the last of its lines that was at work.
    """
    name = f"{USER_MODULES}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StrategyFileBroken("it is no Python file", 0)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks annotations up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise StrategyFileBroken(_text(error), _line(error, path)) from error
    return module


def default_parameters(model: type[StrategyParameters], line: int) -> None:
    """Builds a user's parameters from their defaults.

    Raises:
        StrategyFileBroken: they can't be; it is told of the type at `line`.
    """
    try:
        model()
        model.model_json_schema()
    except Exception as error:
        raise StrategyFileBroken(
            f"its parameters can't be built from their defaults: {_text(error)}", line
        ) from error


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
            raise StrategyBroken(f"{strategy_type.type_name} can't be built: {_text(error)}") from error

    def may_read(self, context: Context) -> None:
        """Gives the strategy what it reads of its own trading.

        Raises:
            StrategyBroken: it doesn't take it.
        """
        try:
            object.__setattr__(self._strategy, "context", context)
        except Exception as error:
            raise StrategyBroken(f"it can't be given its context: {_text(error)}") from error

    def on_tick(self, price: float, time_ns: int) -> Wish | None:
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

    def on_bar(self, bar: Bar) -> Wish | None:
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
            raise StrategyBroken(f"its state can't be stored: {_text(error)}") from error
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
            raise StrategyBroken(f"its state can't be taken up: {_text(error)}") from error


def _require_wish(returned: object, by: str) -> None:
    if not isinstance(returned, Wish):
        raise TypeError(f"{by} returned {returned!r}; it returns a Wish or None")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _line(error: BaseException, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 0
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else 0) or 0
