"""Puts a user's own calendar where the next start reads it."""

from __future__ import annotations

from pathlib import Path

from alphapanda.app.calendars import OWN_FILE, usual_data_directory
from alphapanda.embedded.directory import DataDirectory
from alphapanda.settings.model import Settings


def place_own_calendar(settings: Settings, data_dir: Path | None, content: bytes) -> Path:
    """Writes a user's calendar to where the next start reads it: the setting's file, else the data directory.

    Raises:
        DataDirectoryError: the folder is somebody else's or can't be written.
        OSError: the file can't be written.
    """
    if data_dir is None and settings.calendar.file is not None:
        target = settings.calendar.file.expanduser()
    else:
        folder = DataDirectory(data_dir or usual_data_directory(settings))
        folder.claim()
        target = folder.path / OWN_FILE
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(content)
    part.replace(target)
    return target
