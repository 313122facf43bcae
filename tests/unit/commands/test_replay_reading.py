"""`alphapanda replay` on data as people have it: the same figures as on a file that is as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.marketdata.data_files import (
    DIRECTORY,
    IST,
    OPEN,
    Bar,
    bars_of,
    plain_row,
    plain_text,
    text_of,
)

from alphapanda.app.reading import reading_of
from alphapanda.cli import main
from alphapanda.contract.topics import shard_of
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import instant
from alphapanda.domain.pace import MAX
from alphapanda.marketdata.core.framing import FrameBuilder
from alphapanda.marketdata.core.sanitiser import Sanitiser
from alphapanda.marketdata.core.ticks import PRICE_SCALE
from alphapanda.marketdata.feeds.extent import Extent
from alphapanda.marketdata.feeds.pace import Pacer
from alphapanda.marketdata.feeds.replay import RecordingWanted, ReplayFeed, replay_frames
from alphapanda.settings.services import ReplaySettings
from alphapanda.settings.sources import load_settings

HEADER = "date,open,high,low,close,volume"
VOLATILE = ("noted", "wall_seconds", "ticks_per_second", "peak_rss_mib")


def waves(days: int = 1) -> list[Bar]:
    """Bars that rise and fall, so that averages cross."""
    made = []
    for day in range(days):
        for at, bar in enumerate(bars_of(120, 1, OPEN + timedelta(days=day))):
            swing = abs(at % 40 - 20) * 10
            prices = (f"{1500 + (swing + more) / 10:.2f}" for more in (0, 5, -5, 2))
            made.append(Bar(bar.start, *prices, bar.volume))
    return made


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `replay` on a text."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *options: str) -> Result:
        Path("bars.csv").write_text(text)
        chosen = [
            "--strategy",
            "ema_cross",
            "-p",
            "fast=3",
            "-p",
            "slow=6",
            "--instrument",
            "NSE:INFY",
            "--json",
        ]
        return CliRunner().invoke(main, ["replay", "bars.csv", *chosen, *options], catch_exceptions=False)

    return run


def figures(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.stderr
    return {name: value for name, value in json.loads(result.stdout).items() if name not in VOLATILE}


def test_every_form_comes_to_the_same_figures(replayed) -> None:
    """The newest first, every row twice, epochs with float noise, day first: a line says what was recognised."""
    bars = waves()
    good = figures(replayed(plain_text(bars)))
    assert good["fills"] >= 4
    noisy = text_of(
        "time;Open;High;Low;Close;Volume",
        lambda bar: ";".join(
            [
                str(int(bar.start.timestamp() * 1000)),
                *(f"{float(p) + 1e-5:.6f}" for p in bar[1:5]),
                str(bar.volume),
            ]
        ),
        bars,
    )
    day_first = text_of(HEADER, lambda bar: f"{bar.start:%d-%m-%Y %H:%M},{bar.prices},{bar.volume}", bars)
    for text, options, noted, told in (
        (plain_text(bars[::-1]), (), {"put_in_order": 120}, "rows were put in order"),
        (
            plain_text([bar for bar in bars for _ in range(2)]),
            (),
            {"repeated": 120},
            "120 rows repeated another one and counted once",
        ),
        (noisy, (), {"rounded": 120}, "milliseconds since the epoch; 120 rows with prices rounded to paise"),
        (day_first, ("--time-format", "dmy"), {}, "day first, times without a zone are IST"),
    ):
        result = replayed(text, *options)
        assert figures(result) == good
        assert json.loads(result.stdout)["noted"] == noted
        assert told in result.stderr


def test_what_cannot_be_decided_is_refused_in_one_line(replayed) -> None:
    """Rows that disagree, an ambiguous date, bars named by their ends, another length than was said."""
    bars = waves()
    day_first = text_of(HEADER, lambda bar: f"{bar.start:%d-%m-%Y %H:%M},{bar.prices},{bar.volume}", bars)
    late = [bar._replace(start=bar.start + timedelta(seconds=59)) for bar in bars]
    for text, option, says in (
        (
            plain_text([*bars, bars[7]._replace(volume=1)]),
            (),
            "bars.csv, line 9 and line 122, bar of NSE:INFY",
        ),
        (day_first, (), "--time-format dmy"),
        (plain_text(late), (), "--stamp end"),
        (plain_text(bars), ("--bar-interval", "5m"), "--bar-interval: '5m' is not allowed; 1m"),
    ):
        result = replayed(text, *option)
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert says in line
    assert figures(replayed(plain_text(late), "--stamp", "end")) == figures(replayed(plain_text(bars)))


def test_days_are_chosen_by_from_and_to(replayed) -> None:
    """The same figures as a file with that day alone."""
    days = waves(2)
    chosen = replayed(plain_text(days), "--from", "2025-06-11")
    assert figures(chosen) == figures(replayed(plain_text(days[120:])))
    assert json.loads(chosen.stdout)["noted"] == {"outside": 120}


def test_the_report_says_what_was_recognised(replayed) -> None:
    """Among what the figures rest on."""
    assert replayed(plain_text(waves()), "--report", "r.html").exit_code == 0
    assert "bars.csv: CSV, 1m bars of NSE:INFY, 120 rows" in Path("r.html").read_text()


async def test_up_feeds_what_replay_reads(tmp_path: Path) -> None:
    """With the settings in place of the options: the same run, the same ticks at the same market times."""
    bars = waves()
    file = tmp_path / "bars.csv"
    file.write_text(text_of("x,a,b,c,d,e", plain_row, bars[::-1]))
    settings = load_settings({"ALPHAPANDA_REPLAY__COLUMNS": "time=x,open=a,high=b,low=c,close=d,volume=e"})
    options = reading_of(settings.replay)
    assert options == reading_of(ReplaySettings(), {"columns": settings.replay.columns, "stamp": None})
    wanted = RecordingWanted([file], "NSE:INFY", DIRECTORY, load_nse_calendar(), options)
    told: list[str] = []
    frames = list(
        replay_frames(
            wanted,
            seed=7,
            shards=8,
            shard_of=shard_of,
            sanitiser=Sanitiser(DIRECTORY, PRICE_SCALE),
            extent=Extent(),
            tell=told.append,
        )
    )
    fed = []
    async for run in ReplayFeed(wanted, 7, Pacer(MAX)).runs(None):
        builder = FrameBuilder(run.feed_run, 8, shard_of, PRICE_SCALE, simulated=True)
        fed += [frame async for batch in run.batches for frame in builder.frames(*batch)]
        assert run.noted == {"put_in_order": 120}
    assert fed == frames
    assert len(frames) == 120
    assert "1m bars of NSE:INFY, 120 rows" in told[0]
    assert instant(frames[0].market_time_ns).astimezone(IST).date() == date(2025, 6, 10)
