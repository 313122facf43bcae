"""What the tests of the clients share: built programs, and the platforms of the end-to-end tests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "e2e")]

import fork_server
from languages import LANGUAGES, Language

fork_server.enable()


@pytest.fixture(scope="session")
def languages(require_or_skip: Callable[[str], NoReturn]) -> tuple[Language, ...]:
    """All of them; where one isn't built, the tests are skipped and name it."""
    missing = [
        language.name
        for language in LANGUAGES
        if not (language.needs.exists() and shutil.which(language.command[0].format("trader")))
    ]
    if missing:
        require_or_skip(f"`make clients` builds what is missing: {', '.join(missing)}")
    return LANGUAGES
