"""PostgreSQL, one of its backends or Redis is killed under orders: `up` comes back by itself (scorecard R14)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from faults import KILLS
from servers import BACK_SECONDS, servers_killed

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer


def test_what_up_started_comes_back_by_itself() -> None:
    """A kill -9 under orders ends nothing: everything serves again, an exit has passed, and the books are true."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        survived = servers_killed(Path(folder, "data"), list(KILLS), "20", seed=14)
    assert survived.faults == len(survived.recoveries) == len(KILLS)
    assert survived.fills > survived.faults
    assert max(survived.recoveries) < 3 * BACK_SECONDS  # a busy machine; alone on it: `make chaos ARGS="R14"`
