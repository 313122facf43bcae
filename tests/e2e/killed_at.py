"""`alphapanda up` that dies by kill -9 in the n-th order that comes to a step: `killed_at.py STEP N [options]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import structlog

from alphapanda.app.embedded import Embedded
from alphapanda.app.up_options import UpOptions
from alphapanda.settings.sources import load_settings
from alphapanda.telemetry.logs import configure_logging

log = structlog.get_logger("alphapanda.killed_at")


async def main(wanted: argparse.Namespace) -> None:
    settings = load_settings(os.environ, api={"port": 0})
    configure_logging(settings.logging, sys.stdout)
    seen: Counter[str] = Counter()

    def at(step: str) -> None:
        seen[step] += 1
        if seen[wanted.step] == wanted.n:
            os.kill(os.getpid(), signal.SIGKILL)

    options = UpOptions(data_dir=wanted.data_dir, feed=wanted.feed, instrument=wanted.instrument, at=at)
    embedded = Embedded(settings, options)
    await embedded.start()
    log.info("process.ready", target=embedded.target)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("step")
    parser.add_argument("n", type=int)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--feed", required=True)
    parser.add_argument("--instrument", required=True)
    asyncio.run(main(parser.parse_args()))
