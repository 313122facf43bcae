"""Turns a target that says a size in rupees or percent into units, with the price and the balance of the decision."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from alphapanda.domain.funds import AccountFunds, FundsTerms, no_charges
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.money import ZERO
from alphapanda.domain.signal import Signal
from alphapanda.domain.size import SizeUnit, parse_size
from alphapanda.domain.terms import Terms
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.check import AccountView, Inputs
from alphapanda.risk.core.exposure import rupees
from alphapanda.risk.core.funds import most_lots, needed
from alphapanda.risk.core.position import PositionState

NAME = "size"
REASON = "SIZE"


class Sized(NamedTuple):
    """A signal with its target in units, and the line of the verdict that says how; None for an exit, or where it is held."""

    signal: Signal
    line: RuleResult | None = None


def sized(state: PositionState, signal: Signal, inputs: Inputs, account: AccountView) -> Sized:
    """Sizes a target, whose sign alone counts, rounded down to whole lots.

    A position that is held in the wanted direction keeps its units. Where only slippage and charges are more than what is
    available, as with 100% of the balance, the units are what can be paid. Where the size can't be known, or buys no lot, a
    position of the other side is wanted flat, and the line has FAILED.
    """
    if not signal.size or not signal.target:
        return Sized(signal)
    sign = 1 if signal.target > 0 else -1
    if state.quantity * sign > 0:
        return Sized(replace(signal, target=state.quantity))
    units, line = _units(state, sign, signal, inputs, account)
    return Sized(replace(signal, target=sign * units), line)


def _units(
    state: PositionState, sign: int, signal: Signal, inputs: Inputs, account: AccountView
) -> tuple[int, RuleResult]:
    size = parse_size(signal.size, "size")
    instrument, funds = inputs.instruments.by_id(signal.key.instrument_id), account.funds_of(signal.key)
    last = inputs.market.prices.get(signal.instrument_token)
    if last is None or instrument is None:
        return 0, _unknown(signal.size, f"there is no price of {signal.key.instrument_id}")
    value = size.amount
    if size.unit is SizeUnit.PERCENT:
        if funds is None:
            return 0, _unknown(signal.size, "the account's balance is unknown here; give rupees or units")
        lost = min(ZERO, state.quantity * last.price - state.history.cost) if state.quantity else ZERO
        value = size.rupees(funds.balance + lost)
    price = signal.terms.limit_price or signal.terms.trigger_price or last.price
    lots = max(0, int(value // price)) // instrument.lot_size
    at = inputs.market.market_time
    if lots and funds is not None and inputs.funds is not None and inputs.funds.enforced and at is not None:
        day = inputs.calendar.trading_day(at)
        lots = _less_costs(state, sign, lots, last.price, instrument, funds, inputs.funds, day, signal.terms)
    units = lots * instrument.lot_size
    limit = signal.size if size.unit is SizeUnit.RUPEES else f"{signal.size} = {rupees(value)} rupees"
    observed = f"{units} at {rupees(price)}"
    if units:
        return units, RuleResult(NAME, RuleOutcome.PASSED, limit, observed)
    what = "share" if instrument.lot_size == 1 else f"lot of {instrument.lot_size}"
    message = f"{rupees(value)} rupees buy no {what} of {instrument.instrument_id} at {rupees(price)}"
    return 0, RuleResult(NAME, RuleOutcome.FAILED, limit, observed, message)


def _less_costs(
    state: PositionState,
    sign: int,
    lots: int,
    price: Decimal,
    instrument: Instrument,
    funds: AccountFunds,
    terms: FundsTerms,
    day: date,
    priced: Terms,
) -> int:
    """The lots that can be paid, if only slippage and charges are too much; the same lots otherwise."""

    def need(lots: int, terms: FundsTerms) -> Decimal | None:
        delta = sign * lots * instrument.lot_size - state.quantity
        return needed(state, delta, price, instrument, terms, day, priced)

    with_costs = need(lots, terms)
    if with_costs is None or with_costs <= funds.available:
        return lots
    without = need(lots, FundsTerms(terms.margins, ZERO, no_charges))
    if without is None or without > funds.available:
        return lots
    return most_lots(lots, lambda fewer: need(fewer, terms), funds.available)


def _unknown(size: str, why: str) -> RuleResult:
    return RuleResult(NAME, RuleOutcome.FAILED, size, "unknown", f"units of {size} are unknown: {why}")
