"""The edge of every command: whatever happens, the terminal gets one line."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from alphapanda.app.descriptors import LEAST_DESCRIPTORS, TooFewDescriptors, raise_descriptor_limit
from alphapanda.cli import main
from alphapanda.commands.edge import DEFECT


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[BaseException], Result]:
    """Runs a command whose work raises this error; error files go to the test's folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(error: BaseException) -> Result:
        def work() -> None:
            raise error

        monkeypatch.setattr("alphapanda.commands.settings.settings", click.Command("settings", callback=work))
        return CliRunner().invoke(main, ["settings"])

    return run


def test_an_error_nobody_foresaw_is_one_line_and_its_traceback_a_file(failing, tmp_path):
    """The line names the error and the file; the file has the traceback, without the secret in it."""
    result = failing(ValueError("wrong\nthing at postgresql://panda:hunter2@localhost/panda"))
    (file,) = tmp_path.glob("alphapanda-error-*.txt")
    assert result.exit_code == DEFECT
    (line,) = result.stderr.splitlines()
    assert line.startswith("alphapanda: unexpected error, ValueError: wrong thing at ")
    assert line.endswith(f"; the traceback is in {file}")
    assert "Traceback" not in result.output
    written = file.read_text()
    assert "Traceback (most recent call last)" in written
    assert "hunter2" not in written + line
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EROFS, "the file system is read-only: choose another folder"),
        (errno.EMFILE, "too many open files: run `ulimit -n 4096` first"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_what_the_system_refuses_has_its_remedy(failing, number, remedy):
    """An error of the system says what to do and which file it was, however deep it lies."""
    error = RuntimeError()
    error.__cause__ = OSError(number, "said by the system", "/data/here")
    result = failing(BaseExceptionGroup("parts failed to stop", [error]))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"alphapanda: {remedy}")
    assert "(/data/here)" in line


def test_a_defect_with_no_place_for_its_file_is_still_one_line(failing, monkeypatch):
    """Where no file can be written, the line says so."""
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    (line,) = failing(KeyError("x")).stderr.splitlines()
    assert line.endswith("no file could be written for the traceback")


def test_clicks_own_errors_stay_as_they_are(failing):
    """A usage error keeps its text and code."""
    result = failing(click.UsageError("no such thing"))
    assert result.exit_code == click.UsageError.exit_code
    assert "no such thing" in result.output


def test_the_limit_on_open_files_is_raised_or_refused(monkeypatch):
    """The soft limit goes up to the hard one; a hard one that is too low is refused with what to run."""
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    raise_descriptor_limit()
    assert raised == [(4096, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(TooFewDescriptors, match=f"limited to 64, at least {LEAST_DESCRIPTORS} are needed"):
        raise_descriptor_limit()
