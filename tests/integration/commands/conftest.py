"""A platform that runs while a module's tests ask it: the process of `alphapanda up --demo`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.append(str(Path(__file__).parents[2] / "e2e"))
sys.path.append(str(Path(__file__).parent))

from fake_services import FakeServices
from kafka_server import free_ports
from running import Platform, until
from tests import workers

from alphapanda.cli import main


@pytest.fixture(scope="session")
def _demos() -> Iterator[Callable[[], Platform]]:
    """Gives the unit's demo."""
    stack = ExitStack()
    current: list[Platform] = []

    def end() -> None:
        with stack:
            if current:
                current.pop().stop()

    def give() -> Platform:
        if not current:
            workers.end_with_the_unit(end)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="panda-"))
            platform = stack.enter_context(Platform(Path(folder, "data"), "--demo"))
            platform.start()
            current.append(platform)
            until(
                lambda: json.loads(invoked("positions", "--json", "--target", platform.target).stdout),
                30,
                "a position",
            )
        return current[-1]

    with stack:
        yield give
        end()


@pytest.fixture
def demo(_demos: Callable[[], Platform]) -> Platform:
    """A demo that has traded and goes on."""
    return _demos()


@pytest.fixture
def target(demo: Platform) -> str:
    """Where the demo answers."""
    return demo.target


def invoked(*arguments: str) -> Result:
    """What a command prints, in a process that has no terminal."""
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def asked(target) -> Callable[..., str]:
    """Runs a command against the platform; returns what it prints."""

    def run(*arguments: str) -> str:
        result = invoked(*arguments, "--target", target)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    return run


@pytest.fixture
def refused(target) -> Callable[..., str]:
    """Runs a command that has to fail against the platform; returns the one line it says."""

    def run(*arguments: str, code: int = 1) -> str:
        result = invoked(*arguments, "--target", target)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("alphapanda: ")
        return line.removeprefix("alphapanda: ")

    return run


@pytest.fixture
def fakes() -> Iterator[FakeServices]:
    """Stand-ins for a platform's servers; none runs yet."""
    made = FakeServices()
    yield made
    made.stop_all()


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"
