"""What is logged, how it looks, and how log files are rotated."""

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
        max_megabytes: at this size.
        rotate_hours: after so many hours too, counted from midnight in India; 0: at its size alone.
        keep_files: rotated files that are kept; the oldest goes.
    """

    max_megabytes: int = 50
    rotate_hours: int = 24
    keep_files: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChannelOptions(LogRotation):
    """One channel of the log, in a file of its own beside the process's log.

    Attributes:
        level: least level written to its file.
    """

    level: LogLevel = "info"


AUDIT_CHANNEL = LogChannelOptions(keep_files=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingOptions(LogRotation):
    """The log of a process.

    Attributes:
        level: least level written to the process's own log.
        format: auto: console on a terminal, else JSON; files are always JSON.
        channels: by the channel's name; each of telemetry.channels has an entry.
    """

    level: LogLevel = "info"
    format: LogFormat = "auto"
    channels: Mapping[str, LogChannelOptions] = field(
        default_factory=lambda: {name: LogChannelOptions() for name in CHANNELS} | {"audit": AUDIT_CHANNEL}
    )
