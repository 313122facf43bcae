"""Log events follow one convention, and a generated table lists them all."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from log_events import TABLE, LogLine, every_log_line, log_lines, table

EVENT = re.compile(r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
SAID_BY_ANOTHER_NAME = {
    "why": "error or message",
    "what": "a name that says what it is, such as task",
    "milliseconds": "duration_ms",
    "took": "duration_ms",
    "seconds": "duration_ms",
    "strategy": "strategy_id",
    "instrument": "instrument_id",
    "order": "order_id",
    "signal": "signal_id",
    "exception": "error",
    "cause": "error",
}


def outside(lines: Iterable[LogLine]) -> list[str]:
    """What is outside the convention, a line each."""
    found = []
    for one in lines:
        if not EVENT.match(one.event):
            found.append(f"{one.where}:{one.line}: {one.event or 'a name made at run time'}")
        found += [
            f"{one.where}:{one.line}: {name}, say {SAID_BY_ANOTHER_NAME[name]}"
            for name in one.fields
            if name in SAID_BY_ANOTHER_NAME
        ]
    return found


def test_every_line_follows_the_convention() -> None:
    """An event is an area and what happened, named in the source, and the same field has one name everywhere."""
    found = outside(every_log_line())
    assert not found, "\n".join(found)


def test_the_table_lists_every_event() -> None:
    """The generated table is that of this source; `make log-events` writes it anew."""
    assert TABLE.read_text(encoding="utf-8") == table()


@pytest.mark.parametrize(
    "source",
    [
        '_log.info("order submitted")',
        "self._logger.warning(what, order_id=1)",
        '_log.error("order.failed", why="x")',
        '_log.info("order.sent" if ok else "not sent")',
    ],
)
def test_a_planted_line_outside_the_convention_is_found(source: str) -> None:
    """A sentence, a name made at run time, a field by another name: each is found, so the tests can fail."""
    assert outside(log_lines(source, "module.py"))


def test_the_search_sees_the_package() -> None:
    """An empty search would pass."""
    assert len({one.event for one in every_log_line()}) > 50
