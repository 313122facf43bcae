from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
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


def on_a_terminal(folder: Path, wanted: str, *options: str) -> str:
    """What `up` shows in a terminal of 120 columns, up to the wanted words, then from Ctrl-C to its end, which is 0."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 120))
    environ = {**os.environ, "XDG_DATA_HOME": str(folder), "TERM": "xterm"}
    with subprocess.Popen(
        [PROGRAM, "up", "--demo", "--port", "0", *options],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
        cwd=folder,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            shown = shown_until(ours, wanted, 60)
            assert wanted in shown, shown[-3_000:]
            process.send_signal(signal.SIGINT)
            shown += shown_until(ours, "starts over", 20)
            assert process.wait(20) == 0
        finally:
            process.kill()
            os.close(ours)
    return shown


def test_on_a_terminal_a_new_user_sees_the_platform_trade(tmp_path):
    """In a data directory that isn't there yet: progress, then the live view up to the first fill; logs in a file.

    With --plain fills are lines, and what to try is said.
    """
    shown = on_a_terminal(tmp_path, "filled  demo.")
    assert "starting PostgreSQL and Redis" in shown
    for part in (
        "simulated",
        "demo.hdfcbank",
        "● running",
        "6 serving",
        "Ctrl-C ends it · 127.0.0.1:",
        " · log /",
    ):
        assert part in shown, part
    log = tmp_path / "alphapanda" / "logs" / "alphapanda.log"
    assert '"event": "fill.first_reported"' in log.read_text()
    assert '"level": "error"' not in log.read_text()
    shown = on_a_terminal(tmp_path, "demo.bharti.quick", "--plain")
    for part in (
        "ran for 0:00:",
        "paper/default: day's P&L ",
        "data and logs are in ",
        "goes on where this run ended",
    ):
        assert part in shown, part
    assert "GetPortfolio" in shown
    assert "this is not the market" in shown
    assert "NSE:BHARTIARTL" in shown
