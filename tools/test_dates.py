"""`make test-dates`: tests at other dates and in another zone, each setting a run of pytest of its own.

What can't depend on the date doesn't run: date_tests.py says which files can.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from date_tests import date_tests
from rich.console import Console

ROOT: Final = Path(__file__).resolve().parents[1]
NEW_YORK: Final = {"TZ": "America/New_York"}
SETTINGS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "beyond the calendar": ("2027-03-01T06:30+00:00", {}),
    "a leap day": ("2028-02-29T06:30+00:00", {}),
    "a Sunday": ("2026-11-29T06:30+00:00", {}),
    "the calendar's last evening": ("2026-12-31T18:28+00:00", {}),
    "23:59 in India": ("2026-11-30T18:28:30+00:00", {}),
    "New York": ("", NEW_YORK),
}
SHORT: Final = {"beyond the calendar, 23:59 in India, in New York": ("2027-03-01T18:28:30+00:00", NEW_YORK)}
FOLDERS: Final = ("tests/unit", "tests/contract", "tests/integration")
FIRST: Final = "beyond the calendar"
"""The setting in which everything runs that reaches a clock; in the others it has to reach the trading calendar, too."""
ALWAYS: Final = (
    "tests/unit/test_dates.py",
    "tests/unit/telemetry/test_logs.py",
    "tests/unit/marketdata/test_simulator.py",
    "tests/integration/commands/test_doctor.py",
    "tests/e2e/test_demo.py",
)
"""The clock itself, and what reads it first: log files, the simulator's first day, the doctor, `up --demo`."""
PLATFORMS: Final = (
    "tests/e2e/test_terminal.py",
    "tests/e2e/test_recording.py",
    "tests/e2e/test_own_strategies.py",
    "tests/e2e/test_third_broker.py",
)
"""Of the tests that run a platform, those that between them read each clock it has."""
NEVER: Final = {"tests/integration/storage/test_query_plans.py"}
"""Reaches everything, for its statements: how they are planned is the same on every day."""
ABOUT_SKEW: Final = (
    "tests/integration/app/test_log_agreement.py::test_a_database_that_never_decided_the_newest_events_is_older",
    "tests/integration/app/test_log_repair.py::test_a_log_of_a_later_time_decides_nothing_twice",
    "tests/integration/commands/test_doctor.py::test_the_mesh",
    "tests/integration/commands/test_trace.py",
    "tests/integration/mesh/test_authenticated.py",
    "tests/integration/mesh/test_tls.py",
    "tests/integration/storage/test_audit.py::test_what_is_older_than_a_year_is_purged",
    "tests/unit/app/test_certificates.py",
)
"""Compare our clock with that of PostgreSQL, Redis or OpenSSL, which aren't moved: left out where ours is."""


def main() -> int:
    """Returns 1 where a test failed under a setting."""
    asked = _arguments()
    console = Console(highlight=False, soft_wrap=True)
    failed = []
    for name, (now, zone) in (SHORT if asked.short else SETTINGS).items():
        if asked.only not in name:
            continue
        console.print(f"\n== {name}: {now or 'now'} {' '.join(zone.values())}".rstrip())
        tests = asked.tests or (ALWAYS if asked.short else selected(name))
        console.print(f"{len(tests)} files")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--numprocesses", str(asked.workers)]
        command += [f"--deselect={test}" for test in (ABOUT_SKEW if now else ())]
        environment = {**os.environ, **zone, **dict(_moved(now))}
        if subprocess.run([*command, *tests], cwd=ROOT, env=environment, check=False).returncode:
            failed.append(name)
    for name in failed:
        console.print(f"failed: {name}", style="red")
    return 1 if failed else 0


def selected(setting: str) -> Sequence[str]:
    """The test files that run in a setting."""
    found = {*date_tests(*FOLDERS, and_calendar=setting != FIRST), *ALWAYS, *PLATFORMS}
    return sorted(found - NEVER)


def _moved(now: str) -> Iterator[tuple[str, str]]:
    yield "PYTHONPATH", str(ROOT / "tests" / "dates")
    ahead = (datetime.fromisoformat(now).astimezone(UTC).timestamp() - time.time()) if now else 0.0
    yield "TEST_DATES_AHEAD_SECONDS", f"{ahead:.3f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-dates", description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="one setting, the tests that depended on it once"
    )
    parser.add_argument("--workers", type=int, default=4, help="processes side by side")
    parser.add_argument("--only", default="", help="the settings whose name holds this")
    parser.add_argument("tests", nargs="*", help="others than its own choice")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
