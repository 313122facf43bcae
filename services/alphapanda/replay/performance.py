"""Everything that a replay's journal comes to: figures with their definitions, curves, falls, round trips, strategies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.money import ZERO
from alphapanda.replay import drawdowns as falls
from alphapanda.replay import market_time, round_trips
from alphapanda.replay import statistics as of_days
from alphapanda.replay.drawdowns import Drawdown, drawdown_figures, drawdowns
from alphapanda.replay.figure import Definition, Figures, NotDefined, Number, Unit, defined
from alphapanda.replay.journal import ReplayJournal, Trade
from alphapanda.replay.market_time import time_in_market
from alphapanda.replay.round_trips import RoundTrip, trip_figures
from alphapanda.replay.statistics import statistics
from alphapanda.replay.trading_days import DayEnd, day_ends

_MONEY: Final = {
    "net_pnl": Definition(
        "Net P&L", Unit.RUPEES, "equity at the end - starting cash: after all charges, open positions at the last prices"
    ),
    "charges": Definition("Charges", Unit.RUPEES, "charges of all fills"),
    "fills": Definition("Fills", Unit.COUNT, "executions booked"),
    "turnover": Definition("Turnover", Unit.RATIO, "rupees bought and sold / starting cash"),
}  # fmt: skip
_HELD: Final = {
    "buy_and_hold_return": Definition(
        "Buy and hold",
        Unit.FRACTION,
        "return of the starting cash spread equally over the watched instruments, bought at their first prices and held"
        " to their last, without charges",
    ),
}
DEFINITIONS: Final = {
    "total_return": of_days.DEFINITIONS["total_return"],
    "net_pnl": _MONEY["net_pnl"],
    **_HELD,
    **of_days.DEFINITIONS,
    **falls.DEFINITIONS,
    **round_trips.DEFINITIONS,
    **market_time.DEFINITIONS,
    **_MONEY,
}
"""All figures in the order in which they are shown."""
OF_A_STRATEGY: Final = {
    name: definition
    for name, definition in DEFINITIONS.items()
    if name not in {"max_drawdown", "buy_and_hold_return"}
}


@dataclass(frozen=True, slots=True)
class StrategyPerformance:
    """One strategy: its equity is the starting cash and its own profit after charges.

    Attributes:
        strategy_id: its name.
        ends: equity at the end of each trading day.
        figures: of OF_A_STRATEGY.
    """

    strategy_id: str
    ends: tuple[DayEnd, ...]
    figures: Figures


def most_profitable_first(strategies: Iterable[StrategyPerformance]) -> list[StrategyPerformance]:
    """Sorts by exact net profit; one without a profit counts as 0."""
    return sorted(strategies, key=lambda one: -Decimal(one.figures.value("net_pnl") or 0))


@dataclass(frozen=True, slots=True)
class Performance:
    """What a replay came to.

    Attributes:
        starting_cash: rupees.
        equity: rupees at the last tick.
        ends: equity at the end of each trading day.
        figures: of DEFINITIONS.
        drawdowns: falls at days' ends, the deepest first.
        monthly: the return of each calendar month as ((year, month), fraction).
        held: equity of buy and hold at the end of each trading day.
        closed: round trips in the order of their ends.
        still_open: open round trips.
        strategies: in the order of their names.
    """

    starting_cash: Decimal
    equity: Decimal
    ends: tuple[DayEnd, ...]
    figures: Figures
    drawdowns: tuple[Drawdown, ...]
    monthly: tuple[tuple[tuple[int, int], float | None], ...]
    held: tuple[DayEnd, ...]
    closed: tuple[RoundTrip, ...]
    still_open: tuple[RoundTrip, ...]
    strategies: tuple[StrategyPerformance, ...]


def performance(
    journal: ReplayJournal,
    starting_cash: Decimal,
    max_drawdown: Decimal,
    calendar: TradingCalendar,
    segments: Collection[str],
    purse_of: Callable[[str], Decimal] | None = None,
    *,
    by_strategy: bool = True,
) -> Performance:
    """Computes what a replay came to.

    Args:
        journal: its records.
        starting_cash: rupees.
        max_drawdown: the deepest fall at any tick, a fraction.
        calendar: the exchange's sessions.
        segments: the calendar's segments of the watched instruments.
        purse_of: starting cash of a strategy, by its name; None: all have the account's.
        by_strategy: whether the strategies are measured, too.
    """
    ends = day_ends(journal.days, calendar)
    held = _buy_and_hold(journal, starting_cash, [end.day for end in ends])
    closed, still_open = round_trips.round_trips(journal.trades)
    worst = drawdowns(starting_cash, ends)
    figures = statistics(starting_cash, ends, max_drawdown, traded=bool(journal.trades))
    figures |= _other_figures(starting_cash, ends, journal.trades, closed, still_open)
    figures |= drawdown_figures(worst)
    figures["buy_and_hold_return"] = _held_return(starting_cash, held)
    segments = tuple(sorted(segments))

    def in_market(trades: Sequence[Trade]) -> Number | NotDefined:
        return time_in_market(trades, [end.day for end in ends], calendar, segments, journal.last_ns)

    figures["time_in_market"] = in_market(journal.trades)
    of_strategies: dict[str, list[Trade]] = {}
    for trade in journal.trades if by_strategy else ():
        of_strategies.setdefault(trade.filled.order.key.strategy_id, []).append(trade)
    strategies = []
    for name, trades in sorted(of_strategies.items()):
        purse = purse_of(name) if purse_of is not None else starting_cash
        own = _of_strategy(purse, ends, journal.strategy_days.get(name, {}), calendar)
        own_closed, own_open = round_trips.round_trips(trades)
        of_it = statistics(purse, own, ZERO, traded=True)
        of_it |= _other_figures(purse, own, trades, own_closed, own_open)
        of_it |= drawdown_figures(drawdowns(purse, own))
        of_it["time_in_market"] = in_market(trades)
        strategies.append(StrategyPerformance(name, tuple(own), defined(of_it, OF_A_STRATEGY)))
    return Performance(
        starting_cash=starting_cash,
        equity=ends[-1].equity if ends else next(reversed(journal.days.values()), starting_cash),
        ends=tuple(ends),
        figures=defined(figures, DEFINITIONS),
        drawdowns=tuple(worst),
        monthly=tuple(of_days.monthly_returns(starting_cash, ends)),
        held=tuple(held),
        closed=tuple(closed),
        still_open=tuple(still_open),
        strategies=tuple(strategies),
    )


def _other_figures(
    starting_cash: Decimal,
    ends: Sequence[DayEnd],
    trades: Sequence[Trade],
    closed: Sequence[RoundTrip],
    still_open: Sequence[RoundTrip],
) -> dict[str, Number | NotDefined]:
    traded = sum((trade.filled.fill.price * trade.filled.fill.quantity for trade in trades), ZERO)
    return {
        **trip_figures(closed, len(still_open)),
        "net_pnl": ends[-1].equity - starting_cash if ends else NotDefined("there was no trading day"),
        "charges": sum((trade.filled.fill.commission for trade in trades), ZERO),
        "fills": len(trades),
        "turnover": float(traded / starting_cash)
        if starting_cash > 0
        else NotDefined("there was no starting cash"),
    }


def _of_strategy(
    purse: Decimal, ends: Sequence[DayEnd], profit: Mapping[date, Decimal], calendar: TradingCalendar
) -> list[DayEnd]:
    """A strategy's equity at the end of each of the account's trading days."""
    values = {end.day: purse for end in ends[:1]} | {day: purse + value for day, value in profit.items()}
    own = {end.day: end.equity for end in day_ends(dict(sorted(values.items())), calendar)}
    so_far, days = purse, []
    for end in ends:
        so_far = own.get(end.day, so_far)
        days.append(DayEnd(end.day, so_far))
    return days


def _buy_and_hold(journal: ReplayJournal, starting_cash: Decimal, days: Sequence[date]) -> list[DayEnd]:
    """The equity at the end of each trading day; an instrument without a price yet is still cash."""
    first = journal.first_prices
    if not first:
        return []
    part = starting_cash / len(first)
    ends = []
    last: dict[int, Decimal] = {}
    for day in days:
        for token, prices in journal.price_days.items():
            if day in prices:
                last[token] = prices[day]
        ends.append(
            DayEnd(
                day,
                sum((part * last.get(token, price) / price for token, price in first.items()), ZERO),
            )
        )
    return ends


def _held_return(starting_cash: Decimal, held: Sequence[DayEnd]) -> Number | NotDefined:
    if not held:
        return NotDefined("no watched instrument had a price on a trading day")
    if starting_cash <= 0:
        return NotDefined("there was no starting cash")
    return float(held[-1].equity / starting_cash - 1)
