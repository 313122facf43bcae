"""The table of everything the services log, read from their source: `make log-events` writes it, a test compares it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "services" / "alphapanda"
TABLE = PACKAGE / "telemetry" / "EVENTS.md"
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
HEAD = """\
# Log events

Made by `make log-events`. An event is `area.what_happened`, past tense; INFO is what moved money or state, WARNING what heals by itself, ERROR what a
person must look at (`alarm` is then true where somebody should be called). Beside these fields a line has `timestamp`, `level`, `logger`,
`service`, and `broker`, `correlation_id` and `trace_id` where it belongs to one.

| Event | Level | Fields | Logged by |
|---|---|---|---|
"""


@dataclass(frozen=True, order=True)
class LogLine:
    """One place that logs.

    Attributes:
        event: its name; empty where the source names it only at run time.
        level: such as "warning".
        fields: names given at the call, in their order.
        where: the module, such as "risk/consumer.py".
        line: its number there.
    """

    event: str
    level: str
    fields: tuple[str, ...]
    where: str
    line: int


def log_lines(source: str, where: str) -> Iterator[LogLine]:
    """Every log call of a module, one for each name that it may have."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and _is_logger(node.func.value)
        ):
            fields = tuple(
                keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "exc_info"
            )
            for event in _names(node.args[0] if node.args else None):
                yield LogLine(event, node.func.attr, fields, where, node.lineno)


def _is_logger(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.strip("_") in {"log", "logger", "about", "audit"}


def _names(node: ast.expr | None) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _names(node.body) + _names(node.orelse)
    return [node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""]


@cache
def every_log_line() -> tuple[LogLine, ...]:
    """Those of the whole package."""
    found = sorted(
        line
        for path in PACKAGE.rglob("*.py")
        for line in log_lines(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix())
    )
    return tuple(found)


def table() -> str:
    """The table as it has to be."""
    merged: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for line in every_log_line():
        fields, places = merged.setdefault((line.event, line.level), ({}, {}))
        fields |= dict.fromkeys(line.fields)
        places[line.where] = None
    rows = [
        f"| `{event}` | {level.upper()} | {' '.join(fields)} | {', '.join(places)} |"
        for (event, level), (fields, places) in merged.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
