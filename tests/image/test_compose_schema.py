"""deploy/compose/compose.yaml read by the Compose Specification's own program, which Docker's compose is built on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy/compose/compose.yaml"
READER = ROOT / ".tools/bin/compose-spec"


@pytest.fixture(scope="module")
def read(require_or_skip: Callable[[str], NoReturn]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Reads a file as compose does."""
    if not READER.is_file():
        require_or_skip("NO COMPOSE-SPEC: `make image-check` builds it (it needs Go)")

    def reading(file: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(READER), "--format", "json", str(file)]
        given = os.environ | environment
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False)

    return reading


def _changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    whole: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    change(whole["services"])
    file = folder / "compose.yaml"
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return file


def test_the_file_is_as_the_specification_says(
    read: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Every key is known, every value of its type; tests/unit/test_compose.py sees to names that refer to others."""
    done = read(COMPOSE)
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr
    read_back: Mapping[str, Any] = json.loads(done.stdout)["services"]
    assert read_back.keys() == yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"].keys()


@pytest.mark.parametrize(
    ("named", "change"),
    [
        ("mem_limt", lambda services: services["risk"].update(mem_limt="512m")),
        ("pids_limit", lambda services: services["risk"].update(pids_limit="many")),
    ],
    ids=["misspelt key", "value of another type"],
)
def test_a_fault_is_found_and_named(
    read: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    named: str,
    change: Callable[[dict[str, Any]], None],
) -> None:
    """Planted, one at a time."""
    done = read(_changed(tmp_path, change))
    assert done.returncode == 1
    assert named in done.stderr
