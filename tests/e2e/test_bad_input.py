"""What `alphapanda up` says to input it can't use: one clear line, no traceback, and nothing left running."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from pwd import getpwnam

import pytest
from click.testing import CliRunner
from running import START_SECONDS, Platform, servers_of, until
from sqlalchemy import text

from alphapanda.cli import main
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.storage.engine import open_engine
from alphapanda.storage.schema import upgrade_schema
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest
from panda.strategy.v1.strategy_pb2 import ListStrategyTypesRequest

SECONDS = 10.0
TICKS = "ts,instrument_token,last_price"
BARS = "datetime_ist,open,high,low,close,volume"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    """A data directory for all who are refused: making a database for each would only take time."""
    return tmp_path_factory.mktemp("refused") / "data"


@pytest.fixture
def refused(data_dir, tmp_path) -> Iterator[Callable[..., str]]:
    """Runs `alphapanda up` with arguments it has to refuse; returns what it says, one line unless `lines` says more."""
    started: list[Platform] = []

    def run(*arguments: str, data_dir: Path = data_dir, lines: int | None = 1, **environment: str) -> str:
        platform = Platform(data_dir, *arguments, environment=environment, home=tmp_path)
        started.append(platform)
        platform.launch()
        assert platform.process is not None
        code = platform.process.wait(START_SECONDS)
        said = platform.complaints
        assert code != 0, said
        assert "Traceback" not in said + platform.told()
        assert lines is None or len(said.splitlines()) == lines, said
        assert said.startswith("alphapanda: ")
        return said.removeprefix("alphapanda: ").rstrip("\n")

    yield run
    for platform in started:
        platform.__exit__(None, None, None)


def recording(folder: Path, *rows: str, header: str = TICKS) -> Path:
    file = folder / "ticks.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_a_port_in_use(refused, tmp_path):
    """A port somebody listens on is named before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused("--port", str(port), data_dir=tmp_path / "data")
    assert line.startswith(f"127.0.0.1:{port} is in use; ")
    assert "--port" in line
    assert not (tmp_path / "data" / "postgres" / "cluster").exists()
    assert servers_of(tmp_path / "data") == []


def test_a_data_directory_in_use(up, refused):
    """A data directory whose process runs is refused with that process's id and port, and that process goes on."""
    running = up()
    line = refused(data_dir=running.data_dir)
    assert f"in use by process {running.process.pid}" in line
    assert f"port {running.target.rpartition(':')[2]}" in line
    assert "--data-dir" in line
    assert running.process.poll() is None
    running.stop()


def test_a_foreign_data_directory(refused, tmp_path):
    """A folder with somebody else's files is refused, --fresh too, and left as it is."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    line = refused("--fresh", data_dir=tmp_path / "data")
    assert line.startswith(f"data directory {tmp_path / 'data'} holds files that Alpha Panda didn't make")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["thesis.txt"]


def test_a_data_directory_that_cannot_be_made(refused, tmp_path):
    """A data directory below a file is refused as not writable, for root too."""
    (tmp_path / "file").touch()
    line = refused(data_dir=tmp_path / "file" / "data")
    assert "is not writable (Not a directory)" in line
    assert "--data-dir" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_cannot_be_written(refused, tmp_path):
    """A data directory without permission to write is refused."""
    (tmp_path / "data").mkdir(mode=0o500)
    assert "is not writable (Permission denied)" in refused(data_dir=tmp_path / "data")


def test_an_unknown_setting(refused):
    """A setting there is none of is refused with the nearest name."""
    line = refused(ALPHAPANDA_RISK__MAX_ORDER_QUANTTY="5")
    assert "max_order_quantity" in line.lower()
    assert "did you mean" in line


def test_a_setting_out_of_range(refused):
    """A setting's value that isn't allowed is refused with its name, the value and what is allowed."""
    line = refused(ALPHAPANDA_CONSUMERS__DEFAULTS__BATCH_SIZE="0")
    assert "batch_size" in line.lower()
    assert "'0'" in line
    assert "1" in line


@pytest.mark.parametrize(
    ("feed", "says"),
    [
        ("sym", "feed: 'sym' is not allowed; did you mean 'sim'?"),
        ("replay:", "feed: 'replay:' is not allowed; replay:FILE"),
        ("replay:nowhere.csv", "file: 'nowhere.csv' is not allowed"),
    ],
)
def test_a_feed_that_is_none(refused, feed, says, tmp_path):
    """An unknown feed is refused with the nearest, a recording that isn't there by its name, and nothing is made."""
    assert refused("--feed", feed, data_dir=tmp_path / "none").startswith(says)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("speed", ["nan", "-1", "inf", "fast"])
def test_a_speed_that_is_none(refused, speed, tmp_path):
    """A speed that is neither a number from 0 on nor max is refused before anything is made."""
    line = refused("--speed", speed, data_dir=tmp_path / "none")
    assert line.startswith(f"--speed: {speed!r} is not allowed; market seconds in a wall second")
    assert not (tmp_path / "none").exists()


def test_a_malformed_row_at_the_begin(refused, tmp_path):
    """A first row that can't be read is refused with file, line, column, value and what is allowed."""
    file = recording(tmp_path, "2025-03-10T09:15:00+05:30,408065,12.3.4")
    line = refused("--feed", f"replay:{file}", data_dir=tmp_path / "none")
    assert line.startswith(f"{file}, line 2, column last_price: '12.3.4' is not allowed")
    assert not (tmp_path / "none").exists()


def test_a_malformed_row_in_the_middle(refused, tmp_path):
    """A later row that can't be read is refused in the same way: all rows are looked at before anything is made."""
    rows = [f"2025-03-10T09:15:0{n}+05:30,408065,1500.0{n % 2 * 5}" for n in range(5)]
    file = recording(tmp_path, *rows, "2025-03-10T09:15:06+05:30,none,1500")
    line = refused("--feed", f"replay:{file}", data_dir=tmp_path / "none")
    assert line.startswith(f"{file}, line 7, column instrument_token: 'none' is not allowed")
    assert not (tmp_path / "none").exists()


def test_bars_without_an_instrument(refused, tmp_path):
    """A recording of bars doesn't name its instrument; without --instrument it is refused with what to give."""
    file = recording(tmp_path, "2025-03-10 09:15:00,1,1,1,1,5", header=BARS)
    line = refused("--feed", f"replay:{file}", data_dir=tmp_path / "none")
    assert "instrument" in line
    assert "NSE:INFY" in line


def test_an_instrument_nobody_knows(refused, tmp_path):
    """An unknown --instrument is refused with the nearest."""
    file = recording(tmp_path, "2025-03-10 09:15:00,1,1,1,1,5", header=BARS)
    line = refused("--feed", f"replay:{file}", "--instrument", "NSE:INFI", data_dir=tmp_path / "none")
    assert line.startswith("instrument: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'?")


def test_a_recording_before_the_market_clock(up, refused, tmp_path):
    """A recording that begins before the data directory's clock names both ways out."""
    file = recording(tmp_path, "2025-03-10T09:15:00+05:30,408065,1500.00")
    platform = up()
    until(lambda: platform.market.GetMarketStatus(GetMarketStatusRequest()).ticks, 10, "ticks")
    platform.stop()
    line = refused("--feed", f"replay:{file}", data_dir=platform.data_dir)
    assert "before this data directory's market clock" in line
    assert "--data-dir" in line
    assert "--fresh" in line
    assert servers_of(platform.data_dir) == []


def test_a_schema_of_a_newer_version(refused, tmp_path):
    """A database that a newer version has migrated is refused with both revisions, and stays as it is."""

    async def newer() -> None:
        postgres = EmbeddedPostgres(tmp_path / "data")
        engine = open_engine(await postgres.start(), 1)
        await upgrade_schema(engine)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await engine.dispose()
        await postgres.stop()

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".alphapanda").touch()
    asyncio.run(newer())
    line = refused(data_dir=tmp_path / "data")
    assert line.startswith("the database's schema is at revision 9999, which this version doesn't know")
    assert "install the version that last ran here, or a newer one" in line
    assert servers_of(tmp_path / "data") == []


def test_a_postgresql_that_does_not_start(refused, tmp_path):
    """A cluster that PostgreSQL refuses is told with its own words and its log; nothing is left running."""
    cluster = tmp_path / "data" / "postgres" / "cluster"
    cluster.mkdir(parents=True, mode=0o700)
    (tmp_path / "data" / ".alphapanda").touch()
    (cluster / "PG_VERSION").write_text("none\n")
    if os.geteuid() == 0:  # run by root, PostgreSQL runs as whoever owns its cluster
        os.chown(cluster, getpwnam("nobody").pw_uid, -1)
    said = refused(data_dir=tmp_path / "data", lines=None)
    line, *tail = said.splitlines()
    log = tmp_path / "data" / "logs" / "postgres.log"
    assert line.startswith("embedded PostgreSQL failed to start: it ended with status ")
    assert line.endswith(f"(log: {log})")
    assert any(str(cluster) in one for one in tail), said
    assert servers_of(tmp_path / "data") == []
    assert [file.name for file in cluster.iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("STRATEGY__FOLDER", "a folder with strategies' Python files"),
        ("LOGGING__FOLDER", "a folder that can be written"),
    ],
)
def test_a_path_that_cannot_be_used(refused, tmp_path, setting, says, data_dir):
    """A folder or file of the settings that can't be used is named with its setting and what it has to be."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    line = refused(**{f"ALPHAPANDA_{setting}": str(path)})
    assert line.startswith(f"{setting.lower().replace('__', '.')}: '{path}' is not allowed; {says}")
    assert servers_of(data_dir) == []


def test_several_settings_are_told_line_by_line(refused):
    """Everything wrong with the settings comes at once, a line each."""
    said = refused(
        ALPHAPANDA_CONSUMERS__DEFAULTS__BATCH_SIZE="0",
        ALPHAPANDA_RISK__MAX_ORDER_QUANTTY="5",
        ALPHAPANDA_ENVIRONMENT="production",
        lines=None,
    )
    assert len(said.splitlines()) == 5  # production lacks three things
    assert "ALPHAPANDA_CONSUMERS__DEFAULTS__BATCH_SIZE: '0'" in said
    assert "did you mean ALPHAPANDA_RISK__MAX_ORDER_QUANTITY?" in said
    assert "gRPC is not encrypted" in said


def test_a_strategy_file_that_does_not_import(up, tmp_path):
    """It is told with its line and why, and everything else starts."""
    folder = tmp_path / "strategies"
    folder.mkdir()
    (folder / "mine.py").write_text("import decimal\nimport nonsense_module\n")
    platform = up(environment={"ALPHAPANDA_STRATEGY__FOLDER": str(folder)})
    (told,) = platform.logged("strategy.file_refused")
    assert "mine.py" in told["error"]
    assert "No module named 'nonsense_module'" in told["error"]
    types = platform.strategies.ListStrategyTypes(ListStrategyTypesRequest()).strategy_types
    assert "ema_cross" in {one.strategy_type for one in types}
    platform.stop()


def test_a_malformed_row_in_a_replay(tmp_path):
    """`replay` names file, line, column, value and what is allowed, and leaves no half report behind."""
    file = recording(
        tmp_path, "2025-03-10 09:15:00,1,1,1,1,5", "2025-03-10 09:16:00,1,1,one,1,5", header=BARS
    )
    report, trades = tmp_path / "report.html", tmp_path / "trades.csv"
    arguments = ["replay", str(file), "--instrument", "NSE:INFY", "--strategy", "ema_cross"]
    result = CliRunner().invoke(main, [*arguments, "--report", str(report), "--trades", str(trades)])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"alphapanda: {file}, line 3, column low: 'one' is not allowed")
    assert not report.exists()
    assert not trades.exists()
