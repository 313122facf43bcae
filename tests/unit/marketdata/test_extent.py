"""How far a recording is read: what a progress bar shows."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pyarrow import csv, parquet

from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.core.ticks import Tick
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.replay import RecordingWanted

DIRECTORY = shipped_instruments(date(2026, 11, 23))
(TOKEN, *_) = [each.instrument_token for each in DIRECTORY if each.tradable]
ROWS = 20_000


def recorded(files, extent) -> Iterator[Tick]:
    return RecordingWanted(files, None, DIRECTORY, load_nse_calendar()).read().ticks(extent)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A file of ticks, large beside what is read ahead."""
    file = tmp_path / "ticks.csv"
    rows = (f"{1_795_000_000_000_000_000 + at},{TOKEN},{100 + at % 50}\n" for at in range(ROWS))
    file.write_text("ts,instrument_token,last_price\n" + "".join(rows))
    return file


def as_gzip(plain: Path) -> Path:
    """The same, packed."""
    file = plain.with_suffix(".csv.gz")
    file.write_bytes(gzip.compress(plain.read_bytes()))
    return file


def as_parquet(plain: Path) -> Path:
    """The same, in columns."""
    file = plain.with_suffix(".parquet")
    parquet.write_table(csv.read_csv(plain), file)
    return file


@pytest.mark.parametrize("kind", [lambda plain: plain, as_gzip, as_parquet], ids=["csv", "gzip", "parquet"])
def test_a_file_is_read_from_its_begin_to_its_end(plain, kind) -> None:
    """What is read grows with the ticks, from little to the size of the file."""
    file, extent = kind(plain), Extent()
    read = [extent.read for _ in recorded([file], extent)]
    assert extent.total == extent.read == file.stat().st_size
    assert read == sorted(read)
    assert read[0] < extent.total


def test_several_files_count_together(plain) -> None:
    """A recording of several files ends where all of them do."""
    packed, extent = as_gzip(plain), Extent()
    ticks = recorded([plain, packed], extent)
    next(ticks)
    assert extent.total == plain.stat().st_size + packed.stat().st_size
    for _ in ticks:
        pass
    assert extent.read == extent.total
