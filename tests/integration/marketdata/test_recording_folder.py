"""A recording that goes on for days and restarts: a file a day, each read back to the frames that went in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, nanoseconds
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.recording import recorded_frames
from alphapanda.marketdata.feeds.recording_folder import LOCK, FolderRecorder, check_recording_folder

DIRECTORY = shipped_instruments(date(2026, 11, 23))
INFY = 408065
MONDAY, TUESDAY = (nanoseconds(datetime(2026, 11, day, 18, 29, 50, tzinfo=UTC)) for day in (22, 23))
"""Ten seconds before midnight in India."""


def frames(begin: int, count: int, first: int = 1) -> list[Frame]:
    """A frame a second; every third has no tick."""
    made = []
    for number in range(count):
        at = begin + number * 1_000_000_000
        ticks = () if number % 3 == 0 else (INFY,)
        made.append(
            Frame(
                *(
                    "run",
                    0,
                    first + number,
                    at,
                    100,
                    ticks,
                    [150_000 + number] * len(ticks),
                    [at] * len(ticks),
                ),
                simulated=True,
            )
        )
    return made


def read(folder: Path) -> dict[str, list[int]]:
    """The sequences in each whole file; nothing else lies about."""
    files = sorted(file for file in folder.iterdir() if file.name != LOCK)
    return {
        file.name: [frame.sequence for frame in recorded_frames(file, DIRECTORY, Extent())] for file in files
    }


async def record(folder: Path, *batches: Sequence[Frame]) -> None:
    recorder = FolderRecorder(folder)
    await recorder.start()
    for batch in batches:
        recorder.add(batch)
    await recorder.stop()


async def test_each_day_has_its_file_and_a_restart_its_own(tmp_path):
    """Midnight in India begins another file, in the midst of a batch too; what was recorded before stays as it is."""
    first, second, third = frames(MONDAY, 15), frames(MONDAY, 4, 16), frames(TUESDAY, 12, 20)
    await record(tmp_path, first[:3], first[3:])
    await record(tmp_path, second)
    await record(tmp_path, third)
    assert read(tmp_path) == {
        "2026-11-22.2.parquet": [16, 17, 18, 19],
        "2026-11-22.parquet": list(range(1, 11)),
        "2026-11-23.2.parquet": list(range(20, 30)),
        "2026-11-23.parquet": list(range(11, 16)),
        "2026-11-24.parquet": [30, 31],
    }
    whole = list(recorded_frames(tmp_path / "2026-11-22.parquet", DIRECTORY, Extent()))
    assert [(one.market_time_ns, tuple(one.last_price)) for one in whole] == [
        (one.market_time_ns, tuple(one.last_price)) for one in first[:10]
    ]


async def test_what_a_crash_left_is_saved(tmp_path):
    """The next start makes a file of it, whose name says that its end is missing, and begins another."""
    await record(tmp_path, frames(MONDAY, 5))
    whole = tmp_path / "2026-11-22.parquet"
    table = parquet.read_table(whole)
    with pa.ipc.new_stream(tmp_path / "2026-11-22.parquet.part", table.schema) as stream:
        stream.write_table(table)
    whole.unlink()
    await record(tmp_path, frames(MONDAY, 2, 6))
    assert read(tmp_path) == {
        "2026-11-22.2.parquet": [6, 7],
        "2026-11-22.cut-short.parquet": [1, 2, 3, 4, 5],
    }


async def test_two_do_not_record_in_one_folder(tmp_path):
    """The second is refused and disturbs nothing; when the first has ended it may."""
    first, second = FolderRecorder(tmp_path), FolderRecorder(tmp_path)
    await first.start()
    first.add(frames(MONDAY, 2))
    with pytest.raises(InvalidInput, match="no other process records in"):
        await second.start()
    await first.stop()
    await second.start()
    await second.stop()
    assert read(tmp_path) == {"2026-11-22.parquet": [1, 2]}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """Before anything is started."""
    with pytest.raises(InvalidInput, match=r"--record: .*none' is not allowed; a folder that exists"):
        check_recording_folder(tmp_path / "none")
