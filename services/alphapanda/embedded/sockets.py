"""Chooses folders for Unix sockets, whose paths are limited to 108 bytes (unix(7)), on macOS to 104."""

import os
import shutil
import tempfile
from pathlib import Path

LONGEST_SOCKET_PATH = 100


def socket_folder(preferred: Path, socket_name: str, before: Path) -> Path:
    """Creates and returns `preferred`, or a private temporary folder where a socket's path would be too long.

    Reuses `before`, the server's last folder, where it still exists, so that clients keep their address.
    """
    if before.is_dir() and _fits(before / socket_name):
        return before
    if _fits(preferred / socket_name):
        preferred.mkdir(mode=0o700, exist_ok=True)
        return preferred
    # mkdtemp creates it with mode 0700 and an unpredictable name.
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108
        if _fits(Path(base, "alphapanda-01234567", "s", socket_name)):
            folder = Path(tempfile.mkdtemp(prefix="alphapanda-", dir=base), "s")
            folder.mkdir(mode=0o700)
            return folder
    raise OSError(f"no folder short enough for a socket: neither {preferred} nor the temporary folder")


def remove_socket_folder(folder: Path, preferred: Path) -> None:
    """Removes a folder that `socket_folder` made in place of `preferred`."""
    if folder != preferred:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
