"""The real promtool and Prometheus, which `make prometheus` fetches."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/e2e"))


@pytest.fixture(scope="session")
def tool(require_or_skip: Callable[[str], NoReturn]) -> Callable[[str], str]:
    """The path of promtool or prometheus: what `make prometheus` fetched, else what is on the PATH."""

    def found(name: str) -> str:
        fetched = ROOT / ".tools/prometheus/usr/bin" / name
        path = str(fetched) if fetched.is_file() else shutil.which(name)
        return path or require_or_skip(
            f"NO {name.upper()}: `make prometheus` fetches Debian's package; elsewhere put {name} on the PATH"
        )

    return found
