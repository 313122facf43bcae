"""One mesh for all of these tests: each does its harm to it and proves everything that ever happened on it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest
from kafka_server import missing_for_kafka
from tests import workers

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "e2e"))
sys.path.append(str(Path(__file__).parents[2] / "tools"))

import fork_server
from cluster import Cluster

fork_server.enable()


@pytest.fixture(scope="session")
def clusters(require_or_skip: Callable[[str], NoReturn]) -> Iterator[Callable[[], Cluster]]:
    """Gives the unit's mesh; a new one after a test that failed, so that one failure isn't told as many."""
    if (reason := missing_for_kafka()) is not None:
        require_or_skip(reason)
    stack = ExitStack()
    current: list[Cluster] = []

    def end() -> None:
        current.clear()
        stack.close()

    def give() -> Cluster:
        if not current or not current[-1].trusted:
            end()
            workers.end_with_the_unit(end)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="panda-"))
            current.append(stack.enter_context(Cluster(Path(folder))))
        return current[-1]

    with stack:
        yield give


@pytest.fixture
def cluster(clusters: Callable[[], Cluster]) -> Cluster:
    """The unit's mesh, everything up."""
    given = clusters()
    given.start_services()
    return given
