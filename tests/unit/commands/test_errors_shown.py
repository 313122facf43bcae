from __future__ import annotations

import logging
import re
import sys

import pytest
import structlog

from alphapanda.commands.live.embedded import ErrorsShown
from alphapanda.telemetry.logs import configure_logging
from alphapanda.telemetry.options import LoggingOptions


@pytest.fixture
def shows(view):
    """The log of a process whose view shows errors; as it was afterwards."""
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    configure_logging(LoggingOptions(), sys.stdout)
    handler = ErrorsShown(view)
    logging.getLogger().addHandler(handler)
    yield view
    logging.getLogger().handlers[:] = handlers
    structlog.configure(**before)


def test_errors_in_the_log_are_shown_and_nothing_less(shows):
    """An error line of ours or of a library is one line in the view; a warning is not."""
    log = structlog.get_logger("alphapanda.commands.up")
    log.warning("feed.waiting_for_strategy", message="no strategy")
    log.error("feed_failed", error="no such file:\n  a.csv")
    logging.getLogger("aiokafka").error("group %s is gone", "a")
    times, texts = zip(*(error.split(" ", 1) for error in shows.errors), strict=True)
    assert texts == ("feed_failed: no such file: a.csv", "group a is gone")
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", one) for one in times)
