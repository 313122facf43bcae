"""Configures logging: outputs, formats and redaction. Called once, by the process's entry point."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from alphapanda.domain import ids
from alphapanda.domain.errors import InvalidInput
from alphapanda.telemetry.channels import CHANNELS
from alphapanda.telemetry.correlation import current_broker, current_correlation_id, current_service
from alphapanda.telemetry.files import RotatingFile, Stream
from alphapanda.telemetry.options import LoggingOptions, LogRotation
from alphapanda.telemetry.quiet import UnwritableLines, limit_repeats
from alphapanda.telemetry.redaction import REDACTED, is_secret, redacted
from alphapanda.telemetry.visible import visible_values

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
OURS: Final = "alphapanda"
ROOMS: Final = frozenset(
    {"marketdata", "instruments", "strategy", "risk", "trading", "portfolio", "auth", "ops"}
)
MAIN_FILE: Final = "alphapanda.log"


def configure_logging(
    options: LoggingOptions, stream: TextIO | None, folder: Path | None = None, service: str = ""
) -> None:
    """Configures structlog and the standard library's logging: outputs, redaction, ISO times in UTC.

    Libraries log from WARNING on; from DEBUG where that is the configured level.

    Args:
        options: levels, format, rotation.
        stream: receives every line; None: lines go to the folder's main file, if there is a folder.
        folder: folder of a file for each channel; None: no files are written.
        service: named in lines that belong to no service of the process, such as "up" or "risk-trading".

    Raises:
        InvalidInput: a file can't be opened in the folder; nothing was changed.
    """
    stream = stream if options.console else None
    folder = folder if options.files else None
    level = LEVELS[options.level]
    unwritable = UnwritableLines()
    files = _channel_files(options, folder, unwritable) if folder is not None else {}
    shared = _shared(service)
    main = _main_handler(options, stream, folder, unwritable)
    for handler in (main, *files.values()):
        console = handler is main and stream is not None and _is_for_people(options, stream)
        colours = console and stream is not None and stream.isatty()
        handler.setFormatter(_formatter(shared, console=console, colours=colours))
    main.setLevel(level)
    limit_repeats(main, *files.values())
    for logger in _loggers():
        for old in logger.handlers[:]:
            logger.removeHandler(old)
            old.close()
        logger.setLevel(logging.NOTSET)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.addHandler(main)
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger(OURS).setLevel(level)
    for channel, file in files.items():
        for name in CHANNELS[channel]:
            logger = logging.getLogger(name)
            logger.addHandler(file)
            if name.startswith(OURS):  # a library's debug lines may contain its input
                logger.setLevel(min(file.level, logger.level or level, level))
    logging.captureWarnings(capture=True)


def _loggers() -> Iterator[logging.Logger]:
    yield logging.getLogger()
    for names in CHANNELS.values():
        yield from (logging.getLogger(name) for name in names)


def _main_handler(
    options: LoggingOptions, stream: TextIO | None, folder: Path | None, unwritable: UnwritableLines
) -> logging.Handler:
    if stream is not None:
        return Stream(stream, unwritable)
    return logging.NullHandler() if folder is None else _file(folder, MAIN_FILE, options, unwritable)


def _channel_files(
    options: LoggingOptions, folder: Path, unwritable: UnwritableLines
) -> dict[str, logging.Handler]:
    files = {}
    for channel in CHANNELS:
        own = options.channels[channel]
        if not own.enabled:
            continue
        files[channel] = _file(folder, f"{channel}.log", own, unwritable)
        files[channel].setLevel(LEVELS[own.level])
    return files


def _file(folder: Path, name: str, rotation: LogRotation, unwritable: UnwritableLines) -> logging.Handler:
    """Returns the handler of a rotated file; the file is opened with the first line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).open("a").close()  # not touch(): rotation reads the file's time
    except OSError as error:
        allowed = f"a folder that can be written ({error.strerror})"
        raise InvalidInput("logging.folder", folder, allowed) from None
    return RotatingFile(folder / name, rotation, unwritable)


def _is_for_people(options: LoggingOptions, stream: TextIO) -> bool:
    return options.format == "console" or (options.format == "auto" and stream.isatty())


def _shared(service: str) -> Sequence[Processor]:
    return (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        partial(add_context, service),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    )


def _formatter(shared: Sequence[Processor], *, console: bool, colours: bool) -> logging.Formatter:
    rendering: Sequence[Processor] = (
        (visible_values, structlog.dev.ConsoleRenderer(colors=colours))
        if console
        else (structlog.processors.JSONRenderer(default=str),)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, *rendering],
    )


def add_context(
    process: str, _logger: Any, _method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Adds to a line what it belongs to, where it doesn't say so itself: service, broker, correlation id; and the trace id, which is the same.

    The service is the one that works, else the room of the logger, else the process.
    """
    if "service" not in event_dict:
        service = current_service.get() or _room(event_dict.get("logger", "")) or process
        if service:
            event_dict["service"] = service
    if broker := current_broker.get():
        event_dict.setdefault("broker", broker)
    if correlation_id := current_correlation_id.get():
        event_dict.setdefault("correlation_id", correlation_id)
    known = event_dict.get("correlation_id")
    if known and (trace_id := ids.trace_id(str(known))):
        event_dict["trace_id"] = trace_id
    return event_dict


@lru_cache(maxsize=1000)
def _room(logger: str) -> str:
    """The service that a logger belongs to: "risk" of "alphapanda.risk.consumer"; empty where it is none's."""
    _, _, below = logger.partition(f"{OURS}.")
    room = below.partition(".")[0]
    return room if room in ROOMS else ""


def redact(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Removes secrets from a line and its traceback."""
    for key, value in event_dict.items():
        event_dict[key] = REDACTED if is_secret(key) else redacted(value)
    return event_dict
