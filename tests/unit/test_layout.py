"""The layout, as imports show it: arrows point downwards, and no folders depend on each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SERVICES = Path(__file__).resolve().parents[2] / "services"

# From the top to the bottom; folders of one line don't import each other unless BESIDE says so.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli",),
    ("commands",),
    ("app",),
    ("settings", "replay"),
    ("marketdata", "instruments", "strategy", "risk", "trading", "portfolio", "auth", "ops"),
    ("consuming", "mesh", "kite", "paper_exchange", "embedded"),
    ("storage",),
    ("eventlog",),
    ("resilience",),
    ("telemetry",),
    ("contract",),
    ("domain",),
)

LONGEST_FILE = 400
"""Lines. A longer file holds more than one thought: take one out into a file of its own."""

Edges = Mapping[str, Iterable[str]]


def height(folder: str) -> int:
    """The folder's place counted from the bottom."""
    for number, layer in enumerate(reversed(LAYERS)):
        if folder in layer:
            return number
    raise AssertionError(
        f"{folder!r} has no place in the layout: name it in LAYERS and in services/README.md"
    )


def folder_of(module: str) -> str:
    """The folder below the package that a module lives in, such as "risk" of "alphapanda.risk.core.book"."""
    return module.split(".")[1]


def imported(path: Path, modules: frozenset[str]) -> set[str]:
    """The package's modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in modules else node.module)
    return found & modules


@cache
def module_graph() -> Mapping[str, set[str]]:
    """What each module of the package imports."""
    paths = {
        ".".join(path.relative_to(SERVICES).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (SERVICES / "alphapanda").rglob("*.py")
        if "migrations" not in path.parts
    }
    names = frozenset(paths)
    return {module: imported(path, names) for module, path in paths.items() if module != "alphapanda"}


def folder_graph(modules: Edges) -> dict[str, set[str]]:
    """What each folder imports of other folders; the package itself (its version) is none."""
    edges: dict[str, set[str]] = {}
    for module, targets in modules.items():
        here = folder_of(module)
        edges.setdefault(here, set()).update(
            folder_of(target) for target in targets if target != "alphapanda" and folder_of(target) != here
        )
    return edges


def arrows_upwards(edges: Edges) -> list[str]:
    """Each import of a folder that stands as high or higher."""
    return [
        f"{source} imports {target}"
        for source, targets in sorted(edges.items())
        for target in sorted(targets)
        if height(target) >= height(source)
    ]


def test_imports_point_downwards() -> None:
    """No folder imports one that stands as high or higher in the layout."""
    assert arrows_upwards(folder_graph(module_graph())) == []


def test_folders_make_no_circle() -> None:
    """The folders can be put in an order in which each needs only those before it."""
    list(TopologicalSorter(folder_graph(module_graph())).static_order())


def too_long(folder: Path) -> list[str]:
    """The program files of a folder with more lines than allowed, each with how many it has."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")}
    return sorted(
        f"{path.relative_to(folder)} has {lines} lines"
        for path, lines in lengths.items()
        if lines > LONGEST_FILE
    )


def test_no_file_stands_over_400_lines() -> None:
    """A file holds one thought, which a reader takes in at once."""
    assert too_long(SERVICES) == []


def test_a_planted_long_file_is_seen(tmp_path: Path) -> None:
    """One line too many is found, so the test can fail."""
    for lines in (LONGEST_FILE, LONGEST_FILE + 1):
        (tmp_path / f"of_{lines}.py").write_text("pass\n" * lines)
    assert too_long(tmp_path) == ["of_401.py has 401 lines"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("domain", "contract"),
        ("eventlog", "storage"),
        ("risk", "trading"),
        ("consuming", "mesh"),
        ("app", "cli"),
    ],
)
def test_a_planted_arrow_upwards_is_seen(source: str, target: str) -> None:
    """An import upwards or beside is found, so the test can fail."""
    assert arrows_upwards({source: {target}}) == [f"{source} imports {target}"]


def test_a_planted_circle_is_seen() -> None:
    """Two folders that need each other are found."""
    with pytest.raises(CycleError):
        list(TopologicalSorter({"storage": {"eventlog"}, "eventlog": {"storage"}}).static_order())


def test_the_graph_sees_the_package() -> None:
    """An empty search would pass every test above."""
    assert len(module_graph()) > len(LAYERS)
