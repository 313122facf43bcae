"""Where log lines go and what they look like. Called once, by whoever owns the process."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping, Sequence
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from alphapanda.settings import LoggingSettings
from alphapanda.telemetry.correlation import current_correlation_id
from alphapanda.telemetry.redaction import REDACTED, is_secret, redacted

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logging(settings: LoggingSettings, stream: TextIO) -> None:
    """Sends structlog's and the standard library's lines to `stream`, without secrets, with ISO times in UTC.

    Libraries are heard from WARNING on, or from DEBUG where that is the level.
    """
    level = LEVELS[settings.level]
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    shared: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        add_correlation_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[*shared, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(capture=True)


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
