"""One side of the benchmark of reading: `alphapanda FILE` or `pandas FILE`; prints rows, processor seconds and peak memory."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any


def main() -> None:
    """Reads the file once."""
    side, file = sys.argv[1:]
    told = {"alphapanda": _ours, "pandas": _pandas}[side](Path(file))
    told["peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(told))


def _ours(file: Path) -> dict[str, float]:
    from alphapanda.domain.calendar import load_nse_calendar
    from alphapanda.instruments.core import shipped_instruments
    from alphapanda.marketdata.feeds.extent import Extent
    from alphapanda.marketdata.feeds.replay import RecordingWanted

    wanted = RecordingWanted([file], "NSE:INFY", shipped_instruments(date.max), load_nse_calendar())
    recording, seconds = _timed(wanted.read)
    rows, tick_seconds = _timed(lambda: sum(1 for _ in recording.ticks(Extent())))
    return {"rows": rows, "seconds": seconds, "tick_seconds": tick_seconds}


def _pandas(file: Path) -> dict[str, float]:
    import pandas as pd

    def read() -> pd.DataFrame:
        return pd.read_csv(file, parse_dates=["datetime"]).sort_values("datetime").drop_duplicates("datetime")

    frame, seconds = _timed(read)
    return {"rows": len(frame), "seconds": seconds}


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = _processor_seconds()
    made = work()
    return made, _processor_seconds() - began


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
