"""What an order blocks of its account's funds, and how an order event moves them. Functions change nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from alphapanda.domain.funds import AccountFunds, FundsTerms, Payable
from alphapanda.domain.instrument import Instrument
from alphapanda.domain.money import ZERO, down_to_paisa, up_to_paisa
from alphapanda.domain.order import PositionEffect, Side
from alphapanda.domain.order_events import OrderState
from alphapanda.domain.price_grid import grid_rule
from alphapanda.domain.terms import AT_MARKET, Terms
from alphapanda.risk.core.exposure import rupees
from alphapanda.risk.core.position import OrderProgress, PositionState

if TYPE_CHECKING:
    from alphapanda.risk.core.check import Check, Inputs

_OPENS: Final = PositionEffect.OPENS
_REDUCES: Final = PositionEffect.REDUCES
_FLIPS: Final = PositionEffect.FLIPS
_side_of: Final = Side.of
_effect_of: Final = PositionEffect.of


def needed(
    state: PositionState,
    delta: int,
    price: Decimal,
    instrument: Instrument,
    terms: FundsTerms,
    day: date,
    priced: Terms = AT_MARKET,
) -> Decimal | None:
    """The rupees that an order blocks while it works: margin at the worst fill price, and charges.

    That price is the limit price where there is one, else the last price, or the trigger, with the largest slippage. An exit
    blocks nothing. A flip blocks what its opening part needs beyond the margin of the position that it closes; a loss on that
    position adds to it.

    Args:
        state: the position before the order.
        delta: signed units of the order, not 0.
        price: last price in rupees.
        instrument: the order's instrument.
        terms: margin model, slippage and charges.
        day: the exchange's day.
        priced: how the order is priced.

    Returns:
        None if the margin can't be known.
    """
    effect = _effect_of(state.quantity, delta)
    if effect is _REDUCES:
        return ZERO
    side, product = _side_of(delta), state.key.product
    worst = priced.trigger_price or price
    if priced.limit_price is not None:
        worst = priced.limit_price
        price = max(price, worst) if side is Side.SELL else worst
    elif terms.slippage:
        slipped = worst * (1 + side.sign * terms.slippage)
        worst = grid_rule(instrument, day).against(slipped, buys=side is Side.BUY)
    opening = delta if effect is _OPENS else state.quantity + delta
    value = abs(opening) * (worst if opening > 0 else price)
    margin = terms.margins.margin(instrument, product, opening, value, day)
    if margin is None:
        return None
    need = margin + terms.charges(instrument, product, side, abs(delta), max(price, worst), day)
    if effect is _FLIPS:
        need += -state.margin - min(ZERO, state.quantity * worst - state.history.cost)
    return max(ZERO, up_to_paisa(need))


def most_lots(lots: int, need_of: Callable[[int], Decimal | None], available: Decimal) -> int:
    """The most lots, fewer than `lots`, of which the need isn't more than what is available; 0 if it can't be known."""
    passes, fails = 0, lots
    while fails - passes > 1:
        tried = (passes + fails) // 2
        need = need_of(tried)
        if need is None:
            return 0
        if need <= available:
            passes = tried
        else:
            fails = tried
    return passes


def needed_by(check: Check, terms: FundsTerms, quantity: int) -> Decimal | None:
    """The rupees that so many units of a checked order would block; None if they can't be known."""
    if quantity in check.needs:
        return check.needs[quantity]
    price, instrument, at = check.price, check.instrument, check.inputs.market.market_time
    need = None
    if price is not None and instrument is not None and at is not None:
        day = check.inputs.calendar.trading_day(at)
        delta = check.side.sign * quantity
        need = needed(check.state, delta, price, instrument, terms, day, check.signal.terms)
    check.needs[quantity] = need
    return need


def payable(
    state: PositionState,
    funds: AccountFunds | None,
    units: int,
    price: Decimal,
    instrument: Instrument | None,
    terms: FundsTerms,
    day: date,
) -> Payable:
    """What the account pays of an order that waited, at the price at which it fills.

    It may use what the order blocks and what is available. Exits are always paid.

    Args:
        state: its position.
        funds: its account's; None: unknown, and only exits are paid.
        units: signed units that may still fill, not 0.
        price: of the fill, rupees, slippage included.
        instrument: the instrument; None: unknown.
        terms: margin model and charges.
        day: the exchange's day.
    """
    effect = PositionEffect.of(state.quantity, units)
    if effect is PositionEffect.REDUCES:
        return Payable(abs(units))
    closing = abs(state.quantity) if effect is PositionEffect.FLIPS else 0
    key = state.key
    what = f"{Side.of(units).name} {abs(units)} {key.instrument_id} as {key.product.name} at {rupees(price)}"
    if funds is None or instrument is None:
        return Payable(closing, f"insufficient funds: what {what} needs, or the account has, is unknown")
    need = needed(state, units, price, instrument, terms.at_the_fill, day)
    if need is None:
        return Payable(closing, f"insufficient funds: what {what} needs is unknown")
    available = funds.available + state.blocked
    if need <= available:
        return Payable(abs(units))
    message = (
        f"insufficient funds: {what} needs {rupees(need)} rupees of margin and charges, account {key.account!r} has"
        f" {rupees(available)} available"
    )
    return Payable(closing, f"{message}; only the exit was filled" if closing else message)


def blocked_by(check: Check) -> Decimal:
    """The rupees that an approved order blocks; 0 for an exit, or where they can't be known."""
    terms = check.inputs.funds
    return ZERO if terms is None else needed_by(check, terms, check.quantity) or ZERO


def after_order(
    before: PositionState,
    after: PositionState,
    was: OrderProgress | None,
    order: OrderProgress,
    inputs: Inputs,
    day: date | None,
) -> PositionState:
    """The position after an order event, with the rupees that it and its open order block.

    A position blocks the margin of what it cost. An order blocks in proportion to the units that may still fill, and
    nothing after its end.

    Args:
        before: the position before the event.
        after: the position after it.
        was: the order before it; None if it wasn't known.
        order: the order after it.
        inputs: instruments and terms.
        day: the exchange's day of the event; None if it is unknown.
    """
    margin, blocked = before.margin, before.blocked
    if after.quantity != before.quantity:
        margin = _margin(before, after, inputs, day)
    if blocked and before.open is not None and before.open.signal_id == order.signal_id:
        left = 0 if order.final else order.quantity - order.filled
        had = was.quantity - was.filled if was is not None else order.quantity
        blocked = ZERO if not left or had <= 0 else min(blocked, down_to_paisa(blocked * left / had))
    if margin == after.margin and blocked == after.blocked:
        return after
    return replace(after, margin=margin, blocked=blocked)


def reblocked(state: PositionState, order: OrderState, inputs: Inputs, day: date | None) -> PositionState:
    """The position after its order was modified: what may still fill blocks by the new terms.

    Args:
        state: the position, whose open order it is.
        order: the order as modified; of one at the market nothing changes.
        inputs: prices, instruments and terms.
        day: the exchange's day; None if it is unknown.
    """
    instrument = inputs.instruments.by_id(order.key.instrument_id)
    price = order.terms.limit_price or order.terms.trigger_price
    if price is None or instrument is None or day is None or inputs.funds is None or not state.blocked:
        return state
    last = inputs.market.prices.get(order.instrument_token)
    left = order.side.sign * (order.quantity - order.filled)
    at = price if last is None else last.price
    need = needed(state, left, at, instrument, inputs.funds, day, order.terms) if left else ZERO
    return state if need is None else replace(state, blocked=need)


def _margin(before: PositionState, after: PositionState, inputs: Inputs, day: date | None) -> Decimal:
    """The margin of a position after a fill; where it can't be known, what it was, by units, or the whole cost."""
    if not after.quantity:
        return ZERO
    instrument = inputs.instruments.by_id(after.key.instrument_id)
    if instrument is not None and day is not None and inputs.funds is not None:
        cost, product = abs(after.history.cost), after.key.product
        margin = inputs.funds.margins.margin(instrument, product, after.quantity, cost, day)
        if margin is not None:
            return margin
    if before.quantity * after.quantity > 0 and abs(after.quantity) < abs(before.quantity):
        return down_to_paisa(before.margin * after.quantity / before.quantity)
    return abs(after.history.cost)
