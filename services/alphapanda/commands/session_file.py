"""Where `alphapanda login` keeps a session: a file for each target that only its user can read."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

from alphapanda.domain.errors import InvalidInput

_OTHERS: Final = 0o077
_OTHERS_WRITE: Final = 0o022


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session at a target.

    Attributes:
        target: host:port that it was begun at.
        auth: host:port of AuthService.
        user: who signed in.
        session_id: its id.
        access_token: token for calls.
        access_expires_at: Unix seconds.
        refresh_token: gets the next tokens, once.
        refresh_expires_at: Unix seconds.
        pending: request_id of a refresh that was begun and whose answer didn't arrive; empty where there is none.
    """

    target: str
    auth: str
    user: str
    session_id: str
    access_token: str = field(repr=False)
    access_expires_at: float
    refresh_token: str = field(repr=False)
    refresh_expires_at: float
    pending: str = ""


def folder() -> Path:
    """The folder of all sessions, in the user's state home."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "alphapanda" / "sessions"


def file_of(target: str) -> Path:
    """The file of a target's session."""
    return folder() / (re.sub(r"[^A-Za-z0-9.-]", "_", target) + ".json")


def read_session(target: str) -> StoredSession | None:
    """The session at a target; None where there is none.

    Raises:
        InvalidInput: others may read the file, or it holds no session.
    """
    file = file_of(target)
    try:
        with file.open(encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if mode & _OTHERS:
                raise InvalidInput("session", file, f"a file that only you can read: `chmod 600 {file}`")
            kept = json.load(opened)
        names = {one.name for one in fields(StoredSession)}
        return StoredSession(**{name: value for name, value in kept.items() if name in names})
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, AttributeError):
        raise InvalidInput(
            "session", file, "a file of `alphapanda login`; delete it and sign in again"
        ) from None


def write_session(session: StoredSession) -> None:
    """Keeps a session; a reader finds the old one or the new one, whole.

    Raises:
        InvalidInput: others may write in the folder.
    """
    file = file_of(session.target)
    _make_folder()
    part = file.with_suffix(f".{os.getpid()}")
    part.unlink(missing_ok=True)  # of a process that was killed, or a link that somebody else has put there
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump(asdict(session), opened)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)


def forget_session(target: str) -> bool:
    """Deletes the session at a target; returns whether there was one."""
    try:
        file_of(target).unlink()
    except FileNotFoundError:
        return False
    return True


@contextmanager
def locked(target: str) -> Iterator[None]:
    """Lets one process at a time refresh a session: the second would present a token that was used already."""
    _make_folder()
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(file_of(target).with_suffix(".lock"), flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_folder() -> None:
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in (place, place.parent):
        found = one.stat()
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
            raise InvalidInput("session", one, "a folder of yours that nobody else can write in")
