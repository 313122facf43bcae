"""Counts what became of a recording's rows, by reason, and judges whether enough of them was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from alphapanda.domain.calendar import CalendarNotCovered, TradingCalendar
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.frame import Frame, instant
from alphapanda.domain.instrument import MAKE_KNOWN, InstrumentDirectory
from alphapanda.marketdata.core.ticks import Tick

MOST_DROPPED: Final = 0.01
"""Fraction of the rows that may be dropped for one reason."""
_MOST: Final[Mapping[str, float]] = {
    "duplicate": 1.0,  # the same row again takes nothing away
    "wild": 0.1,  # dropping these is what makes the data right
    "outside_session": 0.1,  # pre-open and closing rows are usual in recorded ticks
    "no_trading_day": 0.1,  # tables of daily rows often have one for each holiday
}
_IST: Final = ZoneInfo("Asia/Kolkata")
_SHOWN: Final = 5
_GO_ON: Final = "--allow-drops goes on without them"


class Noted(StrEnum):
    """What was done to rows that are used nevertheless."""

    REPEATED = "repeated"
    PUT_IN_ORDER = "put_in_order"
    ROUNDED = "rounded"
    REPLACED = "replaced"
    WILD_IN_BAR = "wild_in_bar"


class Unused(StrEnum):
    """Why rows with a right price reach no strategy."""

    OUTSIDE_SESSION = "outside_session"
    NO_TRADING_DAY = "no_trading_day"
    DAY_NOT_COVERED = "day_not_covered"


_MEANINGS: Final[Mapping[str, str]] = {
    "unknown_instrument": f"no known instrument has their token; {MAKE_KNOWN}",
    "not_positive": "their price isn't above 0",
    "contradictory": "their high is below their open or close, or their low above",
    "late": "they are older than the row before them of the same instrument; sort the file by time",
    "wild": "their price is far from those before and after",
    "not_traded_yet": "nothing was traded yet",
    "earlier_day": "they are the last trades of an earlier day",
    "not_in_paise": "their prices have more decimals than frames",
    "ahead_of_market": "their time is ahead of the market's",
    Unused.OUTSIDE_SESSION: "they lie outside the trading hours in IST; are their times of another zone?",
    Unused.NO_TRADING_DAY: "the market doesn't trade on their day",
    Unused.DAY_NOT_COVERED: "the trading calendar doesn't cover their day",
}


class DataNotUsed(InvalidInput):
    """A run used almost nothing of its input, so its figures mean nothing."""

    def __init__(self, why: str) -> None:
        super().__init__("data", "", why)
        self.args = (f"this run is no result: {why}",)


class DataAccount:
    """Counts a recording's rows: those that passed, and those that were dropped, not used or changed, by reason.

    Readers and the sanitiser add to it while they read; at the end `problem` judges.

    Args:
        directory: the known instruments.
        calendar: the sessions; None: rows outside of sessions aren't counted.

    Attributes:
        lengths_ns: lengths of the recorded bars.
        passed: rows that were published.
        dropped: rows that were not, by reason.
        unused: rows among `passed` that lie in no session, by reason.
        noted: rows that were changed, put in order or left out because they were repeated, by reason.
        recognised: what was recognised in each file, in lines for people.
    """

    def __init__(
        self, directory: InstrumentDirectory | None = None, calendar: TradingCalendar | None = None
    ) -> None:
        self.passed = 0
        self.lengths_ns: set[int] = set()
        self.dropped: Counter[str] = Counter()
        self.unused: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.recognised: list[str] = []
        self._directory = directory or InstrumentDirectory(())
        self._calendar = calendar
        self._segments: set[str] = set()
        self._open_ns = self._close_ns = 0
        self._tokens: set[int] = set()
        self._unknown: dict[int, None] = {}
        self._examples: dict[str, int] = {}

    def drop(self, reason: str, rows: int = 1) -> None:
        """Counts rows that were not published."""
        self.dropped[reason] += rows

    def unknown(self, reason: str, token: int) -> None:
        """Counts a row whose token no known instrument has."""
        self.dropped[reason] += 1
        if len(self._unknown) < _SHOWN:
            self._unknown[token] = None

    def note(self, reason: str, rows: int = 1) -> None:
        """Counts rows that are used, but not as they were written."""
        self.noted[reason] += rows

    def passed_ticks(self, ticks: Sequence[Tick]) -> None:
        """Counts ticks of one market time that passed the sanitiser."""
        if not ticks:
            return
        rows = len(ticks)
        self.passed += rows
        first = ticks[0]
        if rows > 1 or first[0] not in self._tokens:
            self._meet([tick[0] for tick in ticks])
        if self._calendar is not None:
            self._place(first[2], first.bar_start, rows)

    def passed_frame(self, frame: Frame) -> None:
        """Counts the ticks of a recorded frame."""
        rows = len(frame.instrument_token)
        if rows:
            self.passed += rows
            self._meet(frame.instrument_token)
            if self._calendar is not None:
                starts = frame.bar_start
                self._place(frame.exchange_time[0], starts[0] if len(starts) else None, rows)

    def in_words(self) -> str:
        """Every count that isn't zero, such as "2 wild, 1 rounded"; empty where there is none."""
        counts = counted(self.dropped) | counted(self.unused) | counted(self.noted)
        return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in counts.items())

    def lines(self) -> list[str]:
        """A line for each reason for which rows were not used, in the order of their number."""
        rows = self.passed + self.dropped.total()
        return [
            self._not_used(reason, count, rows)
            for reason, count in sorted((self.dropped + self.unused).items(), key=lambda one: -one[1])
        ]

    def problem(
        self, strategies: Mapping[str, Iterable[int]] | None = None, together: Collection[str] = ()
    ) -> str | None:
        """Why the run is no result, in one line, with what to do; None if enough of the data was used.

        Args:
            strategies: the instrument tokens of each strategy; None: not looked at.
            together: those of these strategies that need rows of all their instruments.
        """
        rows = self.passed + self.dropped.total()
        if not rows:
            return "the data has no row"
        if not self.passed:
            return f"none of the {_rows(rows)} could be used: {self._reasons(self.dropped)}"
        if self._calendar is not None and self.unused.total() == self.passed:
            return f"no row lies in a session: {self._reasons(self.unused)}"
        for reason, count in sorted((self.dropped + self.unused).items(), key=lambda one: -one[1]):
            if count > rows * _MOST.get(reason, MOST_DROPPED):
                return f"{self._not_used(reason, count, rows)}; {_GO_ON}"
        return self._unseen(strategies or {}, together)

    def _unseen(self, strategies: Mapping[str, Iterable[int]], together: Collection[str]) -> str | None:
        """Names the first strategy that saw no row, or no row of one of the instruments that it sees together."""
        for strategy_id, tokens in sorted(strategies.items()):
            if not self._tokens.intersection(tokens):
                return (
                    f"strategy {strategy_id} saw no row: the data has none of {self._symbols(tokens)},"
                    f" it has {self._symbols(self._tokens)}; name the right one with --instrument, or {_GO_ON}"
                )
            missing = set(tokens) - self._tokens
            if missing and strategy_id in together:
                return (
                    f"strategy {strategy_id} sees its instruments together, and the data has no row of"
                    f" {self._symbols(missing)}; add its file as NSE:SYMBOL=FILE, or {_GO_ON}"
                )
        return None

    def _not_used(self, reason: str, count: int, rows: int) -> str:
        share = f"{count:,} of {_rows(rows)} ({count / rows:.1%})"
        return f"{share} {'was' if count == 1 else 'were'} not used: {self._explained(reason)}"

    def _meet(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if token not in self._tokens:
                self._tokens.add(token)
                instrument = self._directory.by_token(token)
                if instrument is not None:
                    self._segments.add(instrument.session_segment)

    def _place(self, time_ns: int, bar_start_ns: int | None, rows: int) -> None:
        """Counts rows by whether their time, or a bar that ends then, lies in a session of any segment."""
        at = time_ns if bar_start_ns is None else bar_start_ns
        if self._open_ns <= at < self._close_ns:
            return
        reason = self._unused(at)
        if reason is not None and bar_start_ns is not None:
            reason = self._unused(time_ns - 1)  # a day's bar may be stamped at midnight
        if reason is not None:
            self.unused[reason] += rows
            self._examples.setdefault(reason, at)

    def _unused(self, at_ns: int) -> Unused | None:
        calendar = self._calendar
        if calendar is None:
            return None
        try:
            for segment in sorted(self._segments):
                session = calendar.session_at_ns(at_ns, segment)
                if session is not None:
                    self._open_ns, self._close_ns = session.open_ns, session.close_ns
                    return None
            trades = calendar.is_trading_day(calendar.trading_day(instant(at_ns)))
        except CalendarNotCovered:
            return Unused.DAY_NOT_COVERED
        return Unused.OUTSIDE_SESSION if trades else Unused.NO_TRADING_DAY

    def _reasons(self, counts: Mapping[str, int]) -> str:
        found = [f"{count:,} {self._explained(reason)}" for reason, count in sorted(counts.items()) if count]
        return "; ".join([*found, _GO_ON])

    def _explained(self, reason: str) -> str:
        named = f"{str(reason).replace('_', ' ')} ({_MEANINGS.get(reason, reason)}"
        if reason in self._examples:
            at = instant(self._examples[reason]).astimezone(_IST)
            named += f"; the first: {at:%a %Y-%m-%d %H:%M:%S}"
        elif reason == "unknown_instrument" and self._unknown:
            named += f"; tokens {', '.join(map(str, self._unknown))}"
        return f"{named})"

    def _symbols(self, tokens: Iterable[int]) -> str:
        ordered = sorted(tokens)
        names = []
        for token in ordered[:_SHOWN]:
            instrument = self._directory.by_token(token)
            names.append(instrument.symbol if instrument else str(token))
        return ", ".join(names) + (f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else "")


def counted(rows: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason, sorted; zeros are left out."""
    return {str(reason): count for reason, count in sorted(rows.items()) if count}


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"
