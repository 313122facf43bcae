"""`alphapanda up` whose wall clock jumps an hour: forwards at SIGUSR1, back at SIGUSR2. `clock_jumps.py [options]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from alphapanda.app import clocks

jumps: list[timedelta] = []
time_ns = time.time_ns


def wall_clock() -> datetime:
    return datetime.now(UTC) + sum(jumps, timedelta())


def wall_clock_ns() -> int:
    return time_ns() + int(sum(jumps, timedelta()).total_seconds()) * 10**9


# Whoever is imported from here on takes these for the clock.
clocks.wall_clock = wall_clock
time.time_ns = wall_clock_ns

from alphapanda.app.embedded import Embedded, UpOptions  # noqa: E402
from alphapanda.settings.sources import load_settings  # noqa: E402
from alphapanda.telemetry.logs import configure_logging  # noqa: E402

log = structlog.get_logger("alphapanda.clock_jumps")


def jump(hours: int) -> None:
    jumps.append(timedelta(hours=hours))
    log.info("jumped", hours=hours)


async def main(data_dir: Path) -> None:
    settings = load_settings(os.environ, api={"port": 0})
    configure_logging(settings.logging, sys.stdout)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, jump, 1)
    loop.add_signal_handler(signal.SIGUSR2, jump, -1)
    loop.add_signal_handler(signal.SIGINT, stopping.set)
    embedded = Embedded(settings, UpOptions(data_dir=data_dir))
    await embedded.start()
    log.info("process.ready", target=embedded.target)
    await stopping.wait()
    await embedded.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    asyncio.run(main(parser.parse_args().data_dir))
