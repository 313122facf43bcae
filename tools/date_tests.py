"""Which test files can depend on the date: those that reach, over any number of imports, what reads the wall clock.

Clocks are handed down, so few modules read one: those with `datetime.now(` in their source. A test's imports are its own,
those of its folders' conftest.py, and whatever these import, lazily or not. What a test runs as a command, or as a platform,
it imports by name.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "services" / "alphapanda"
READS_THE_CLOCK: Final = "datetime.now("
CALENDAR: Final = PACKAGE / "domain" / "calendar.py"
CLI: Final = PACKAGE / "cli.py"
RUNNING: Final = ROOT / "tests" / "e2e" / "running.py"
"""Starts programs, which load everything."""
EVERYWHERE: Final = ROOT / "tests" / "conftest.py"
"""Imported by every test; it reads the clock for the name of a lock's holder alone."""


@cache
def modules() -> dict[str, Path]:
    """The files of the package and of the tests, by every name under which they are imported."""
    found: dict[str, Path] = {}
    for path in (ROOT / "services").rglob("*.py"):
        found[_dotted(path.relative_to(ROOT / "services"))] = path
    for path in (ROOT / "tests").rglob("*.py"):
        found[_dotted(path.relative_to(ROOT))] = path
        found.setdefault(path.stem, path)  # what stands on a folder's own path, such as `running`
    return found


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[Path]:
    """The files among the known modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (known[name] for name in names if name in known)


@cache
def importers() -> Mapping[Path, Collection[Path]]:
    """Who imports each file."""
    known = modules()
    files = set(known.values())
    found: dict[Path, set[Path]] = {path: {CLI} for path in files if path.parent == PACKAGE / "commands"}
    for file in files:
        for target in imports(file, known):
            found.setdefault(target, set()).add(file)
        for folder in file.parents[: len(file.relative_to(ROOT).parts) - 1]:
            if file.name.startswith("test_") and folder / "conftest.py" in files:
                found.setdefault(folder / "conftest.py", set()).add(file)
    found.setdefault(CLI, set()).add(RUNNING)
    return {file: who - {EVERYWHERE} for file, who in found.items() if file != EVERYWHERE}


def reaching(targets: Collection[Path], imported_by: Mapping[Path, Collection[Path]]) -> frozenset[Path]:
    """The files that reach one of the targets over any number of imports, the targets among them."""
    reached, waiting = set(targets), list(targets)
    while waiting:
        fresh = set(imported_by.get(waiting.pop(), ())) - reached
        reached |= fresh
        waiting += fresh
    return frozenset(reached)


@cache
def clocks() -> frozenset[Path]:
    """The files that read a clock."""
    return frozenset(
        file
        for file in {*modules().values()} - {EVERYWHERE}
        if READS_THE_CLOCK in file.read_text(encoding="utf-8")
    )


def date_tests(*folders: str, and_calendar: bool = False) -> list[str]:
    """The test files below these folders that can depend on the date, as paths from the root.

    Args:
        folders: from the root, such as "tests/unit".
        and_calendar: only those that reach the trading calendar, too.
    """
    imported_by = importers()
    found = reaching(clocks(), imported_by)
    if and_calendar:
        found &= reaching([CALENDAR], imported_by)
    return sorted(
        str(path.relative_to(ROOT))
        for path in found
        if path.name.startswith("test_") and any(path.is_relative_to(ROOT / folder) for folder in folders)
    )
