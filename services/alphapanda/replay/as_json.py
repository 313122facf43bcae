"""What a replay came to, for programs: plain numbers; money as text with its exact places. README.md describes the form."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from alphapanda.domain.order import Side
from alphapanda.replay.drawdowns import Drawdown
from alphapanda.replay.figure import Figure, Figures, Number
from alphapanda.replay.performance import Performance
from alphapanda.replay.round_trips import RoundTrip
from alphapanda.replay.statistics import daily_returns

IST: Final = ZoneInfo("Asia/Kolkata")
Document = dict[str, Any]


def performance_json(found: Performance, assumptions: Sequence[tuple[str, str]]) -> Document:
    """The entries of `replay --json` about figures, in a fixed order."""
    returns = daily_returns(found.starting_cash, found.ends)
    return {
        "period": {
            "first_trading_day": found.ends[0].day.isoformat() if found.ends else None,
            "last_trading_day": found.ends[-1].day.isoformat() if found.ends else None,
            "trading_days": len(found.ends),
            "starting_cash": money(found.starting_cash),
        },
        "assumptions": dict(assumptions),
        "figures": figures_json(found.figures),
        "drawdowns": [_drawdown(fall) for fall in found.drawdowns],
        "monthly_returns": [
            {"month": f"{year}-{month:02}", "return": value} for (year, month), value in found.monthly
        ],
        "days": [
            {
                "day": end.day.isoformat(),
                "equity": money(end.equity),
                "return": value,
                "buy_and_hold": money(held.equity) if held else None,
            }
            for end, value, held in zip(
                found.ends, returns, found.held or [None] * len(found.ends), strict=True
            )
        ],
        "strategies": [
            {
                "strategy_id": one.strategy_id,
                "figures": figures_json(one.figures),
                "equity": [money(end.equity) for end in one.ends],
            }
            for one in found.strategies
        ],
        "round_trips": [round_trip_json(trip) for trip in (*found.closed, *found.still_open)],
    }


def figures_json(figures: Figures) -> Document:
    """Each figure by its name: value (null with a reason where there is none), unit, definition."""
    return {figure.name: _figure(figure) for figure in figures}


def money(amount: Decimal) -> str:
    """Rupees with two places."""
    return f"{amount:.2f}"


def round_trip_json(trip: RoundTrip) -> Document:
    """A round trip; what only its end can tell is null while it is open."""
    closed = trip.closed_at is not None
    return {
        "strategy_id": trip.key.strategy_id,
        "instrument_id": trip.key.instrument_id,
        "product": trip.key.product.name,
        "side": "long" if trip.side is Side.BUY else "short",
        "quantity": trip.quantity,
        "opened_at": trip.opened_at.astimezone(IST).isoformat(),
        "entry_price": f"{trip.entry_price:.4f}",
        "closed_at": trip.closed_at.astimezone(IST).isoformat() if trip.closed_at else None,
        "exit_price": f"{trip.exit_price:.4f}" if trip.exit_price is not None else None,
        "gross_pnl": money(trip.gross) if closed else None,
        "charges": money(trip.charges),
        "net_pnl": money(trip.net) if closed else None,
        "net_return": round(float(trip.net_return), 8) if closed else None,
    }


def _figure(figure: Figure) -> Document:
    return {
        "value": plain(figure.value),
        "unit": figure.definition.unit.value,
        **({"reason": figure.reason} if figure.reason else {}),
        "definition": figure.definition.text,
    }


def plain(value: Number | None) -> Any:
    """A number for JSON: money as text with two places."""
    return money(value) if isinstance(value, Decimal) else value


def _drawdown(fall: Drawdown) -> Document:
    return {
        "peak": fall.peak.isoformat() if fall.peak else None,
        "trough": fall.trough.isoformat(),
        "recovered": fall.recovered.isoformat() if fall.recovered else None,
        "depth": fall.depth,
        "rupees": money(fall.rupees),
        "trading_days": fall.days,
        "trading_days_to_recover": fall.days_to_recover,
    }
