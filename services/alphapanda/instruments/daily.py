"""Imports the broker's dump of all instruments once a day, while the service runs; a dump that isn't whole is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.instrument import Instrument
from alphapanda.instruments.core import DatedFacts
from alphapanda.instruments.dump import InstrumentFile, parse_instruments, text_of
from alphapanda.instruments.importing import Imported, import_read
from alphapanda.instruments.registry import InstrumentRegistry, LastImport
from alphapanda.resilience.attempts import attempted
from alphapanda.resilience.backoff import Backoff
from alphapanda.resilience.failures import in_one_line
from alphapanda.resilience.tasks import kept_running

IST: Final = ZoneInfo("Asia/Kolkata")
MADE_BY: Final = time(8, 30)
"""IST time by which Zerodha has made the day's dump (KITE_FACTS section 3.6)."""
LEAST_FRACTION: Final = 2 / 3
"""Of the last dump's instruments; a smaller dump is refused."""
LOOK_EVERY_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 600.0
"""Until a spoilt dump is asked for again. What didn't answer is asked sooner, ever more slowly."""
_PAUSES: Final = Backoff(2.0, AGAIN_SECONDS)
_log: Final = structlog.get_logger(__name__)


def is_due(last: LastImport | None, now: datetime) -> bool:
    """Whether a dump is due: there was none, or the newest one is of before the last 08:30 in India."""
    if last is None:
        return True
    here = now.astimezone(IST)
    made = datetime.combine(here.date(), MADE_BY, IST)
    return last.at < (made if made <= here else made - timedelta(days=1))


def require_whole(found: InstrumentFile, source: str, last: LastImport | None) -> None:
    """Requires that a dump is whole.

    Args:
        found: what was read of it.
        source: its name, for the message.
        last: the last dump of the same source; None: there was none.

    Raises:
        InvalidInput: it is empty, its last row is cut off, or it has less than two thirds of the last one's instruments.
    """
    listed = len(found.instruments)
    if not listed:
        raise InvalidInput(source, "0 instruments", "a dump with instruments; those of before are kept")
    rows = listed + len(found.refused) + sum(found.left_out.values())
    if found.refused and found.refused[-1].line > rows:  # the header is line 1
        raise InvalidInput(
            source,
            f"{listed:,} instruments",
            f"a whole dump; its last row is cut off ({found.refused[-1]}), so those of before are kept",
        )
    if last is not None and listed < last.listed * LEAST_FRACTION:
        raise InvalidInput(
            source,
            f"{listed:,} instruments",
            f"at least two thirds of the last dump's {last.listed:,}; those of before are kept. A list that really is so"
            " short is imported by `alphapanda instruments import`",
        )


@dataclass(slots=True)
class DumpState:
    """What has become of the dumps of a source, for health.

    Attributes:
        last: the last dump that was imported; None: there was none.
        problem: why the newest one couldn't be imported, in one line; empty where it could.
    """

    last: LastImport | None = None
    problem: str = ""

    @property
    def told(self) -> str:
        """Of when the instruments are, and why there are no newer ones; empty where nothing is wrong."""
        if not self.problem:
            return ""
        if self.last is None:
            return f"no dump was imported yet: {self.problem}"
        return f"the newest dump is of {self.last.at.astimezone(IST):%a %d %b %H:%M} IST: {self.problem}"


class DailyDump:
    """Downloads and imports the dump of the day, as soon as somebody is signed in.

    Args:
        source: name of the dump, such as "zerodha".
        download: downloads it; raises what `waits` names where nobody is signed in.
        waits: errors that pass as soon as somebody signs in; they are waited out without an alarm.
        registry: a registry of its own on the user's file.
        shipped: returns the instruments that are known without the registry, as of a day.
        facts: facts that the dump doesn't have.
        wall_clock: returns the wall time, aware.
        seconds: how often it looks whether a dump is due.
    """

    def __init__(
        self,
        source: str,
        download: Callable[[], Awaitable[bytes]],
        waits: tuple[type[Exception], ...],
        registry: InstrumentRegistry,
        shipped: Callable[[date], Iterable[Instrument]],
        facts: DatedFacts,
        wall_clock: Callable[[], datetime],
        seconds: float = LOOK_EVERY_SECONDS,
    ) -> None:
        self._source = source
        self._download = download
        self._waits = waits
        self._registry = registry
        self._shipped = shipped
        self._facts = facts
        self._wall_clock = wall_clock
        self._seconds = seconds
        self._not_before = datetime.min.replace(tzinfo=UTC)
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self.state = DumpState()

    @property
    def name(self) -> str:
        """Names it in health."""
        return f"instruments of {self._source}"

    @property
    def degradation(self) -> str:
        """Of when the instruments are, while newer ones are due that can't be had; empty where there is nothing to say."""
        return self.state.told

    async def start(self) -> None:
        """Begins to look for dumps that are due.

        Raises:
            InvalidInput: the registry can't be read.
        """
        self.state.last = await asyncio.to_thread(self._registry.last_of, self._source)
        self._task = kept_running(self._run, "instruments.daily", _log)

    async def stop(self) -> None:
        """Looks no more; an import under way is ended first."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._registry.close()

    async def _run(self) -> None:
        while True:
            now = self._wall_clock()
            if now >= self._not_before and is_due(self.state.last, now):
                error = await attempted(self._once(now))
                if error is not None:
                    self._refused(error, now)
            await asyncio.sleep(self._seconds)

    async def _once(self, now: datetime) -> None:
        content = await self._download()
        self.state.problem = ""  # somebody is signed in; the import takes seconds
        imported = await asyncio.to_thread(self._import, content, now)
        self.state.last = await asyncio.to_thread(self._registry.last_of, self._source)
        self._failures = 0
        _log.info("instruments.dump_imported", source=self._source, message=imported.in_one_line)

    def _refused(self, error: Exception, now: datetime) -> None:
        """Says why there is no new dump; the instruments of before stay."""
        if isinstance(error, self._waits):
            self.state.problem = str(error)
            return
        self._failures += 1
        self.state.problem = in_one_line(error)
        if isinstance(error, InvalidInput):
            again = AGAIN_SECONDS
            _log.error(
                "instruments.dump_refused",
                alarm=True,
                source=self._source,
                error=self.state.problem,
                again_in_seconds=again,
            )
        else:
            again = _PAUSES.seconds(self._failures)
            _log.warning(
                "instruments.dump_delayed",
                source=self._source,
                error=self.state.problem,
                again_in_seconds=round(again, 1),
            )
        self._not_before = now + timedelta(seconds=again)

    def _import(self, content: bytes, now: datetime) -> Imported:
        day = now.astimezone(IST).date()
        name = f"the dump of {self._source}"
        found = parse_instruments(name, text_of(name, content), day, self._facts)
        require_whole(found, name, self._registry.last_of(self._source))
        return import_read(self._registry, self._shipped(day), found, Path(self._source), day, at=now)
