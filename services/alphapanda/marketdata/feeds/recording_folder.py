"""Records frames for many days: a file in a folder for each day of market time in India."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Sequence
from datetime import date
from itertools import count, groupby
from pathlib import Path
from typing import BinaryIO, Final
from zoneinfo import ZoneInfo

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame
from alphapanda.marketdata.feeds.parquet import SUFFIX, pyarrow
from alphapanda.marketdata.feeds.recording import FrameRecorder, save_cut_short, unfinished
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line

LOCK: Final = ".recording"
_IST: Final = ZoneInfo("Asia/Kolkata")
_log = structlog.get_logger(__name__)


def check_recording_folder(folder: Path) -> None:
    """Checks that recordings can be written to a folder.

    Raises:
        InvalidInput: it isn't a folder.
    """
    pyarrow()
    if not folder.is_dir():
        raise InvalidInput("--record", folder, "a folder that exists")


class FolderRecorder:
    """Records frames in a file for each day; a file is complete when its day is over or the process ends.

    The files are named YYYY-MM-DD.parquet; after a restart on the same day YYYY-MM-DD.2.parquet and so on. Only one process
    at a time records in a folder. A write error ends the day's recording and is logged; the feed continues.

    Args:
        folder: folder of the files; checked by `check_recording_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._day: date | None = None
        self._newest: FrameRecorder | None = None
        self._open: FrameRecorder | None = None
        self._begun: asyncio.Queue[FrameRecorder | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._lock: BinaryIO | None = None

    async def start(self) -> None:
        """Starts recording; first saves recordings that a crash has cut short as NAME.cut-short.parquet.

        Raises:
            InvalidInput: another process records in the folder, or it can't be written.
        """
        try:
            self._lock = (self._folder / LOCK).open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if self._lock is not None:
                self._lock.close()
            allowed = f"a folder that can be written, and that no other process records in ({error.strerror})"
            raise InvalidInput("--record", self._folder, allowed) from None
        for file in unfinished(self._folder):
            await save_cut_short(file)
        self._task = asyncio.create_task(self._change_files(), name="recording.days")

    async def stop(self) -> None:
        """Stops recording and completes the files."""
        if self._task is not None:
            self._begun.put_nowait(None)
            await self._task
            self._task = None
        if self._open is not None:
            await self._open.stop()
            self._open = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def add(self, frames: Sequence[Frame]) -> None:
        """Records published frames."""
        for day, of_day in groupby(frames, key=lambda frame: frame.market_time.astimezone(_IST).date()):
            if self._newest is None or self._day is None or day > self._day:
                self._day, self._newest = day, FrameRecorder(self._free_file(day))
                self._begun.put_nowait(self._newest)
            self._newest.add(list(of_day))

    def _free_file(self, day: date) -> Path:
        names = (f"{day}{'' if number == 1 else f'.{number}'}" for number in count(1))
        taken = {file.name.partition(SUFFIX)[0].removesuffix(".cut-short") for file in self._folder.iterdir()}
        return self._folder / f"{next(name for name in names if name not in taken)}{SUFFIX}"

    async def _change_files(self) -> None:
        while (begun := await self._begun.get()) is not None:
            await self._change_to(begun)

    async def _change_to(self, recorder: FrameRecorder) -> None:
        before, self._open = self._open, recorder
        if error := await attempted(recorder.start()):
            _log.error("recording.failed", alarm=True, error=in_one_line(error))
        if before is not None and (error := await attempted(before.stop())):
            _log.error("recording.failed", alarm=True, error=in_one_line(error))
