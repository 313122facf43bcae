"""Bars of the past: ListHistoricalBars page by page, and `alphapanda history download` into files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet
import pytest
import structlog
from click.testing import CliRunner, Result

from alphapanda.app import clocks
from alphapanda.cli import main
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.core import shipped_instruments
from alphapanda.marketdata.api import MarketDataServicer
from alphapanda.marketdata.core.historical import INTERVALS, HistoricalBar, Interval, span_end
from alphapanda.marketdata.history import HistorySource
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.mesh.server import MeshServer
from panda.marketdata.v1 import marketdata_pb2 as api
from panda.marketdata.v1.marketdata_pb2_grpc import add_MarketDataServiceServicer_to_server

CALENDAR = load_nse_calendar()


class Made(HistorySource):
    """Makes bars of each trading day; counts what it was asked; fails once after `fails_after` calls."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.asked: list[tuple[date, date]] = []
        self.fails_after = fails_after

    async def bars(
        self, instrument: Instrument, interval: Interval, first: date, last: date
    ) -> Sequence[HistoricalBar]:
        assert (last - first).days < interval.most_days
        if self.fails_after == len(self.asked):
            self.fails_after = None
            raise FailedPrecondition("BROKER_SESSION_NEEDED", "account default: nobody is signed in")
        self.asked.append((first, last))
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return [
            HistoricalBar(
                session.open + timedelta(minutes=minute),
                *(Decimal(price) / 100 for price in (150000 + minute, 150200, 149900, 150100 + minute)),
                volume=minute,
            )
            for day in days
            for session in CALENDAR.sessions(day, "NSE_EQ")
            for minute in range(3)
        ]


def servicer(source: HistorySource | None) -> MarketDataServicer:
    return MarketDataServicer(None, shipped_instruments(date.max), CALENDAR, None, None, source)


@asynccontextmanager
async def served(source: HistorySource) -> AsyncIterator[str]:
    register = partial(add_MarketDataServiceServicer_to_server, servicer(source))
    server = MeshServer("127.0.0.1", 0, [register], structlog.get_logger())
    port = await server.start()
    await server.set_serving("panda.marketdata.v1.MarketDataService", serving=True)
    yield f"127.0.0.1:{port}"
    await server.stop(1)


async def download(target: str, folder: Path, *options: str) -> Result:
    arguments = ["history", "download", "NSE:INFY", "--folder", str(folder), "--target", target, *options]
    return await asyncio.to_thread(CliRunner().invoke, main, arguments)


def asked(**fields: object) -> api.ListHistoricalBarsRequest:
    usual = {"symbol": "NSE:INFY", "interval": "1m", "first_day": "2026-01-01", "last_day": "2026-06-30"}
    return api.ListHistoricalBarsRequest(**(usual | fields))


async def test_pages_cover_every_day_once_and_none_asks_for_more_than_the_broker_gives() -> None:
    """Half a year of minutes is four pages; their bars are in order, their prices exact."""
    source = Made()
    bars, token, until = [], "", []
    while True:
        page = await servicer(source).ListHistoricalBars(asked(page_token=token), None)
        bars += page.bars
        until.append(page.covered_until)
        token = page.next_page_token
        if not token:
            break
    assert until == ["2026-03-01", "2026-04-30", "2026-06-29", "2026-06-30"]
    assert source.asked[0] == (date(2026, 1, 1), date(2026, 3, 1))
    starts = [bar.start.ToDatetime(UTC) for bar in bars]
    assert starts == sorted(set(starts))
    page = await servicer(source).ListHistoricalBars(asked(page_size=5), None)
    assert page.covered_until == "2026-01-05"
    assert [bars[1].open.value, bars[1].volume, bars[1].HasField("open_interest")] == ["1500.01", 1, False]


@pytest.mark.parametrize(
    ("fields", "error", "why"),
    [
        ({"interval": "2m"}, InvalidInput, "interval: '2m' is not allowed"),
        ({"last_day": "2025-12-31"}, InvalidInput, "last_day"),
        ({"first_day": "2026-02-30"}, InvalidInput, "first_day"),
        ({"symbol": "NSE:INFI"}, NotFound, "NSE:INFY"),
        ({"page_token": "x"}, InvalidInput, "page_token"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(fields, error, why) -> None:
    """Field, value, and what is allowed."""
    with pytest.raises(error, match=why):
        await servicer(Made()).ListHistoricalBars(asked(**fields), None)


async def test_without_a_broker_the_answer_says_what_to_do() -> None:
    """Bars that one has are replayed."""
    with pytest.raises(FailedPrecondition, match="alphapanda replay FILE"):
        await servicer(None).ListHistoricalBars(asked(), None)


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)
def test_a_span_is_as_long_as_the_broker_allows_and_no_longer(interval: Interval) -> None:
    """Both ends count; a short range is one span."""
    first = date(2026, 1, 1)
    assert (span_end(first, date.max, interval.most_days) - first).days + 1 == interval.most_days
    assert span_end(first, first, interval.most_days) == first


async def test_a_download_goes_on_where_it_was_stopped_and_adds_what_is_missing(tmp_path) -> None:
    """Nothing is asked for twice; the file is whole, in order, and replays."""
    source = Made(fails_after=2)
    async with served(source) as target:
        stopped = await download(target, tmp_path, "--from", "2026-01-01", "--to", "2026-06-30")
        assert stopped.exit_code == 1, stopped.stderr
        assert "nobody is signed in" in stopped.stderr
        assert not (tmp_path / "NSE_INFY-1m.parquet").exists()
        done = await download(target, tmp_path, "--from", "2026-01-01", "--to", "2026-06-30", "--json")
        assert done.exit_code == 0, done.output
        more = await download(target, tmp_path, "--from", "2025-12-01", "--to", "2026-07-10", "--json")
        again = await download(target, tmp_path, "--from", "2025-12-01", "--to", "2026-07-10")
    spans = sorted(source.asked)
    assert spans[0][0] == date(2025, 12, 1)
    assert all(before[1] + timedelta(days=1) == after[0] for before, after in pairwise(spans))
    (told,) = json.loads(more.stdout)
    table = pyarrow.parquet.read_table(told["file"])
    assert table.num_rows == told["bars"]
    starts = table.column("time").to_pylist()
    assert starts == sorted(set(starts))
    assert f"{told['bars']:,} bars of 1m" in again.stdout
    assert ", 0 of them new" in again.stdout.replace("\n", " ")
    assert list(tmp_path.iterdir()) == [tmp_path / "NSE_INFY-1m.parquet"]
    replayed = await asyncio.to_thread(
        CliRunner().invoke,
        main,
        [
            "replay",
            told["file"],
            "--strategy",
            "ema_cross",
            "--json",
            "--from",
            "2026-06-01",
            "--to",
            "2026-06-05",
        ],
    )
    assert replayed.exit_code == 0, replayed.output
    assert json.loads(replayed.stdout)["ticks"] == 5 * 3


async def test_today_and_foreign_files_are_refused(tmp_path) -> None:
    """A day that isn't over would count as there; a file of another program isn't overwritten."""
    today = clocks.today()
    result = await download(
        "127.0.0.1:1", tmp_path, "--from", str(today - timedelta(days=3)), "--to", str(today)
    )
    assert result.exit_code == 2
    assert "today isn't whole yet" in result.stderr
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "NSE_INFY-1m.parquet")
    result = await download("127.0.0.1:1", tmp_path, "--from", "2026-01-01", "--to", "2026-01-02")
    assert result.exit_code == 2
    assert "is no file of `alphapanda history download`" in result.stderr
