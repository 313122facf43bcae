"""What only a log in a file can show: restarts, kills, locks, full disks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from alphapanda.contract.topics import TopicPartition, TopicSpec
from alphapanda.eventlog.port import LogUnavailable, Record, Start
from alphapanda.eventlog.sqlite.log import SqliteEventLog

SPEC = TopicSpec("things", 2, None, compacted=False)
FIRST = TopicPartition("things", 0)

PUBLISHES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from alphapanda.eventlog.port import Record
from alphapanda.contract.topics import TopicSpec
from alphapanda.eventlog.sqlite.log import SqliteEventLog

async def main():
    log = SqliteEventLog(Path(sys.argv[1]))
    await log.start()
    await log.ensure([TopicSpec("things", 2, None, compacted=False)])
    while True:
        for offset in await log.publish([Record("things", 0, b"k", b"v" * 500) for _ in range(3)]):
            sys.stdout.write(f"{offset}\\n")
        sys.stdout.flush()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


async def opened(path: Path) -> SqliteEventLog:
    log = SqliteEventLog(path)
    await log.start()
    await log.ensure([SPEC])
    return log


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    """Topics, records, ends and group offsets survive; the next offset follows the last."""
    log = await opened(path)
    await log.publish([Record("things", 0, b"k", b"a", (("h", b"1"),)), Record("things", 0, b"k", b"b")])
    reader = log.group_reader("g", ["things"], Start.EARLIEST)
    await reader.start()
    await reader.commit({FIRST: 1})
    await log.stop()

    log = await opened(path)
    reader = log.group_reader("g", ["things"], Start.EARLIEST)
    await reader.start()
    assert [one.value for one in (await reader.fetch(10, 1.0))[FIRST]] == [b"b"]
    assert await log.publish([Record("things", 0, b"k", b"c")]) == [2]
    await log.stop()


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    """After kill -9 every offset that publish returned is on the log, whole, and the offsets have no gap."""
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHES_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(60)]
    process.kill()
    acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
    process.wait()

    log = await opened(path)
    reader = log.topic_reader(["things"], Start.EARLIEST)
    await reader.start()
    found = []
    while some := await reader.fetch(10_000, 0.0):
        found += some
    assert [one.offset for one in found] == list(range(len(found)))
    assert len(found) > max(acknowledged)
    assert {one.value for one in found} == {b"v" * 500}
    assert await log.publish([Record("things", 0, b"k", b"next")]) == [len(found)]
    await log.stop()


async def test_a_log_in_use_says_so(path: Path) -> None:
    """A second opener is refused while the first has it, and admitted once it is closed."""
    first, second = SqliteEventLog(path), SqliteEventLog(path)
    await first.start()
    with pytest.raises(LogUnavailable, match="locked"):
        await second.start()
    await first.stop()
    await second.start()
    await second.stop()


@pytest.fixture
def foreign(path: Path) -> Path:
    """A file of something else."""
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    return path


async def test_a_file_that_is_no_log_says_so(foreign: Path) -> None:
    """A file of something else, and a folder that isn't there, are named in one line."""
    with pytest.raises(LogUnavailable, match=r"log\.sqlite can't be used: file is not a database"):
        await SqliteEventLog(foreign).start()
    with pytest.raises(LogUnavailable, match="unable to open"):
        await SqliteEventLog(foreign.parent / "no such folder" / "log").start()


async def test_a_full_disk_refuses_whole_publishes_and_heals(path: Path) -> None:
    """With the disk full publish raises LogUnavailable and appends nothing; with space again it goes on, gapless."""
    log = await opened(path)
    await log.publish([Record("things", 0, b"k", b"before")])
    sql = log._database._sql
    pages = await log._call(lambda: sql.execute("PRAGMA page_count").fetchone()[0])
    await log._call(lambda: sql.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    with pytest.raises(LogUnavailable, match="full"):
        await log.publish([Record("things", n % 2, b"k", b"x" * 50_000) for n in range(10)])
    assert (await log.end_offsets(["things"]))[FIRST] == 1
    await log._call(lambda: sql.execute("PRAGMA max_page_count = 100000").fetchone())
    assert await log.publish([Record("things", 0, b"k", b"after")]) == [1]
    reader = log.topic_reader(["things"], Start.EARLIEST)
    await reader.start()
    assert [one.value for one in await reader.fetch(10, 0.0)] == [b"before", b"after"]
    await log.stop()


async def test_stop_writes_what_is_in_hand_and_then_refuses(path: Path) -> None:
    """Publishes under way at stop are stored; later ones are told that the log is closed."""
    log = await opened(path)
    under_way = [asyncio.create_task(log.publish([Record("things", 0, b"k", b"v")])) for _ in range(20)]
    await asyncio.sleep(0)
    await log.stop()
    assert sorted([(await one)[0] for one in under_way]) == list(range(20))
    with pytest.raises(LogUnavailable, match="not open"):
        await log.publish([Record("things", 0, b"k", b"v")])
    log = await opened(path)
    assert (await log.end_offsets(["things"]))[FIRST] == 20
    await log.stop()


async def test_a_caller_that_gives_up_harms_no_other(path: Path) -> None:
    """A cancelled publish leaves the others of its transaction with their own offsets."""
    log = await opened(path)
    tasks = [asyncio.create_task(log.publish([Record("things", 0, b"k", bytes([n]))])) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert [await tasks[0], await tasks[2]] == [[0], [2]]
    await log.stop()
