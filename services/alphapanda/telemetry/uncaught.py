"""Logs what no thread caught: Python writes its traceback to standard error, with whatever secrets the error's text has."""

from __future__ import annotations

import sys
import threading
from typing import Final

import structlog

_log: Final = structlog.get_logger(__name__)


def log_uncaught() -> None:
    """Has errors that end a thread, and those of destructors, logged in place of written to standard error."""
    threading.excepthook = _thread_failed
    sys.unraisablehook = _not_raised


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    name = "" if failed.thread is None else failed.thread.name
    _log.error("thread.failed", alarm=True, task=name, exc_info=failed.exc_value)


def _not_raised(failed: sys.UnraisableHookArgs) -> None:
    _log.error("error.not_raised", message=failed.err_msg or "", exc_info=failed.exc_value)
