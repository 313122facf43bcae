"""Out of sample: what the chosen sets came to on the days that they were not chosen by, joined into one curve."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from msgspec.structs import replace

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.frame import instant
from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Side
from alphapanda.domain.order_events import Filled
from alphapanda.replay.figure import Figures, Number
from alphapanda.replay.journal import ReplayJournal, Trade
from alphapanda.replay.performance import OF_A_STRATEGY, Performance, performance
from alphapanda.replay.sweep.ranking import SetResult
from alphapanda.replay.trading_days import DayEnd


@dataclass(frozen=True, slots=True)
class Trial:
    """A window's days, and the set that was chosen by it.

    Attributes:
        first: the first day that the set was chosen by.
        trained: the last day that it was chosen by.
        test: the first day out of sample.
        last: the last day out of sample.
        chosen: the set.
        measured: the measure that it was chosen by, on the days before `test`; None if no set had it.
    """

    first: date
    trained: date
    test: date
    last: date
    chosen: SetResult
    measured: Number | None


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a trial.

    Attributes:
        trial: its window.
        net_pnl: on the days out of sample, rupees.
        return_: the same as a fraction of the starting cash.
        round_trips: closed on these days.
        charges: rupees.
    """

    trial: Trial
    net_pnl: Decimal
    return_: float
    round_trips: int
    charges: Decimal


@dataclass(frozen=True, slots=True)
class OutOfSample:
    """All trials of a walk-forward test.

    Attributes:
        tried: one after the other.
        figures: of the joined curve: the starting cash, and the profit of each trial on top of those before.
        ends: the joined curve.
    """

    tried: tuple[Tried, ...]
    figures: Figures
    ends: tuple[DayEnd, ...]


def out_of_sample(
    trials: Sequence[Trial],
    journals: Sequence[ReplayJournal],
    starting_cash: Decimal,
    calendar: TradingCalendar,
    segments: Collection[str],
) -> OutOfSample:
    """Joins what the trials came to.

    Args:
        trials: in the order of their days.
        journals: what each has recorded, from the starting cash on.
        starting_cash: rupees.
        calendar: the exchange's sessions.
        segments: the calendar's segments of the watched instruments.
    """
    joined = ReplayJournal(_Over, ())
    before = ZERO
    tried = []
    for trial, journal in zip(trials, journals, strict=True):
        own = _performance(journal, starting_cash, calendar, segments)
        for day, equity in journal.days.items():
            joined.days[day] = equity + before
        joined.trades += [*journal.trades, *_closed(journal)]
        joined.last_ns = journal.last_ns
        net = own.equity - starting_cash
        before += net
        charges = sum((trade.filled.fill.commission for trade in journal.trades), ZERO)
        tried.append(Tried(trial, net, float(net / starting_cash), len(own.closed), charges))
    found = _performance(joined, starting_cash, calendar, segments)
    figures = Figures([found.figures[name] for name in OF_A_STRATEGY])
    return OutOfSample(tuple(tried), figures, found.ends)


def _performance(
    journal: ReplayJournal, starting_cash: Decimal, calendar: TradingCalendar, segments: Collection[str]
) -> Performance:
    return performance(journal, starting_cash, ZERO, calendar, segments, by_strategy=False)


def _closed(journal: ReplayJournal) -> Iterator[Trade]:
    """What a trial leaves open, closed at its last price and without charges: the next trial begins flat."""
    last = {trade.filled.order.key: trade for trade in journal.trades}
    for key, trade in last.items():
        order = trade.filled.order
        prices = journal.price_days.get(order.instrument_token, {})
        if trade.position and prices:
            fill = replace(
                trade.filled.fill,
                quantity=abs(trade.position),
                price=next(reversed(prices.values())),
                commission=ZERO,
                traded_at=instant(journal.last_ns),
            )
            side = Side.SELL if trade.position > 0 else Side.BUY
            yield Trade(Filled(replace(order, key=key, side=side), fill), ZERO, 0)


class _Over:
    """Stands in for the replay of a journal that is only read: there is no equity and no price any more."""

    equity = None

    def last_price(self, _token: int) -> None:
        return None
