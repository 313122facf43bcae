"""Counts the log's lines of level ERROR, by channel: what a person has to look at."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final

from typing_extensions import override

from alphapanda.telemetry.channels import CHANNELS
from alphapanda.telemetry.quiet import limit_repeats

OTHER: Final = "other"
"""The channel of lines that belong to no channel."""


class ErrorCounts(logging.Handler):
    """Counts lines of level ERROR and above, of libraries as many as the log shows. Attach it to the root logger."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        limit_repeats(self)
        self._counts: Counter[str] = Counter(dict.fromkeys((*CHANNELS, OTHER), 0))

    @property
    def by_channel(self) -> Mapping[str, int]:
        """Number of lines since the process started, by channel."""
        return self._counts

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._counts[channel_of(record.name)] += 1


def channel_of(logger: str) -> str:
    """Returns the channel of a logger: the one with the longest of its names above the logger's."""
    found = {
        name: channel
        for channel, names in CHANNELS.items()
        for name in names
        if logger == name or logger.startswith(f"{name}.")
    }
    return found[max(found, key=len)] if found else OTHER
