"""Calls of Zerodha's HTTP API as the trader needs them: their errors are those of a broker."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from decimal import Decimal

from alphapanda.domain.terms import Terms
from alphapanda.kite.outcomes import KiteError, KiteRefused, KiteUnknown
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import NoSession
from alphapanda.resilience.failures import in_one_line
from alphapanda.trading.core.escalation import DayRange
from alphapanda.trading.traders.trader import BrokerRefused, NoClearAnswer


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a modification that Zerodha has taken made of an order, and when (monotonic seconds)."""

    quantity: int
    terms: Terms
    at: float


async def day_range(rest: KiteRest, symbol: str) -> DayRange:
    """An instrument's last price and circuit.

    Raises:
        NoClearAnswer: Zerodha can't be asked now, or doesn't say.
    """
    try:
        quote = (await rest.quote([symbol]))[symbol]
        names = ("last_price", "lower_circuit_limit", "upper_circuit_limit")
        last, low, high = (Decimal(str(quote[name])) for name in names)
    except (KiteError, NoSession, KeyError, ArithmeticError) as unanswered:
        raise NoClearAnswer(in_one_line(unanswered)) from unanswered
    return DayRange(last, low, high)


async def changed_by(call: Awaitable[str]) -> None:
    """Makes a call that modifies or cancels.

    Raises:
        BrokerRefused: nothing was changed.
        NoClearAnswer: it may have been.
    """
    try:
        await call
    except NoSession as nobody:
        raise BrokerRefused(str(nobody)) from nobody
    except KiteRefused as refused:
        raise BrokerRefused(refused.failure.message or in_one_line(refused)) from refused
    except KiteUnknown as unknown:
        raise NoClearAnswer(in_one_line(unknown)) from unknown
