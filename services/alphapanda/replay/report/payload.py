"""The curves, fills and round trips of a report as compact JSON for its script.

Amounts are whole paise; times are whole seconds. A column is the differences of its values, which makes it short: an
entry of null is no value, and the difference counts from the last one.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from alphapanda.domain.frame import nanoseconds
from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import Side
from alphapanda.replay.curves import Curves
from alphapanda.replay.journal import Trade
from alphapanda.replay.performance import Performance, most_profitable_first
from alphapanda.replay.round_trips import RoundTrip

SHOWN_INSTRUMENTS: Final = 6
MOST_FILLS: Final = 12_000
MOST_TRIPS: Final = 10_000
SHOWN_STRATEGIES: Final = 12
_SECOND_NS: Final = 1_000_000_000
_PAISE: Final = 100


def payload(
    found: Performance,
    curves: Curves,
    trades: Sequence[Trade],
    first_prices: Mapping[int, Any],
    directory: InstrumentDirectory,
    *,
    indian: bool,
) -> str:
    """The JSON, safe within a script element."""
    document = {
        "indian": indian,
        "times": _differences(at // _SECOND_NS for at in curves.times_ns),
        "equity": paise(curves.equity),
        "held": paise(_held(found, curves, first_prices)),
        "days": [end.day.isoformat() for end in found.ends],
        "strategies": _strategies(found),
        "prices": _prices(curves, trades, directory),
        "trips": _trips([*found.closed, *found.still_open]),
    }
    return json.dumps(document, separators=(",", ":")).replace("</", "<\\/")


def busiest(trades: Sequence[Trade]) -> list[int]:
    """The traded instruments' tokens, those with the most fills first."""
    fills: dict[int, int] = {}
    for trade in trades:
        token = trade.filled.order.instrument_token
        fills[token] = fills.get(token, 0) + 1
    return sorted(fills, key=lambda token: -fills[token])


def symbol_of(token: int, directory: InstrumentDirectory) -> str:
    """An instrument's symbol."""
    instrument = directory.by_token(token)
    return instrument.symbol if instrument else str(token)


def _held(found: Performance, curves: Curves, first_prices: Mapping[int, Any]) -> list[float]:
    """The equity of buy and hold at each sample."""
    if not first_prices:
        return []
    part = float(found.starting_cash) / len(first_prices)
    values = [0.0] * len(curves.times_ns)
    for token, first in first_prices.items():
        begin = float(first)
        for at, price in enumerate(curves.prices.get(token, [None] * len(values))):
            values[at] += part if price is None else part * price / begin
    return values


def _strategies(found: Performance) -> list[dict[str, Any]]:
    """The profit curves of several strategies: the best and the worst where there are many."""
    if len(found.strategies) <= 1:
        return []
    ranked = most_profitable_first(found.strategies)
    if len(ranked) > SHOWN_STRATEGIES:
        ranked = [*ranked[: SHOWN_STRATEGIES // 2], *ranked[-SHOWN_STRATEGIES // 2 :]]
    return [
        {"name": one.strategy_id, "equity": paise(float(end.equity) for end in one.ends)} for one in ranked
    ]


def _prices(curves: Curves, trades: Sequence[Trade], directory: InstrumentDirectory) -> list[dict[str, Any]]:
    shown = []
    for token in busiest(trades)[:SHOWN_INSTRUMENTS]:
        fills = [trade for trade in trades if trade.filled.order.instrument_token == token]
        at, rows = 0, []
        for trade in fills[:MOST_FILLS]:
            fill = trade.filled.fill
            at = bisect_left(curves.times_ns, nanoseconds(fill.traded_at))
            units = trade.filled.order.side.sign * fill.quantity
            rows.append([min(at, len(curves.times_ns) - 1), units, round(fill.price * _PAISE)])
        shown.append(
            {
                "name": symbol_of(token, directory),
                "price": paise(curves.prices.get(token, [])),
                "fills": rows,
                "more": max(0, len(fills) - MOST_FILLS),
            }
        )
    return shown


def _trips(trips: Sequence[RoundTrip]) -> dict[str, Any]:
    names: dict[str, int] = {}
    instruments: dict[str, int] = {}
    rows = [
        [
            names.setdefault(trip.key.strategy_id, len(names)),
            instruments.setdefault(trip.key.instrument_id, len(instruments)),
            1 if trip.side is Side.BUY else -1,
            trip.quantity,
            _seconds(trip.opened_at),
            round(trip.entry_price * _PAISE),
            _seconds(trip.closed_at) if trip.closed_at else None,
            round(trip.exit_price * _PAISE) if trip.exit_price is not None else None,
            round(trip.charges * _PAISE),
            round(trip.net * _PAISE) if trip.closed_at else None,
        ]
        for trip in trips[-MOST_TRIPS:]
    ]
    return {
        "strategies": list(names),
        "instruments": list(instruments),
        "rows": rows,
        "more": max(0, len(trips) - MOST_TRIPS),
    }


def _seconds(at: datetime) -> int:
    return nanoseconds(at) // _SECOND_NS


def paise(values: Iterable[float | None]) -> list[int | None]:
    """Rupees as the differences of whole paise."""
    return _differences(None if value is None else round(value * _PAISE) for value in values)


def _differences(values: Iterable[int | None]) -> list[int | None]:
    last, made = 0, []
    for value in values:
        made.append(None if value is None else value - last)
        last = last if value is None else value
    return made
