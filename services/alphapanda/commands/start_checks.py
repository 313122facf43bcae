"""The table of a start's checks, as `up` and `serve` show it on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from alphapanda.app.findings import Outcome
from alphapanda.app.preflight import StartCheck
from alphapanda.commands.console import out
from alphapanda.commands.examining import COLOURS
from alphapanda.commands.tables import row, table


def show_checks(checks: Sequence[StartCheck]) -> None:
    """Prints the table; nothing where the output isn't a terminal: there the log has a line for each check."""
    if not out.is_terminal:
        return
    made = table("check", "result", "")
    for check in checks:
        outcome = outcome_of(check)
        row(made, check.name, Text(outcome, COLOURS[outcome]), check.detail)
    out.print(made)


def outcome_of(check: StartCheck) -> Outcome:
    """ok; warn: it starts all the same; fail: it doesn't start."""
    if check.passed:
        return Outcome.OK
    return Outcome.FAIL if check.blocks else Outcome.WARN
