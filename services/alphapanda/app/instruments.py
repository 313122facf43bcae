"""Where the user's instruments are kept, and the directory of all instruments that are known on this machine."""

from __future__ import annotations

from datetime import date
from typing import Final

from alphapanda.app.calendars import usual_data_directory
from alphapanda.embedded.layout import INSTRUMENTS_FILE
from alphapanda.instruments.core import shipped_instruments, shipped_symbol_changes
from alphapanda.instruments.directory import RegisteredDirectory
from alphapanda.instruments.registry import InstrumentRegistry
from alphapanda.settings.model import Settings

EVERY_DAY: Final = date.max
"""The day as of which a replay takes the dated facts of shipped instruments: the latest there are."""


def registry_of(settings: Settings) -> InstrumentRegistry:
    """The registry of imported and added instruments: one file for `replay`, `up` and `serve instruments`."""
    file = settings.instruments.file or usual_data_directory(settings) / INSTRUMENTS_FILE
    return InstrumentRegistry(file.expanduser())


def known_instruments(settings: Settings, day: date) -> RegisteredDirectory:
    """The shipped instruments as of a day, and those that were imported or added.

    Raises:
        InvalidInput: the registry can't be read.
    """
    return RegisteredDirectory(shipped_instruments(day), registry_of(settings), shipped_symbol_changes())
