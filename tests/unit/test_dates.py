"""`make test-dates`: which tests can depend on the date, and that its clock is the one that they read."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import test_dates as tool
from date_tests import ROOT, date_tests, reaching


def test_the_clock_is_as_far_ahead_as_it_was_moved() -> None:
    """Under `make test-dates` a test's `datetime.now` is the moved one, in each of the processes side by side."""
    ahead = float(os.environ.get("TEST_DATES_AHEAD_SECONDS", "0"))
    assert abs(datetime.now(UTC).timestamp() - time.time() - ahead) < 60


def test_what_reads_a_clock_is_chosen_and_pure_cores_are_not() -> None:
    """A file that reaches what reads the wall clock is chosen, by way of a command, too; rules and money are not."""
    chosen = date_tests("tests/unit", "tests/integration")
    with_calendar = date_tests("tests/unit", "tests/integration", and_calendar=True)
    assert set(with_calendar) < set(chosen)
    assert "tests/integration/eventlog/test_relay.py" in set(chosen) - set(with_calendar)
    for path in ("tests/unit/commands/test_replay_data.py", "tests/integration/risk/test_decisions.py"):
        assert path in with_calendar
    for path in ("tests/unit/domain/test_price_grid.py", "tests/unit/risk/test_rules_answer.py"):
        assert path not in chosen


def test_a_file_is_reached_over_any_number_of_imports() -> None:
    """Importers of importers are found, and a circle ends."""
    clock, core, shell, test, other = (Path(name) for name in ("clock", "core", "shell", "test", "other"))
    imported_by = {clock: {core}, core: {shell}, shell: {test, core}, other: {test}}
    assert reaching([clock], imported_by) == {clock, core, shell, test}


def test_each_setting_runs_what_is_there() -> None:
    """The files named for every setting exist, and each setting has some hundred of all."""
    named = {*tool.ALWAYS, *tool.PLATFORMS, *tool.NEVER}
    named |= {test.partition("::")[0] for test in tool.ABOUT_SKEW}
    assert [path for path in named if not (ROOT / path).exists()] == []
    numbers = {name: len(tool.selected(name)) for name in tool.SETTINGS}
    assert max(numbers, key=lambda name: numbers[name]) == tool.FIRST
    assert min(numbers.values()) > 50
    assert max(numbers.values()) < 200
