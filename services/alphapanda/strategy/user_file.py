"""Imports a user's Python file with strategies; whatever its code raises is reported as an error of the file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from alphapanda.strategy.core.isolator import error_text
from alphapanda.strategy.core.strategy import StrategyParameters

USER_MODULES = "alphapanda_user_strategies"


class StrategyFileBroken(Exception):
    """A user's file can't be used; `line` is 0 if the error has no line."""

    def __init__(self, error: str, line: int) -> None:
        self.line = line
        super().__init__(error)


def imported(path: Path) -> ModuleType:
    """Runs a user's Python file as a module of its own.

    Raises:
        StrategyFileBroken: it raised; `line` is the last of its lines that ran.
    """
    name = f"{USER_MODULES}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StrategyFileBroken("it is not a Python file", 0)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks annotations up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise StrategyFileBroken(error_text(error), _line(error, path)) from error
    return module


def default_parameters(model: type[StrategyParameters], line: int) -> None:
    """Checks that a type's parameters can be built from their defaults.

    Raises:
        StrategyFileBroken: they can't; the error has the type's `line`.
    """
    try:
        model()
        model.model_json_schema()
    except Exception as error:
        raise StrategyFileBroken(
            f"its parameters can't be built from their defaults: {error_text(error)}", line
        ) from error


def _line(error: BaseException, path: Path) -> int:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 0
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else 0) or 0
