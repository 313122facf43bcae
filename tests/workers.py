"""`make test` side by side: which tests stay together, which go first, and what a worker leaves behind.

pytest-xdist's workers take units. A unit is a file, so that what a module's tests share is made once, unless TOGETHER or
APART says otherwise. Units that took long (durations.json, kept by `make test ARGS=--keep-durations`) go first, so that
none of them begins when the others are done. Within a unit, and among the short ones, the order is pytest's own or the
random one that was asked for.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

DURATIONS = Path(__file__).with_name("durations.json")
SHORT_SECONDS = 2.0
"""What takes less needs no place in DURATIONS."""
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
SHARES = 8
"""Workers that have ports of their own; more of them share."""

SHARING: dict[str, tuple[str, ...]] = {
    "one Kafka": (
        "chaos/test_not_as_expected.py",
        "e2e/test_mesh_recording.py",
        "integration/commands/test_doctor.py",
        "integration/commands/test_topics_ensure.py",
        "integration/eventlog/test_kafka.py",
        "integration/eventlog/test_log.py",
        "integration/marketdata/test_watching.py",
        "integration/ops/test_dead_letters.py",
        "integration/strategy/test_fencing.py",
    ),
    "one demo": (
        "integration/commands/test_asking.py",
        "integration/commands/test_call.py",
        "integration/commands/test_finding.py",
        "integration/commands/test_watch.py",
    ),
    "mesh 1": (
        "chaos/test_kills_in_the_mesh.py",
        "chaos/test_malformed.py",
        "chaos/test_outages.py",
        "chaos/test_two_versions.py",
    ),
    "mesh 2": (
        "chaos/test_leaving.py",
        "chaos/test_members.py",
    ),
}
"""Units of several files, which share what is dear to start; paths from tests."""
TOGETHER = {path: unit for unit, paths in SHARING.items() for path in paths}
APART = frozenset(
    {
        "contract/test_toolchain.py",
        "integration/embedded/test_servers.py",
        "integration/strategy/test_consumer.py",
    }
)
"""Files that take long and whose tests share nothing: each of these is a unit of its own."""


_shared = ExitStack()


def end_with_the_unit(end: Callable[[], None]) -> None:
    """Has what a unit's files share ended as soon as a worker is done with the unit, by `end`, which may come twice.

    A fixture of the session ends minutes later, and a mesh takes a quarter of a core for as long as it runs. One process
    alone, which takes the files in their own order, leaves it to the fixture.
    """
    _shared.callback(end)


def unit_of(nodeid: str) -> str:
    """The name of the unit that a test belongs to."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return nodeid.removeprefix("tests/") if path in APART else TOGETHER.get(path, path)


def folder_of(run: str, worker: str) -> Path:
    """The folder for all temporary files of a worker, and of what it starts."""
    return Path(tempfile.gettempdir(), f"panda-{run[:8]}-{worker}")


def prepared_folder() -> Path:
    """The folder for what all workers of a run begin with and one of them makes; the controller removes it."""
    if WORKER:
        return Path(tempfile.gettempdir()).with_name(
            folder_of(RUN, "prepared").name
        )  # beside this worker's own
    folder = Path(tempfile.mkdtemp(prefix="panda-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def own_ports(ports: range) -> range:
    """This worker's share: a port that is free now is free for one of us only, also before anybody listens on it."""
    share = len(ports) // SHARES
    first = int(WORKER.removeprefix("gw")) % SHARES * share
    return ports[first : first + share]


def known_durations() -> dict[str, int]:
    """Seconds that each long unit took, by its name."""
    return json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}


class Units(LoadScopeScheduling):
    """Hands out units, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def remove_node(self, node: WorkerController) -> str | None:
        """Gives what a worker that ended had left to others, but for the test that it ended in, which is returned."""
        workload = self.assigned_work.pop(node)
        left = [(unit, test) for unit, tests in workload.items() for test, done in tests.items() if not done]
        if not left:
            return None
        unit, crashed = left[0]
        workload[unit][crashed] = True
        self.workqueue.update({unit: tests for unit, tests in workload.items() if not all(tests.values())})
        for other in self.nodes:
            self._reschedule(other)
        return crashed


class Controller:
    """Where the workers are started from."""

    def __init__(self) -> None:
        self._took: Counter[str] = Counter()
        self._left: list[str] = []
        self._folders: dict[str, Path] = {}
        self._prepared: Path | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> Units:
        config.option.loadscopereorder = False
        return Units(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController, error: object) -> None:
        """Ends what a worker left running, as a killed one does, and removes its files."""
        self._end(node.workerinput["workerid"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Keeps where a worker's files will be."""
        worker = node.workerinput["workerid"]
        self._folders[worker] = folder_of(node.workerinput["testrunuid"], worker)
        self._prepared = folder_of(node.workerinput["testrunuid"], "prepared")

    def pytest_unconfigure(self) -> None:
        """Ends what is left of workers that Ctrl-C ended."""
        for worker in [*self._folders]:
            self._end(worker)
        if self._prepared is not None:
            shutil.rmtree(self._prepared, ignore_errors=True)

    def _end(self, worker: str) -> None:
        folder = self._folders.pop(worker)
        # What ends with the worker of its own accord has a moment to do so.
        _, left = psutil.wait_procs(list(_running_in(folder)), timeout=2)
        for process in left:
            self._left.append(f"{worker}: {' '.join(process.cmdline())[:200]}")
            process.kill()
        psutil.wait_procs(left, timeout=5)
        shutil.rmtree(folder, ignore_errors=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._took[unit_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.config.getoption("keep_durations"):
            kept = {unit: took for unit, took in known_durations().items() if unit not in self._took}
            kept |= {unit: round(took) for unit, took in self._took.items() if took >= SHORT_SECONDS}
            longest_first = dict(sorted(kept.items(), key=lambda one: (-one[1], one[0])))
            DURATIONS.write_text(json.dumps(longest_first, indent=1) + "\n")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._left:
            terminalreporter.section("left running by workers, ended now")
            for line in self._left:
                terminalreporter.line(line)


class Worker:
    """One of the processes side by side."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        durations = known_durations()
        items.sort(key=lambda item: -durations.get(unit_of(item.nodeid), 0.0))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, None, None]:
        """Ends what a unit's files share after the last test of the unit."""
        try:
            yield
        finally:
            if nextitem is None or unit_of(nextitem.nodeid) != unit_of(item.nodeid):
                _shared.close()

    def pytest_sessionfinish(self) -> None:
        """Ends at once what would end with this process, which is a while after its tests."""
        for server in getattr(sys.modules.get("fork_server"), "servers", ()):
            server.close()


def _running_in(folder: Path) -> Iterator[psutil.Process]:
    """Processes whose temporary files go to this folder: whatever a worker starts inherits that from it."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get("TMPDIR") == str(folder):
            yield process
