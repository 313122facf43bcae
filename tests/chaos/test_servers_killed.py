"""PostgreSQL, one of its backends or Redis is killed under orders: `up` comes back by itself (scorecard R14)."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from faults import KILLS
from running import Platform
from servers import BACK_SECONDS, servers_killed

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer


def test_what_up_started_comes_back_by_itself() -> None:
    """A kill -9 under orders ends nothing: everything serves again, an exit has passed, and the books are true."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        survived = servers_killed(Path(folder, "data"), list(KILLS), "20", seed=14)
    assert survived.faults == len(survived.recoveries) == len(KILLS)
    assert survived.fills > survived.faults
    assert max(survived.recoveries) < 3 * BACK_SECONDS  # a busy machine; alone on it: `make chaos ARGS="R14"`


def test_a_server_that_cannot_be_started_again_ends_up_with_one_line(tmp_path: Path) -> None:
    """After so many failed starts in a row `up` gives up: one line that says why and what to do, and exit code 1."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        data_dir = Path(folder, "data")
        two = {"ALPHAPANDA_EMBEDDED__MAX_FAILED_STARTS": "2"}
        with Platform(data_dir, environment=two, home=tmp_path) as platform:
            platform.start()
            (data_dir / "postgres" / "cluster" / "global" / "pg_control").rename(tmp_path / "pg_control")
            assert KILLS["postgres"](data_dir, random.Random(14))
            assert platform.process is not None
            assert platform.process.wait(60) == 1
            (line,) = platform.complaints.splitlines()
            assert line.startswith(
                "alphapanda: PostgreSQL ended and could not be started again: 2 starts in a row"
            )
            assert [one["event"] for one in platform.log() if one["event"].startswith("server.")] == [
                "server.ended",
                "server.start_failed",
                "server.given_up",
            ]
