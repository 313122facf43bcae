from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("alphapanda"))
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def shown_until(terminal: int, wanted: str, seconds: float) -> str:
    """What the terminal shows, up to the wanted words or the time's end."""
    text, until = "", time.monotonic() + seconds
    while wanted not in text and time.monotonic() < until:
        ready, _, _ = select.select([terminal], [], [], 0.5)
        if ready:
            try:
                text += ESCAPES.sub("", os.read(terminal, 4096).decode(errors="replace"))
            except OSError:
                break
    return text


def test_on_a_terminal_a_new_user_sees_fills_and_ctrl_c_ends_it_well(tmp_path):
    """In a data directory that isn't there yet: progress, what to try, the first fill; logs in a file; exit code 0."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(
        [PROGRAM, "up", "--demo", "--port", "0"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        cwd=tmp_path,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            shown = shown_until(ours, "demo.bharti.quick", 60)
            process.send_signal(signal.SIGINT)
            shown += shown_until(ours, "stopping", 10)
            assert process.wait(20) == 0
        finally:
            process.kill()
            os.close(ours)
    assert "starting PostgreSQL and Redis" in shown
    assert "GetPortfolio" in shown
    assert "this is not the market" in shown
    assert "NSE:BHARTIARTL" in shown
    log = tmp_path / "alphapanda" / "logs" / "alphapanda.log"
    assert '"event": "first_fill"' in log.read_text()
