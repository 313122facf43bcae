"""A forked program is what a started one is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import fork_server
import pytest

PROGRAM = """
import json, os, random, sys
sys.stderr.write("complaint")
told = {"arguments": sys.argv[1:], "folder": os.getcwd(), "name": __name__, "environment": dict(os.environ)}
print(json.dumps(told | {"input": sys.stdin.read(), "chance": random.random(), "session": os.getsid(0)}))
sys.exit(3)
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A program that tells how it was started."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return str(file)


def test_it_is_what_a_started_process_is(program: str, tmp_path: Path) -> None:
    """Arguments, folder, environment, input, output and exit status are those that it was given, and chance is its own."""
    runs = [fork_server.run([program, "a", "b c"], env={"ONLY": "this"}, cwd=tmp_path) for _ in range(2)]
    first, second = (json.loads(done.stdout) for done in runs)
    assert (first["arguments"], first["folder"], first["name"]) == (["a", "b c"], str(tmp_path), "__main__")
    assert (first["environment"], first["input"]) == ({"ONLY": "this"}, "")
    assert first["chance"] != second["chance"]
    assert os.getsid(0) != first["session"] != second["session"]
    assert [(done.returncode, done.stderr) for done in runs] == [(3, "complaint")] * 2


def test_a_failure_is_told(tmp_path: Path) -> None:
    """A program that raises ends with 1 and its traceback."""
    file = tmp_path / "fails.py"
    file.write_text("raise ValueError('told')")
    done = fork_server.run([str(file)])
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: told\n")


def test_it_is_ended_by_signals(tmp_path: Path) -> None:
    """It runs until it is killed, and the signal is its status."""
    file = tmp_path / "waits.py"
    file.write_text("import time\ntime.sleep(600)")
    process = fork_server.popen(
        [sys.executable, str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
        cwd=tmp_path,
    )
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.kill()
    assert process.wait(10) == process.poll() == -signal.SIGKILL
    process.kill()  # what has ended can't be harmed
