"""Where log lines go and what they look like. Called by whoever owns the process."""

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
from alphapanda.telemetry.files import RotatingFile
from alphapanda.telemetry.options import LoggingOptions, LogRotation
from alphapanda.telemetry.quiet import OncePerSpell
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
    """Sends structlog's and the standard library's lines where they belong, without secrets, with ISO times in UTC.

    Libraries are heard from WARNING on, or from DEBUG where that is the level.

    Args:
        options: levels, form, rotation.
        stream: gets every line; None: the folder's own file does, or nobody where there is no folder.
        folder: gets a file for each channel; None: there are no files.

    Raises:
        InvalidInput: a file can't be opened there; then nothing has changed.
    """
    level = LEVELS[options.level]
    files = _channel_files(options, folder) if folder is not None else {}
    main = _main_handler(options, stream, folder)
    main.setLevel(level)
    for library in ("aiokafka", "opentelemetry"):
        main.addFilter(OncePerSpell(library))
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
            if name.startswith(OURS):  # a library's debug lines may quote what it was given
                logger.setLevel(min(file.level, logger.level or level, level))
    logging.captureWarnings(capture=True)


def _loggers() -> Iterator[logging.Logger]:
    yield logging.getLogger()
    for names in CHANNELS.values():
        yield from (logging.getLogger(name) for name in names)


def _main_handler(options: LoggingOptions, stream: TextIO | None, folder: Path | None) -> logging.Handler:
    if stream is not None:
        console = options.format == "console" or (options.format == "auto" and stream.isatty())
        handler: logging.Handler = logging.StreamHandler(stream)
        handler.setFormatter(_formatter(console=console, colours=stream.isatty()))
        return handler
    return logging.NullHandler() if folder is None else _file(folder, MAIN_FILE, options)


def _channel_files(options: LoggingOptions, folder: Path) -> dict[str, logging.Handler]:
    files = {}
    for channel in CHANNELS:
        own = options.channels[channel]
        files[channel] = _file(folder, f"{channel}.log", own)
        files[channel].setLevel(LEVELS[own.level])
    return files


def _file(folder: Path, name: str, rotation: LogRotation) -> logging.Handler:
    """A file that is set aside at its size and age; opened when the first line is written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).open("a").close()  # not touch(): its age says whether it is set aside
    except OSError as error:
        allowed = f"a folder that can be written ({error.strerror})"
        raise InvalidInput("logging.folder", folder, allowed) from None
    handler = RotatingFile(folder / name, rotation)
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
    """Names what the line belongs to, unless the line does so itself."""
    if correlation_id := current_correlation_id.get():
        event_dict.setdefault("correlation_id", correlation_id)
    return event_dict


def redact(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Takes secrets out of a line, its traceback included."""
    for key, value in event_dict.items():
        event_dict[key] = REDACTED if is_secret(key) else redacted(value)
    return event_dict
