"""The consoles that commands print to: answers, tables that go into a pipe, errors; an error is one line."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typing_extensions import override

from alphapanda.telemetry.visible import visible


class VisibleConsole(Console):
    """A console that shows texts and never obeys them: they come from callers, too."""

    @override
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control or text.isprintable() else Segment(visible(text), style)


out = VisibleConsole(highlight=False)
wide = VisibleConsole(highlight=False, width=1_000)
err = VisibleConsole(stderr=True, highlight=False)

USAGE = 2
"""Exit code for invalid input."""

PORT = click.IntRange(0, 65_535)
"""Type of the option --port."""


def working(text: str) -> AbstractContextManager[object]:
    """Shows a spinner with this text while something takes time, on a terminal only."""
    return err.status(Text(text)) if err.is_terminal else nullcontext()


def fail(message: str, code: int = 1) -> NoReturn:
    """Prints one line that says what is wrong, and ends the command."""
    err.print(f"alphapanda: {message}", markup=False, soft_wrap=True)
    raise SystemExit(code)


def refuse(problems: Iterable[str]) -> NoReturn:
    """Prints a line for each thing wrong with the input, and ends the command."""
    for problem in problems:
        warn(problem)
    raise SystemExit(USAGE)


def warn(message: str) -> None:
    """Prints a warning, one line; the command goes on."""
    err.print(f"alphapanda: {message}", markup=False, soft_wrap=True)
