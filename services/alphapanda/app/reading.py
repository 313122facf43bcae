"""How data files are read: the settings of `replay`, and what a command says in their place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.core.recorded.options import ReadingOptions, reading_options
from alphapanda.settings.services import ReplaySettings


def reading_of(
    settings: ReplaySettings, instead: Mapping[str, object] = MappingProxyType({})
) -> ReadingOptions:
    """Checks how the files are to be read.

    Args:
        settings: the section `replay`.
        instead: values by the names of the settings; None: the setting holds.

    Raises:
        InvalidInput: a value isn't allowed.
    """

    def given(name: str, setting: str) -> str:
        value = instead.get(name)
        return setting if value is None else str(value)

    stamp = given("stamp", settings.stamp)
    return reading_options(
        bar_interval=given("bar_interval", settings.bar_interval),
        stamp=None if stamp == "auto" else stamp,
        on_conflict=given("on_conflict", settings.on_conflict),
        columns=given("columns", settings.columns),
        time_format=given("time_format", settings.time_format),
        time_zone=given("time_zone", settings.time_zone),
        first_day=_day(given("first_day", settings.first_day), "--from"),
        last_day=_day(given("last_day", settings.last_day), "--to"),
    )


def _day(text: str, option: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(option, text, "a day as YYYY-MM-DD") from None
