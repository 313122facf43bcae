"""Where a session's tokens are kept: whoever else is on the machine neither reads them nor says where they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphapanda.commands.session_file import (
    StoredSession,
    file_of,
    folder,
    locked,
    read_session,
    write_session,
)
from alphapanda.domain.errors import InvalidInput

HERE = "127.0.0.1:50051"
SESSION = StoredSession(HERE, HERE, "asha", "s", "access", 1.0, "refresh", 2.0)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_link_in_the_folder_is_replaced_and_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the file, nor the one that becomes it, is written elsewhere; the lock isn't opened elsewhere either."""
    monkeypatch.setattr("os.getpid", lambda: 7)
    folder().mkdir(mode=0o700, parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    for name in (file_of(HERE), file_of(HERE).with_suffix(".7"), file_of(HERE).with_suffix(".lock")):
        name.symlink_to(elsewhere)
    write_session(SESSION)
    assert (read_session(HERE), elsewhere.read_text()) == (SESSION, "")
    assert file_of(HERE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="symbolic"), locked(HERE):
        pass


def test_a_folder_in_which_others_write_is_refused() -> None:
    """Whoever may replace the file would have one sign in as somebody else; the refusal names the folder."""
    folder().mkdir(parents=True)
    folder().chmod(0o777)
    with pytest.raises(InvalidInput, match="nobody else can write in") as refused:
        write_session(SESSION)
    assert str(refused.value.value) == str(folder())
