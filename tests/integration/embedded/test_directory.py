import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.errors import (
    DataDirectoryForeignError,
    DataDirectoryInUseError,
    DataDirectoryNotWritableError,
)
from alphapanda.embedded.layout import default_data_directory

NOW = datetime(2026, 1, 5, 3, 45, tzinfo=UTC)

HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from alphapanda.embedded.directory import DataDirectory
DataDirectory(Path(sys.argv[1])).acquire(datetime(2026, 1, 5, 3, 45, tzinfo=UTC), 50051)
print("held", flush=True)
time.sleep(60)
"""


def test_default_is_the_xdg_data_home():
    """The default directory is XDG_DATA_HOME's, or the home's, and a relative XDG_DATA_HOME is ignored."""
    home = Path("/home/asha")
    assert default_data_directory({"XDG_DATA_HOME": "/data"}, home) == Path("/data/alphapanda")
    assert default_data_directory({}, home) == Path("/home/asha/.local/share/alphapanda")
    assert default_data_directory({"XDG_DATA_HOME": "data"}, home) == Path(
        "/home/asha/.local/share/alphapanda"
    )


def test_another_process_is_refused_and_told_who_holds_the_lock(tmp_path):
    """A second process is refused by directory, pid, start and port, until the first has been killed."""
    path = tmp_path / "data"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataDirectoryInUseError) as refused:
            DataDirectory(path).acquire(NOW)
    finally:
        holder.kill()
        holder.communicate()
    assert refused.value.pid == holder.pid
    assert refused.value.started_at == NOW
    assert str(refused.value) == (
        f"data directory {path} is in use by process {holder.pid}, started 2026-01-05 03:45:00 UTC, port 50051: "
        f"stop it (kill {holder.pid}) or choose another with --data-dir"
    )
    after = DataDirectory(path)
    after.acquire(NOW)
    after.release()


def test_released_directory_can_be_acquired_again(tmp_path):
    """In one process too a second holder is refused while the first holds, and not after."""
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.acquire(NOW)
    with pytest.raises(DataDirectoryInUseError) as refused:
        second.acquire(NOW)
    assert refused.value.pid == os.getpid()
    first.release()
    second.acquire(NOW)
    second.release()


def test_folder_that_holds_other_things_is_refused_and_left_alone(tmp_path):
    """A folder with files of someone else is refused, and nothing is added to or taken from it."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataDirectoryForeignError, match=str(tmp_path)):
        DataDirectory(tmp_path).acquire(NOW)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_path_that_is_a_file_is_refused(tmp_path):
    """Where a file stands the error names the path."""
    path = tmp_path / "data"
    path.write_text("")
    with pytest.raises(DataDirectoryNotWritableError, match=rf"{path} is not writable \(Not a directory\)"):
        DataDirectory(path).acquire(NOW)


def test_folder_that_cannot_be_made_is_refused():
    """Where nobody may write, root included, the error names the path."""
    with pytest.raises(
        DataDirectoryNotWritableError, match="data directory /proc/alphapanda is not writable"
    ):
        DataDirectory(Path("/proc/alphapanda")).acquire(NOW)


async def test_fresh_removes_what_we_made_and_nothing_else(tmp_path):
    """A fresh start empties our folders and leaves what someone else put beside them."""
    directory = DataDirectory(tmp_path)
    directory.acquire(NOW)
    (directory.layout.event_log / "events.sqlite").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    await directory.fresh()
    assert list(directory.layout.event_log.iterdir()) == []
    assert (tmp_path / "notes.txt").read_text() == "mine"
    directory.release()


async def test_fresh_needs_the_lock(tmp_path):
    """A directory that isn't locked is never wiped."""
    with pytest.raises(RuntimeError, match="must be locked"):
        await DataDirectory(tmp_path).fresh()


def test_fresh_start_cut_short_is_finished_by_the_next_process(tmp_path):
    """After a kill in the middle of a wipe no half of the old data is left to be used."""
    directory = DataDirectory(tmp_path)
    directory.acquire(NOW)
    (directory.layout.event_log / "events.sqlite").write_text("old")
    directory.layout.wiping.touch()
    directory.release()
    directory.acquire(NOW)
    assert list(directory.layout.event_log.iterdir()) == []
    assert not directory.layout.wiping.exists()
    directory.release()
