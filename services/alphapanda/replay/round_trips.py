"""Round trips: a position from its opening until it is flat or turns, with its profit after charges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Final

from alphapanda.domain.money import ZERO
from alphapanda.domain.order import Side
from alphapanda.domain.signal import PositionKey
from alphapanda.replay.figure import Definition, NotDefined, Number, Unit
from alphapanda.replay.journal import Trade

_LEDGER_PLACES: Final = Decimal("0.0001")
_PAISA: Final = Decimal("0.01")
_WIDE: Final = Context(prec=60)
"""Holds any amount of the ledger with its places."""
_NET = "net: after all charges of its fills"

DEFINITIONS: Final = {
    "round_trips": Definition(
        "Round trips",
        Unit.COUNT,
        "positions that were opened and closed; one that turns ends a round trip and begins another",
    ),
    "open_positions": Definition(
        "Open at the end", Unit.COUNT, "positions still open at the last tick; not among the round trips"
    ),
    "win_rate": Definition("Win rate", Unit.FRACTION, f"round trips with a profit / round trips; {_NET}"),
    "profit_factor": Definition(
        "Profit factor",
        Unit.RATIO,
        f"sum of the winning round trips / sum of the losing ones; {_NET}",
    ),
    "average_trade": Definition("Average trade", Unit.RUPEES, f"mean profit or loss of a round trip; {_NET}"),
    "average_win": Definition("Average win", Unit.RUPEES, f"mean of the winning round trips; {_NET}"),
    "average_loss": Definition("Average loss", Unit.RUPEES, f"mean of the losing round trips; {_NET}"),
    "best_trade": Definition("Best trade", Unit.RUPEES, f"largest profit of a round trip; {_NET}"),
    "worst_trade": Definition("Worst trade", Unit.RUPEES, f"largest loss of a round trip; {_NET}"),
    "expectancy": Definition(
        "Expectancy",
        Unit.FRACTION,
        f"mean over the round trips of profit or loss / money put in (units x entry price); {_NET}",
    ),
}


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A position from its opening until it is flat or turns; or until the end, if it is still open.

    Attributes:
        key: the position.
        side: BUY if it was long.
        opened_at: time of its first fill.
        closed_at: time of its last fill; None while it is open.
        quantity: units put in, over all fills that opened or increased it.
        entry_value: rupees of the fills that opened or increased it, > 0.
        exit_value: rupees of the fills that reduced or closed it.
        charges: of all its fills, rupees; a fill that turns a position is shared by its units, in whole paise.
    """

    key: PositionKey
    side: Side
    opened_at: datetime
    closed_at: datetime | None
    quantity: int
    entry_value: Decimal
    exit_value: Decimal
    charges: Decimal

    @property
    def entry_price(self) -> Decimal:
        """Average price of the fills that opened or increased it, rupees."""
        return self.entry_value / self.quantity

    @property
    def exit_price(self) -> Decimal | None:
        """Average price of the fills that closed it, rupees; None while it is open."""
        return None if self.closed_at is None else self.exit_value / self.quantity

    @property
    def gross(self) -> Decimal:
        """Profit before charges, rupees; it has a meaning once it is closed."""
        bought, sold = self.entry_value, self.exit_value
        return sold - bought if self.side is Side.BUY else bought - sold

    @property
    def net(self) -> Decimal:
        """Profit after charges, rupees; it has a meaning once it is closed."""
        return self.gross - self.charges

    @property
    def net_return(self) -> Decimal:
        """Profit after charges as a fraction of the money put in."""
        return self.net / self.entry_value


class _Open:
    """A round trip that isn't closed yet."""

    def __init__(self, key: PositionKey, side: Side, at: datetime) -> None:
        self.key, self.side, self.at = key, side, at
        self.position = self.quantity = 0
        self.entry_value = self.exit_value = self.charges = ZERO

    def increase(self, units: int, price: Decimal, charges: Decimal) -> None:
        self.position += units
        self.quantity += units
        self.entry_value += units * price
        self.charges += charges

    def reduce(self, units: int, price: Decimal, charges: Decimal) -> None:
        self.position -= units
        self.exit_value += units * price
        self.charges += charges

    def ended(self, at: datetime | None) -> RoundTrip:
        return RoundTrip(
            self.key,
            self.side,
            self.at,
            at,
            self.quantity,
            self.entry_value,
            self.exit_value,
            self.charges,
        )


def round_trips(trades: Iterable[Trade]) -> tuple[list[RoundTrip], list[RoundTrip]]:
    """The closed round trips in the order of their ends, and the open ones in the order of their openings.

    Args:
        trades: all fills, in order.
    """
    now: dict[PositionKey, _Open] = {}
    closed: list[RoundTrip] = []
    for trade in trades:
        order, fill = trade.filled.order, trade.filled.fill
        units, charges = fill.quantity, fill.commission
        trip = now.get(order.key)
        if trip is not None and trip.side is not order.side:
            closing = min(units, trip.position)
            share = charges if closing == units else _share(charges, closing, units)
            trip.reduce(closing, fill.price, share)
            units, charges = units - closing, charges - share
            if not trip.position:
                closed.append(now.pop(order.key).ended(fill.traded_at))
                trip = None
        if units:
            if trip is None:
                trip = now[order.key] = _Open(order.key, order.side, fill.traded_at)
            trip.increase(units, fill.price, charges)
    return closed, [trip.ended(None) for trip in now.values()]


def trip_figures(closed: Sequence[RoundTrip], still_open: int) -> dict[str, Number | NotDefined]:
    """Computes the figures of DEFINITIONS.

    Args:
        closed: the closed round trips.
        still_open: number of open positions at the end.
    """
    found: dict[str, Number | NotDefined] = {"round_trips": len(closed), "open_positions": still_open}
    if not closed:
        none = NotDefined(
            "no position was closed" if still_open else "no round trip was made: no order was filled"
        )
        return dict.fromkeys(DEFINITIONS, none) | found
    nets = [trip.net for trip in closed]
    wins, losses = [net for net in nets if net > 0], [net for net in nets if net < 0]
    none_lost, none_won = NotDefined("no round trip lost"), NotDefined("no round trip won")
    return found | {
        "win_rate": len(wins) / len(nets),
        "profit_factor": float(sum(wins) / -sum(losses)) if losses else none_lost,
        "average_trade": _mean(nets),
        "average_win": _mean(wins) if wins else none_won,
        "average_loss": _mean(losses) if losses else none_lost,
        "best_trade": max(nets),
        "worst_trade": min(nets),
        "expectancy": float(sum(trip.net_return for trip in closed) / len(closed)),
    }


def _mean(amounts: Sequence[Decimal]) -> Decimal:
    return _WIDE.quantize(_WIDE.divide(sum(amounts, ZERO), len(amounts)), _LEDGER_PLACES)


def _share(charges: Decimal, units: int, of: int) -> Decimal:
    return _WIDE.quantize(_WIDE.divide(charges * units, of), _PAISA)
