"""Settings of the trading calendar."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from alphapanda.settings.section import Section


class CalendarSettings(Section):
    """The trading calendar."""

    file: Path | None = Field(
        None,
        description="TOML file with your own holidays and sessions, laid over the shipped calendar; unset:"
        " calendar.toml in the data directory, where `alphapanda calendar import` puts it",
    )
    provisional_weekdays: bool = Field(
        default=False,
        description="take every weekday after the calendar's last day as a trading day, for a year, without a holiday"
        " list",
    )
    warn_days: int = Field(
        60, ge=0, le=365, description="days before the calendar's last day from which on its end is warned of"
    )
