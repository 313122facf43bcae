"""What the source of signals asks for beside targets at the market: limits, stops, IOC, protected entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from tests.values import replace

from alphapanda.domain.order import OrderType, Validity
from alphapanda.domain.signal import Signal
from alphapanda.domain.terms import Protection, Terms

MOST_PROTECTED = 20
"""Units of an entry with a stop: no more than the freeze quantity."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """A seed's kind of source.

    Attributes:
        rests: how likely a target has a limit or a trigger.
        protects: how likely an entry has a stop, a target or both.
        changes: how many changes a person asks for.
    """

    rests: float = 0.0
    protects: float = 0.0
    changes: int = 0

    @property
    def any(self) -> bool:
        """Whether it asks for anything of the sort."""
        return bool(self.rests or self.protects or self.changes)


def wishes(seed: int) -> Wishes:
    """What a seed's source and person ask for; every second seed asks for nothing of the sort."""
    chance = Random(f"wishes {seed}")
    if seed % 2 == 0:
        return Wishes()
    changes = chance.choice((0, 5, 10, 20))
    return Wishes(
        chance.choice((0.6, 0.9) if changes else (0.0, 0.6)), chance.choice((0.0, 0.3, 0.9)), changes
    )


def wished(signal: Signal, wish: Wishes, chance: Random, price: Callable[[int], Decimal]) -> Signal:
    """A signal with the terms and the protection that chance gives it."""
    at = price(signal.instrument_token)
    if chance.random() < wish.rests:
        signal = replace(signal, terms=terms(chance, at))
    if signal.target and chance.random() < wish.protects:
        sign = 1 if signal.target > 0 else -1
        units = min(abs(signal.target), MOST_PROTECTED)
        signal = replace(signal, target=sign * units, protection=protection(chance, at, sign))
    return signal


def terms(chance: Random, price: Decimal) -> Terms:
    """A limit, a stop or an IOC order around a price."""
    level = price + chance.randrange(-40, 41)  # prices come by some of them
    kind = chance.choice((OrderType.LIMIT, OrderType.LIMIT, OrderType.SL, OrderType.SL_M))
    validity = Validity.IOC if kind is OrderType.LIMIT and chance.random() < 0.3 else Validity.DAY
    return Terms(
        kind,
        validity,
        level if kind in (OrderType.LIMIT, OrderType.SL) else None,
        level if kind in (OrderType.SL, OrderType.SL_M) else None,
    )


def protection(chance: Random, price: Decimal, sign: int) -> Protection:
    """A stop-loss, a target, both, or a stop that trails."""
    stop, target = (price - sign * chance.randrange(1, 20)), price + sign * chance.randrange(1, 20)
    kind = chance.randrange(4)
    return Protection(
        stop if kind != 1 else None,
        target if kind in (1, 2) else None,
        Decimal(chance.choice((3, 8))) if kind == 3 else None,
    )
