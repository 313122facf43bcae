"""Options of logging: levels, format, rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from alphapanda.telemetry.channels import CHANNELS

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRotation:
    """When a log file is rotated, and how many rotated files are kept.

    Attributes:
        max_megabytes: the file is rotated at this size.
        rotate_hours: and after this many hours, counted from midnight in India; 0: by size only.
        keep_files: rotated files that are kept; the oldest is deleted.
    """

    max_megabytes: int = 50
    rotate_hours: int = 24
    keep_files: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChannelOptions(LogRotation):
    """One channel of the log, in a file of its own beside the process's log.

    Attributes:
        level: lowest level written to its file.
    """

    level: LogLevel = "info"


AUDIT_CHANNEL = LogChannelOptions(keep_files=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingOptions(LogRotation):
    """The log of a process.

    Attributes:
        level: lowest level written to the process's own log.
        format: auto: console on a terminal, else JSON; files are always JSON.
        channels: options by channel; each of telemetry.channels has an entry.
    """

    level: LogLevel = "info"
    format: LogFormat = "auto"
    channels: Mapping[str, LogChannelOptions] = field(
        default_factory=lambda: {name: LogChannelOptions() for name in CHANNELS} | {"audit": AUDIT_CHANNEL}
    )
