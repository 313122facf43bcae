"""The options that say how data files are read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--bar-interval", help="length of a bar, 1m to 1d  [default: read from the spacing of the bars]"
    ),
    click.option("--stamp", metavar="start|end", help="which end of a bar its time names"),
    click.option(
        "--on-conflict",
        metavar="first|last",
        help="which of two rows that disagree about one bar is used  [default: neither, an error]",
    ),
    click.option(
        "--columns",
        metavar="ROLE=COLUMN,…",
        help="columns that aren't recognised by their names, such as open=o,close=c",
    ),
    click.option(
        "--time-format",
        metavar="FORM",
        help="dmy, mdy or ymd; s, ms, us or ns; or a pattern such as '%d-%m-%Y %H:%M'  [default: recognised]",
    ),
    click.option("--time-zone", metavar="ZONE", help="zone of times that name none  [default: Asia/Kolkata]"),
)
_NAMES = ("bar_interval", "stamp", "on_conflict", "columns", "time_format", "time_zone")


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which gets them as `reading`: values by the names of the settings of `replay`."""

    @functools.wraps(command)
    def with_reading(*arguments: Any, **options: Any) -> None:
        reading = {name: options.pop(name) for name in _NAMES}
        command(*arguments, reading=reading, **options)

    wrapped: Callable[..., None] = with_reading
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
