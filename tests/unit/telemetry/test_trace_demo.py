"""`make trace-demo` ends what it has started."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools" / "jaeger" / "trace_demo.py"


def loaded(monkeypatch) -> ModuleType:
    specification = importlib.util.spec_from_file_location("trace_demo", TOOL)
    assert specification is not None
    assert specification.loader is not None
    demo = importlib.util.module_from_spec(specification)
    monkeypatch.setattr(sys, "path", [*sys.path])
    specification.loader.exec_module(demo)
    return demo


def test_a_process_that_ended_is_told_with_its_last_line(monkeypatch, tmp_path) -> None:
    """Nobody waits minutes for an order that a service whose port is taken can't make."""
    demo, log = loaded(monkeypatch), tmp_path / "marketdata.log"
    log.write_text("began\n127.0.0.1:50062 is in use\n")
    demo.check_process("marketdata", SimpleNamespace(poll=lambda: None), log)
    with pytest.raises(demo.NothingTraded, match=r"marketdata ended: 127\.0\.0\.1:50062 is in use"):
        demo.check_process("marketdata", SimpleNamespace(poll=lambda: 1), log)


async def test_ctrl_c_waits_for_the_platform_to_stop(monkeypatch) -> None:
    """It interrupts the wait alone, never the stop that follows: half a stop leaves a platform running that nobody sees."""
    demo = loaded(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["trace_demo.py"])
    ended: list[str] = []

    def stop() -> None:
        time.sleep(0.1)
        ended.append("platform")

    platform = SimpleNamespace(options=(), check=None, stop=stop)
    jaeger = SimpleNamespace(environment={}, start=lambda: None, stop=lambda: ended.append("jaeger"))

    async def traced(*_: object) -> tuple[dict[str, object], list[object]]:
        return {}, []

    monkeypatch.setattr(demo, "missing_for_jaeger", lambda: None)
    monkeypatch.setattr(demo, "JaegerServer", lambda *_: jaeger)
    monkeypatch.setattr(demo, "Platform", lambda *_: platform)
    monkeypatch.setattr(demo, "traced_order", traced)
    monkeypatch.setattr(
        demo,
        "tell",
        lambda *_: asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM),
    )
    try:
        assert await demo.main() == 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
    assert ended == ["platform", "jaeger"]
