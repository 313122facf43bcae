"""Records a live feed's messages as they came, and reads them again: the same messages make the same frames.

A recording is a gzip file: a line of JSON (what it is, and of which run), then for each message its wall time (8 bytes, big-endian,
nanoseconds since the epoch), the connection (1), its length (4) and its bytes. A file that was cut short is readable up to there.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from struct import Struct
from typing import Final, Self

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.marketdata.feeds.inbox import Received
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.rounds import Rounds

SUFFIX: Final = ".raw.gz"
_FORM: Final = "alphapanda raw 1"
_HEAD: Final = Struct(">qBI")
_FLUSH_SECONDS: Final = 1.0
_LARGEST: Final = 16 << 20

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RawRun:
    """What is recorded.

    Attributes:
        feed: the feed's name, which says what the messages mean.
        feed_run: name of the run.
        owns_time: whether the exchange owned its market time.
        market_time_ns: market time before the first message, nanoseconds since the epoch.
    """

    feed: str
    feed_run: str
    owns_time: bool
    market_time_ns: int


class RawRecorder:
    """Writes messages once a second. An error ends the recording with an alarm; the feed goes on.

    Args:
        folder: where a file is made for each run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Path | None = None
        self._stream: gzip.GzipFile | None = None
        self._waiting = bytearray()
        self._rounds = Rounds("raw recording", self._flush, _FLUSH_SECONDS, _log)

    async def start(self, run: RawRun) -> None:
        """Makes the file of a run.

        Raises:
            InvalidInput: it can't be made.
        """
        name = run.feed_run.replace(":", "-")
        self._file = self._folder / f"{name}{SUFFIX}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._stream = gzip.open(self._file, "xb", compresslevel=1)  # noqa: SIM115 - open until the run ends
        except OSError as error:
            raise InvalidInput(
                "marketdata.raw_folder", self._folder, f"a folder that can be written ({error.strerror})"
            ) from None
        self._waiting += (json.dumps({"form": _FORM, **asdict(run)}) + "\n").encode()
        await self._rounds.start()

    def add(self, received: Sequence[Received]) -> None:
        """Adds messages, in their order."""
        if self._stream is None:
            return
        for one in received:
            self._waiting += _HEAD.pack(one.wall_ns, one.connection, len(one.payload))
            self._waiting += one.payload

    async def stop(self) -> None:
        """Writes the rest and closes the file."""
        await self._rounds.stop()
        await self._flush()
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await asyncio.to_thread(stream.close)
            _log.info("recording.completed", file=str(self._file))

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        stream = self._stream
        if stream is None or not waiting:
            return
        error = await attempted(asyncio.to_thread(_write, stream, bytes(waiting)))
        if error is not None:
            self._stream = None
            _log.error("recording.failed", alarm=True, file=str(self._file), error=in_one_line(error))


def _write(stream: gzip.GzipFile, content: bytes) -> None:
    stream.write(content)
    stream.flush(zlib.Z_SYNC_FLUSH)


class RawRecording:
    """Reads a recording.

    Args:
        file: the recording.

    Attributes:
        run: what was recorded.

    Raises:
        InvalidInput: the file can't be read, or is none.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            with gzip.open(file, "rb") as stream:
                told = json.loads(stream.readline())
                form = told.pop("form")
                self.run: Final = RawRun(**told)
        except OSError as error:
            raise InvalidInput(
                "feed", file, f"a raw recording that can be read ({error.strerror or error})"
            ) from None
        except (EOFError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput("feed", file, "a raw recording, as marketdata.raw_folder makes them") from None
        if form != _FORM:
            raise InvalidInput("feed", file, f"a raw recording of the form {_FORM!r}, not {form!r}")

    def messages(self) -> Iterator[Received]:
        """Its messages; a file that was cut short ends where it was cut."""
        with gzip.open(self._file, "rb") as stream:
            stream.readline()
            while (one := self._next(stream)) is not None:
                yield one

    def _next(self, stream: gzip.GzipFile) -> Received | None:
        """The next whole message; None at the end, which is told of where it is in the middle of one."""
        try:
            head = stream.read(_HEAD.size)
            if not head:
                return None
            if len(head) == _HEAD.size:
                wall_ns, connection, length = _HEAD.unpack(head)
                payload = stream.read(length) if length <= _LARGEST else b""
                if len(payload) == length:
                    return Received(connection, wall_ns, payload)
        except (EOFError, OSError, zlib.error):
            pass
        _log.warning("recording.ended_early", file=str(self._file))
        return None

    @classmethod
    def of(cls, argument: str, feed: str) -> Self:
        """Opens the recording that `--feed raw:FILE` names.

        Raises:
            InvalidInput: no file is named, it can't be read, or its messages are of another feed.
        """
        if not argument:
            raise InvalidInput("feed", "raw:", "raw:FILE with recorded messages")
        made = cls(Path(argument).expanduser())
        if made.run.feed != feed:
            raise InvalidInput("feed", argument, f"messages of the feed {feed}; these are of {made.run.feed}")
        return made
