"""Configures logging: outputs, formats and redaction. Called once, by the process's entry point."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from alphapanda.domain.errors import InvalidInput
from alphapanda.telemetry.channels import CHANNELS
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.files import RotatingFile, Stream
from alphapanda.telemetry.options import LoggingOptions, LogRotation
from alphapanda.telemetry.quiet import RepeatLimiter, UnwritableLines
from alphapanda.telemetry.redaction import REDACTED, is_secret, redacted

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
OURS: Final = "alphapanda"
MAIN_FILE: Final = "alphapanda.log"


def configure_logging(options: LoggingOptions, stream: TextIO | None, folder: Path | None = None) -> None:
    """Configures structlog and the standard library's logging: outputs, redaction, ISO times in UTC.

    Libraries log from WARNING on; from DEBUG where that is the configured level.

    Args:
        options: levels, format, rotation.
        stream: receives every line; None: lines go to the folder's main file, if there is a folder.
        folder: folder of a file for each channel; None: no files are written.

    Raises:
        InvalidInput: a file can't be opened in the folder; nothing was changed.
    """
    level = LEVELS[options.level]
    unwritable = UnwritableLines()
    files = _channel_files(options, folder, unwritable) if folder is not None else {}
    main = _main_handler(options, stream, folder, unwritable)
    main.setLevel(level)
    for library in ("aiokafka", "opentelemetry"):
        main.addFilter(RepeatLimiter(library))
    for logger in _loggers():
        for old in logger.handlers[:]:
            logger.removeHandler(old)
            old.close()
        logger.setLevel(logging.NOTSET)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
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
        console = options.format == "console" or (options.format == "auto" and stream.isatty())
        handler: logging.Handler = Stream(stream, unwritable)
        handler.setFormatter(_formatter(console=console, colours=stream.isatty()))
        return handler
    return logging.NullHandler() if folder is None else _file(folder, MAIN_FILE, options, unwritable)


def _channel_files(
    options: LoggingOptions, folder: Path, unwritable: UnwritableLines
) -> dict[str, logging.Handler]:
    files = {}
    for channel in CHANNELS:
        own = options.channels[channel]
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
    handler = RotatingFile(folder / name, rotation, unwritable)
    handler.setFormatter(_formatter(console=False, colours=False))
    return handler


def _shared() -> Sequence[Processor]:
    return (
        structlog.contextvars.merge_contextvars,
        add_correlation_id,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    )


def _formatter(*, console: bool, colours: bool) -> logging.Formatter:
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=colours)
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
    )


def add_correlation_id(
    _logger: Any, _method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Adds the current correlation id to a line that has none."""
    if correlation_id := current_correlation_id.get():
        event_dict.setdefault("correlation_id", correlation_id)
    return event_dict


def redact(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Removes secrets from a line and its traceback."""
    for key, value in event_dict.items():
        event_dict[key] = REDACTED if is_secret(key) else redacted(value)
    return event_dict
