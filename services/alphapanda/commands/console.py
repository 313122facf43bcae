"""How commands speak: consoles for answers, for tables that go into a pipe, for complaints; one line for what went wrong."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

import click
from rich.console import Console
from rich.text import Text

out = Console(highlight=False)
wide = Console(highlight=False, width=1_000)
err = Console(stderr=True, highlight=False)

USAGE = 2
"""Exit code for input that can't be used."""

PORT = click.IntRange(0, 65_535)
"""What --port takes."""


def working(text: str) -> AbstractContextManager[object]:
    """On a terminal, says beside a spinner what takes its time; elsewhere nothing."""
    return err.status(Text(text)) if err.is_terminal else nullcontext()


def fail(message: str, code: int = 1) -> NoReturn:
    """Says what is wrong, in one line, and ends the command."""
    err.print(f"alphapanda: {message}", markup=False, soft_wrap=True)
    raise SystemExit(code)


def refuse(problems: Iterable[str]) -> NoReturn:
    """Says everything that is wrong with what was given, a line each, and ends the command."""
    for problem in problems:
        warn(problem)
    raise SystemExit(USAGE)


def warn(message: str) -> None:
    """Says what a person should know, in one line; the command goes on."""
    err.print(f"alphapanda: {message}", markup=False, soft_wrap=True)
