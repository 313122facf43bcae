"""The share of the exchange's session time in which a position was held."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Final

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.frame import nanoseconds
from alphapanda.replay.figure import Definition, NotDefined, Number, Unit
from alphapanda.replay.journal import Trade

Span = tuple[int, int]
"""Nanoseconds since the epoch, [from, to)."""

DEFINITIONS: Final = {
    "time_in_market": Definition(
        "Time in market",
        Unit.FRACTION,
        "market time in sessions with a position held / time of all sessions of the trading days",
    ),
}


def time_in_market(
    trades: Iterable[Trade],
    days: Sequence[date],
    calendar: TradingCalendar,
    segments: Collection[str],
    last_ns: int,
) -> Number | NotDefined:
    """The share of session time in which any position was held, a fraction.

    Args:
        trades: all fills, in order.
        days: the trading days.
        calendar: the exchange's sessions.
        segments: the calendar's segments of the instruments.
        last_ns: when what is still held is counted up to, nanoseconds since the epoch.
    """
    sessions = list(_joined(_sessions(days, calendar, segments)))
    total = sum(end - begin for begin, end in sessions)
    if not total:
        return NotDefined("there was no trading day")
    return _overlap(sessions, list(_joined(sorted(_held(trades, last_ns))))) / total


def _sessions(days: Iterable[date], calendar: TradingCalendar, segments: Collection[str]) -> list[Span]:
    known = [segment for segment in segments if segment in calendar.segments] or calendar.segments
    return sorted(
        (session.open_ns, session.close_ns)
        for day in days
        for segment in known
        for session in calendar.sessions(day, segment)
    )


def _held(trades: Iterable[Trade], last_ns: int) -> Iterator[Span]:
    """The spans in which positions were held, one after the other for each position."""
    since: dict[object, int] = {}
    for trade in trades:
        key, at = trade.filled.order.key, nanoseconds(trade.filled.fill.traded_at)
        if not trade.position:
            yield since.pop(key, at), at
        else:
            since.setdefault(key, at)
    for at in since.values():
        yield at, max(at, last_ns)


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans in order, joined where they touch or overlap."""
    now: Span | None = None
    for begin, end in spans:
        if now is None:
            now = (begin, end)
        elif begin <= now[1]:
            now = (now[0], max(now[1], end))
        else:
            yield now
            now = (begin, end)
    if now is not None:
        yield now


def _overlap(one: Sequence[Span], other: Sequence[Span]) -> int:
    at = total = 0
    for begin, end in one:
        while at < len(other) and other[at][1] <= begin:
            at += 1
        ahead = at
        while ahead < len(other) and other[ahead][0] < end:
            total += min(end, other[ahead][1]) - max(begin, other[ahead][0])
            ahead += 1
    return total
