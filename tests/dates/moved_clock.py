"""Moves the wall clock of this project's modules, services and tests alike, by a number of seconds.

Only `datetime.now` is moved, the one way in which they read it. What the libraries, PostgreSQL, Redis, Kafka and the
kernel measure stays as it is, so deadlines, sessions and back-offs keep their length.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any

AHEAD = timedelta(seconds=float(os.environ.get("TEST_DATES_AHEAD_SECONDS", "0")))


class _Kind(type(datetime)):  # type: ignore[misc]
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


class Moved(datetime, metaclass=_Kind):
    """`datetime` to whoever reads the time; what it makes are plain ones."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return datetime(*args, **kwargs)  # noqa: DTZ001 - the caller's arguments

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        """The moved time."""
        return datetime.now(tz) + AHEAD


def move(loader: type) -> None:
    """Has modules that this kind of loader loads, and that ask for the time, read the moved clock.

    Test modules have a loader of their own, which pytest brings along: it is moved as soon as it is there.
    """
    execute: Callable[[Any, ModuleType], None] = loader.exec_module  # type: ignore[attr-defined]

    def moved(self: Any, module: ModuleType) -> None:
        execute(self, module)
        if module.__name__ == "_pytest.assertion.rewrite":
            move(module.AssertionRewritingHook)
        if getattr(module, "datetime", None) is datetime and _asks_for_the_time(module):
            module.datetime = Moved  # type: ignore[attr-defined]

    loader.exec_module = moved  # type: ignore[attr-defined]


def _asks_for_the_time(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None) or ""
    if "site-packages" in file or not file.endswith(".py"):
        return False
    with open(file, encoding="utf-8") as source:  # noqa: PTH123 - every process waits for it
        return "datetime.now(" in source.read()
