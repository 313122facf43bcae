"""What the end-to-end tests share: running platforms, each stopped with its servers when its test ends."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import fork_server
from running import Platform

fork_server.enable()


@pytest.fixture
def up() -> Iterator[Callable[..., Platform]]:
    """Starts `alphapanda up` with more arguments, in a data directory of its own where none is given."""
    with ExitStack() as stack:

        def start(*arguments: str, data_dir: Path | None = None, **more) -> Platform:
            folder = data_dir or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="panda-")), "data"
            )
            platform = stack.enter_context(Platform(folder, *arguments, **more))
            platform.start()
            return platform

        yield start


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """A simulated market without strategies, shared by a module's tests."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder, Platform(Path(folder, "data")) as running:
        running.start()
        yield running
        running.stop()
