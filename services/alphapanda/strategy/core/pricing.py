"""What a strategy may ask for besides a stance: at which price, and which exits stand by once it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from pydantic import JsonValue

from alphapanda.domain.instrument import Instrument
from alphapanda.domain.order import OrderType, Validity
from alphapanda.domain.price_grid import round_to_grid
from alphapanda.domain.terms import Protection, Terms

_PAISA: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class At:
    """The price at which a target is to be reached; without it, at the market's.

    Prices are rupees; each is moved to the nearest one on the instrument's price grid.

    Attributes:
        limit: at this price or better. With `trigger`: from the trigger on.
        trigger: only once the market trades at this price: a stop.
        or_cancel: what doesn't fill at once is cancelled. False: the order works to the end of the day.
    """

    limit: float | None = None
    trigger: float | None = None
    or_cancel: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for what no order can have."""
        _check("limit", self.limit)
        _check("trigger", self.trigger)
        if self.limit is None and self.trigger is None:
            raise ValueError(
                "At needs a limit, a trigger, or both; a target without At is reached at the market"
            )
        if self.or_cancel and self.trigger is not None:
            raise ValueError(
                "a stop waits for its trigger, so it can't be cancelled at once: or_cancel is for a limit"
            )

    def terms(self, instrument: Instrument, day: date) -> Terms:
        """The terms of the order, on the instrument's price grid of a day."""
        limit, trigger = (_exact(instrument, price, day) for price in (self.limit, self.trigger))
        if trigger is None:
            return Terms(OrderType.LIMIT, Validity.IOC if self.or_cancel else Validity.DAY, limit)
        return Terms(OrderType.SL_M if limit is None else OrderType.SL, Validity.DAY, limit, trigger)


@dataclass(frozen=True, slots=True)
class Protect:
    """Exits that stand by for what a target opens; the first that happens cancels the other.

    Prices are rupees; each is moved to the nearest one on the instrument's price grid.

    Attributes:
        stop_loss: price at which the loss is stopped: an order that rests at the exchange from the first unit held.
        target: price at which the profit is taken, when the market trades there.
        trail: distance in rupees by which the stop follows the best price since the entry; it needs a stop_loss.
    """

    stop_loss: float | None = None
    target: float | None = None
    trail: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what no position can have."""
        for name in ("stop_loss", "target", "trail"):
            _check(name, getattr(self, name))
        if self.stop_loss is None and (self.trail is not None or self.target is None):
            raise ValueError(
                "Protect needs a stop_loss or a target; a trail needs a stop_loss, which it moves"
            )

    def protection(self, instrument: Instrument, day: date) -> Protection:
        """The protection, on the instrument's price grid of a day."""
        stop, target = (_exact(instrument, price, day) for price in (self.stop_loss, self.target))
        trail = None if self.trail is None else max(_decimal(self.trail).quantize(_PAISA), _PAISA)
        return Protection(stop, target, trail)


def stored(at: At | None, protect: Protect | None) -> list[JsonValue]:
    """Both as JSON; empty where there is neither."""
    if at is None and protect is None:
        return []
    return [
        None if at is None else [at.limit, at.trigger, at.or_cancel],
        None if protect is None else [protect.stop_loss, protect.target, protect.trail],
    ]


def restored(kept: Any) -> tuple[At | None, Protect | None]:
    """Both as `stored` returned them."""
    at, protect = kept or (None, None)
    return None if at is None else At(*at), None if protect is None else Protect(*protect)


def _check(name: str, price: float | None) -> None:
    if price is not None and not (isfinite(price) and price > 0):
        raise ValueError(f"{name} is {price}; it has to be a number of rupees greater than 0")


def _exact(instrument: Instrument, price: float | None, day: date) -> Decimal | None:
    return None if price is None else round_to_grid(instrument, _decimal(price), day)


def _decimal(price: float) -> Decimal:
    return Decimal(repr(float(price)))
