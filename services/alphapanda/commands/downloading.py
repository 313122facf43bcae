"""`alphapanda history download`: pages of bars become parts, and the parts one Parquet file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import click
import grpc
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alphapanda.app import clocks
from alphapanda.commands.asking import connected
from alphapanda.commands.console import USAGE, err, fail, out
from alphapanda.commands.finding import Target, why_no_answer
from alphapanda.contract.wire import exact
from alphapanda.marketdata.feeds.parquet import pyarrow, readable
from panda.marketdata.v1 import marketdata_pb2 as api
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub

_DAYS: Final = b"alphapanda.history.days"
"""Key in a file's metadata: the first and last day that were asked for."""
_PRICE: Final = (18, 4)
"""Digits of a price, and of them those after the point."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What became of one symbol."""

    symbol: str
    file: Path
    bars: int
    new_bars: int


class BarFile:
    """The bars of one symbol: a Parquet file, and beside it the parts of a download that isn't complete.

    Args:
        file: the Parquet file.
    """

    def __init__(self, file: Path) -> None:
        self.file: Final = file
        self._parts: Final = file.with_name(f"{file.name}.parts")

    def missing(self, first: date, last: date) -> list[tuple[date, date]]:
        """The ranges of days that are wanted and not there."""
        ranges, at = [], first
        for begin, end in sorted(self._covered()):
            if begin > last:
                break
            if end < at:
                continue
            if begin > at:
                ranges.append((at, begin - timedelta(days=1)))
            at = end + timedelta(days=1)
        return [*ranges, (at, last)] if at <= last else ranges

    def add(self, symbol: str, bars: Sequence[api.HistoricalBar], first: date, last: date) -> None:
        """Stores a page with the days that it covers."""
        self._parts.mkdir(parents=True, exist_ok=True)
        arrow = pyarrow()
        prices = arrow.decimal128(*_PRICE)
        columns: dict[str, Any] = {
            "time": arrow.array(
                [bar.start.ToNanoseconds() for bar in bars], arrow.timestamp("ns", "Asia/Kolkata")
            ),
            "symbol": arrow.array([symbol] * len(bars), arrow.string()),
        }
        for name in ("open", "high", "low", "close"):
            columns[name] = arrow.array([exact(getattr(bar, name)) for bar in bars], prices)
        columns["volume"] = arrow.array([bar.volume for bar in bars], arrow.int64())
        columns["oi"] = arrow.array(
            [bar.open_interest if bar.HasField("open_interest") else None for bar in bars], arrow.int64()
        )
        _write(arrow.table(columns), self._parts / f"{first}.{last}.parquet", [(first, last)])

    def complete(self) -> int:
        """Makes one file of the file and its parts; returns how many bars it has."""
        arrow, files = pyarrow(), self._files()
        with readable(self.file):
            tables = [arrow.parquet.read_table(file) for file in files]
        if not tables:
            return 0
        whole = arrow.concat_tables(tables).sort_by("time")
        _write(whole, self.file, _joined(self._covered()))
        for part in self._parts.glob("*.parquet"):
            part.unlink()
        if self._parts.exists():
            self._parts.rmdir()
        return int(whole.num_rows)

    def _files(self) -> list[Path]:
        parts = sorted(self._parts.glob("*.parquet"))
        return [self.file, *parts] if self.file.exists() else parts

    def _covered(self) -> list[tuple[date, date]]:
        covered: list[tuple[date, date]] = []
        for file in self._files():
            with readable(file):
                metadata = pyarrow().parquet.read_schema(file).metadata or {}
            if _DAYS not in metadata:
                fail(f"{file} is no file of `alphapanda history download`; choose another --folder", USAGE)
            for begin, end in json.loads(metadata[_DAYS]):
                covered.append((date.fromisoformat(begin), date.fromisoformat(end)))
        return covered


def run_download(
    target: Target,
    symbols: Sequence[str],
    interval: str,
    first: date,
    last: date | None,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Downloads bars, and says what was written."""
    yesterday = clocks.today() - timedelta(days=1)
    until = last or yesterday
    if not first <= until <= yesterday:
        allowed = f"a day from --from ({first}) up to yesterday ({yesterday}): today isn't whole yet"
        fail(f"--to: {until} is not allowed; {allowed}", USAGE)
    folder.mkdir(parents=True, exist_ok=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        done = [
            asyncio.run(_download(target, symbol, interval, first, until, folder, progress))
            for symbol in dict.fromkeys(symbols)
        ]
    if as_json:
        click.echo(
            json.dumps(
                [
                    {"symbol": one.symbol, "file": str(one.file), "bars": one.bars, "new_bars": one.new_bars}
                    for one in done
                ]
            )
        )
        return
    for one in done:
        out.print(
            f"{one.symbol}: {one.bars:,} bars of {interval} in {one.file}, {one.new_bars:,} of them new",
            soft_wrap=True,
        )
        out.print(f"  replay them: alphapanda replay {one.file}", soft_wrap=True)


async def _download(
    target: Target, symbol: str, interval: str, first: date, last: date, folder: Path, progress: Progress
) -> Downloaded:
    bars = BarFile(
        folder / f"{symbol.replace(':', '_').replace(' ', '_').replace('/', '_')}-{interval}.parquet"
    )
    missing = bars.missing(first, last)
    days = sum((end - begin).days + 1 for begin, end in missing)
    task = progress.add_task(symbol, total=days, note="")
    new = 0
    async with connected(target) as services:
        for begin, end in missing:
            request = api.ListHistoricalBarsRequest(
                symbol=symbol, interval=interval, first_day=str(begin), last_day=str(end)
            )
            try:
                new += await _range(services.market, request, bars, lambda some: progress.advance(task, some))
            except grpc.aio.AioRpcError as refusal:
                last_call = services.last_call
                fail(why_no_answer(target, services.asked, refusal, last_call.method, last_call.request))
    return Downloaded(symbol, bars.file, bars.complete(), new)


async def _range(
    market: MarketDataServiceStub,
    request: api.ListHistoricalBarsRequest,
    bars: BarFile,
    advance: Callable[[int], None],
) -> int:
    """Downloads a range of days, page by page; returns how many bars came."""
    new, begin = 0, date.fromisoformat(request.first_day)
    while True:
        page = await market.ListHistoricalBars(request)
        until = date.fromisoformat(page.covered_until)
        bars.add(request.symbol, page.bars, begin, until)
        new += len(page.bars)
        advance((until - begin).days + 1)
        if not page.next_page_token:
            return new
        begin = until + timedelta(days=1)
        request.page_token = page.next_page_token


def _write(table: Any, file: Path, days: Iterable[tuple[date, date]]) -> None:
    """Writes a file whole or not at all."""
    written = file.with_name(f"{file.name}.new")
    noted = {_DAYS: json.dumps([(str(begin), str(end)) for begin, end in days])}
    pyarrow().parquet.write_table(table.replace_schema_metadata(noted), written)
    written.replace(file)


def _joined(ranges: Iterable[tuple[date, date]]) -> list[tuple[date, date]]:
    """The same days in as few ranges as possible."""
    joined: list[tuple[date, date]] = []
    for begin, end in sorted(ranges):
        if joined and begin <= joined[-1][1] + timedelta(days=1):
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
