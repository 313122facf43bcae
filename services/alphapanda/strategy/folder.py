"""Loads a user's strategies from a folder of Python files outside the package."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from alphapanda.domain.errors import InvalidInput
from alphapanda.strategy.core.basket import BasketStrategy
from alphapanda.strategy.core.registry import SHIPPED, StrategyRegistry
from alphapanda.strategy.core.strategy import BarParameters, BarStrategy, Strategy, StrategyParameters
from alphapanda.strategy.user_file import StrategyFileBroken, default_parameters, imported

_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class BadStrategyFile:
    """A file whose strategies can't be used.

    Attributes:
        path: the file.
        line: line of the error; 0 if it has none.
        error: the error.
    """

    path: Path
    line: int
    error: str

    @property
    def text(self) -> str:
        """File, line and error in one line that editors recognise."""
        return f"{self.path}:{self.line}: {self.error}" if self.line else f"{self.path}: {self.error}"


def registry_with(folder: Path | None, on_bad: Callable[[BadStrategyFile], None]) -> StrategyRegistry:
    """Makes a registry of the shipped types and those of a folder; a file that can't be used is reported and skipped.

    It reads the files `*.py` whose names don't begin with "_" or "test_", sorted by name.

    Args:
        folder: the folder; None: only the shipped types.
        on_bad: called with each file that can't be used.

    Raises:
        InvalidInput: the folder doesn't exist.
    """
    types = {each.type_name: each for each in SHIPPED}
    if folder is None:
        return StrategyRegistry()
    if not folder.expanduser().is_dir():
        raise InvalidInput("strategy.folder", folder, "a folder with strategies' Python files")
    for path in sorted(folder.expanduser().glob("*.py")):
        if path.name.startswith(("_", "test_")):
            continue
        try:
            types |= {each.type_name: each for each in _checked(path, types)}
        except StrategyFileBroken as broken:
            on_bad(BadStrategyFile(path, broken.line, str(broken)))
    return StrategyRegistry(types.values())


def _checked(path: Path, taken: dict[str, type[Strategy[Any]]]) -> list[type[Strategy[Any]]]:
    """Imports a file and returns its types.

    Raises:
        StrategyFileBroken: it can't be imported, has no type, or has one that can't be registered.
    """
    types = list(_types(imported(path)))
    if not types:
        raise StrategyFileBroken(
            "it defines no Strategy, BarStrategy or BasketStrategy; a file without one begins with _", 0
        )
    names: set[str] = set()
    for each in types:
        line = inspect.getsourcelines(each)[1]
        name = getattr(each, "type_name", None)
        if not isinstance(name, str) or not _TYPE_NAME.fullmatch(name):
            raise StrategyFileBroken(
                f"{each.__name__}.type_name is {name!r}; allowed: a name such as 'my_breakout'", line
            )
        if name in taken or name in names:
            owner = inspect.getmodule(taken.get(name, each))
            where = getattr(owner, "__file__", None) or path
            raise StrategyFileBroken(f"the type name {name!r} is taken by {where}; choose another", line)
        names.add(name)
        wanted = BarParameters if issubclass(each, BarStrategy | BasketStrategy) else StrategyParameters
        model = getattr(each, "parameters_model", None)
        if not isinstance(model, type) or not issubclass(model, wanted):
            raise StrategyFileBroken(
                f"{each.__name__}.parameters_model is {model!r}; allowed: a subclass of {wanted.__name__}",
                line,
            )
        default_parameters(model, line)
    return types


def _types(module: ModuleType) -> Iterator[type[Strategy[Any]]]:
    for each in vars(module).values():
        ours = isinstance(each, type) and issubclass(each, Strategy) and each.__module__ == module.__name__
        if ours and not inspect.isabstract(each):
            yield each
