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
    """When a log file is rotated, and which rotated files are kept.

    Attributes:
        max_megabytes: the file is rotated at this size.
        rotate_hours: and after this many hours, counted from midnight in India; 0: by size only.
        keep_files: rotated files that are kept at least; of older ones those younger than `keep_days`.
        keep_days: days that a rotated file is kept, however many there are; 0: their number alone decides.
        compress_days: rotated files older than this are compressed (FILE.n.gz); 0: none.
    """

    max_megabytes: int = 100
    rotate_hours: int = 24
    keep_files: int = 5
    keep_days: int = 0
    compress_days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChannelOptions(LogRotation):
    """One channel of the log, in a file of its own beside the process's log.

    Attributes:
        enabled: whether it has its file.
        level: lowest level written to its file.
    """

    enabled: bool = True
    level: LogLevel = "info"


AUDIT_CHANNEL = LogChannelOptions(keep_days=365)
PERFORMANCE_CHANNEL = LogChannelOptions(keep_days=30)
ERROR_CHANNEL = LogChannelOptions(level="error")


def default_channels() -> dict[str, LogChannelOptions]:
    """Every channel as it is where nobody says otherwise."""
    own = {"audit": AUDIT_CHANNEL, "performance": PERFORMANCE_CHANNEL, "error": ERROR_CHANNEL}
    return {name: own.get(name, LogChannelOptions()) for name in CHANNELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingOptions(LogRotation):
    """The log of a process.

    Attributes:
        level: lowest level written to the process's own log.
        format: auto: console on a terminal, else JSON; files are always JSON.
        console: whether the process's own log goes to standard output; else to a file beside the channels'.
        files: whether there are files.
        channels: options by channel; each of telemetry.channels has an entry.
    """

    level: LogLevel = "info"
    format: LogFormat = "auto"
    console: bool = True
    files: bool = True
    channels: Mapping[str, LogChannelOptions] = field(default_factory=default_channels)
