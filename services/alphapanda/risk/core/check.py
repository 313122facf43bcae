"""The interface of a rule: the order to check, the inputs, and the rule's registration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.funds import AccountFunds, FundsTerms
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import PositionEffect, Side, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.day import DayCounters
from alphapanda.risk.core.limit import Limit
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.rejections import Rejections
from alphapanda.risk.core.restricted import RestrictedList
from alphapanda.risk.core.scoped_limits import NOTHING_SET, ScopedLimits


@dataclass(frozen=True, slots=True)
class StrategyStatus:
    """A strategy's latest state on the control topic: the newest revision of its configuration, and whether it runs."""

    revision: int
    running: bool


class LiveArming(Struct, frozen=True, gc=False):
    """The exchange's day for which a person armed a live account; None: it isn't armed."""

    day: date | None = None


class StrategyRevisionUnknown(Exception):
    """An entry is of a strategy revision that is not on the control topic yet; the decision has to wait for it."""

    def __init__(self, strategy_id: str, revision: int) -> None:
        self.strategy_id = strategy_id
        self.revision = revision
        super().__init__(f"revision {revision} of strategy {strategy_id!r} isn't known yet")


class Venue(Enum):
    """Where a broker's orders go, as far as rules differ by it."""

    LIVE = "live"
    """A real exchange."""
    AS_LIVE = "paper as live"
    """The paper exchange; what a live broker would refuse is refused."""
    PAPER = "paper"
    """The paper exchange, without that."""


class Inputs(Struct, frozen=True, gc=False):
    """Everything that a decision reads besides the book. An absent or None value is unknown: it refuses entries only.

    Attributes:
        market: prices and market time, read together.
        instruments: today's instruments.
        calendar: the exchange's sessions.
        limits: the limits from the settings.
        trading_state: the broker's kill switch.
        strategy_statuses: by strategy id.
        timed_out: (strategy id, revision) whose status didn't come in time; their entries are refused.
        scoped: limits set for the account, its strategies and instruments; they override `limits`.
        strategy_switches: kill switches of single strategies at the broker, by strategy id; None if none was ever set.
        unknown_positions: (strategy id, instrument token) whose records are parked because of a bug; nothing passes there.
        funds: how the broker's simulated accounts' funds are measured; None: a live broker, or they aren't tracked.
        venue: where the broker's orders go.
        restricted: what the exchange restricts, asked at live brokers alone; None: there is no list.
        arming: for which day the account is armed; None: a simulated broker, which needs no arming.
    """

    market: MarketView
    instruments: InstrumentDirectory
    calendar: TradingCalendar
    limits: Limits
    trading_state: TradingState
    strategy_statuses: Mapping[str, StrategyStatus]
    timed_out: Collection[tuple[str, int]] = ()
    scoped: ScopedLimits = NOTHING_SET
    strategy_switches: Mapping[str, TradingState] | None = None
    unknown_positions: Collection[tuple[str, int]] = ()
    funds: FundsTerms | None = None
    venue: Venue = Venue.AS_LIVE
    arming: LiveArming | None = None
    restricted: RestrictedList | None = None

    def limits_for(self, key: PositionKey) -> Limits:
        """The limits in force for a position key."""
        scoped = self.scoped
        return scoped.over(self.limits, key.strategy_id, key.instrument_id) if scoped.rows else self.limits

    def price_of(self, instrument_id: str) -> Decimal | None:
        """Last price of an instrument, of any age; None if there is none."""
        instrument = self.instruments.by_id(instrument_id)
        last = self.market.prices.get(instrument.instrument_token) if instrument is not None else None
        return last.price if last is not None else None


class AccountView(Protocol):
    """What a rule may read of the account that a signal is for."""

    @property
    def tracks_history(self) -> bool:
        """Whether costs, day counters and last requests are tracked."""

    def active_positions(self, broker: str, account: str) -> Iterable[PositionState]:
        """The account's positions that are held or have an open order; complete if a rule in force needs them."""

    def funds_of(self, key: PositionKey) -> AccountFunds | None:
        """The funds of the account that a key names; None if they are unknown, or not tracked."""

    def rejections_of(self, key: PositionKey) -> Rejections | None:
        """The broker's last rejections in a row in the instrument and product that a key names; None if there are none."""

    def today(self, key: PositionKey, whose: str, inputs: Inputs) -> DayCounters | None:
        """The counters of the exchange's current day.

        Args:
            key: names the broker and the account.
            whose: a strategy's id, or WHOLE_ACCOUNT.
            inputs: market time and calendar.

        Returns:
            None if the market's time is unknown.
        """


class Check(Struct, frozen=True, gc=False):
    """The order that a signal would become, as rules check it.

    Attributes:
        signal: the signal.
        side: direction of the order.
        quantity: units of the order, > 0.
        effect: what the order does to `position`: opens, reduces or flips it.
        position: signed units held before the order.
        instrument: None if it isn't known.
        inputs: market, calendar, kill switches, strategies' statuses.
        limits: the limits in force for the position.
        state: the position that the order changes.
        account: the whole account.
        needs: what quantities of this order would need of the funds, as far as they have been asked for.
    """

    signal: Signal
    side: Side
    quantity: int
    effect: PositionEffect
    position: int
    instrument: Instrument | None
    inputs: Inputs
    limits: Limits
    state: PositionState
    account: AccountView
    needs: dict[int, Decimal | None] = {}

    @property
    def price(self) -> Decimal | None:
        """Last price of the signal's instrument, of any age; None if there is none."""
        last = self.inputs.market.prices.get(self.signal.instrument_token)
        return last.price if last is not None else None

    @property
    def worth(self) -> Decimal | None:
        """The price by which the order's value is measured, rupees: the last one, or its limit or trigger where that is more.

        A resting order may be modified up to the last price without another decision. None: there is no last price.
        """
        price, terms = self.price, self.signal.terms
        if price is None or terms is AT_MARKET:
            return price
        return max(price, terms.limit_price or price, terms.trigger_price or price)

    @property
    def others(self) -> Iterator[PositionState]:
        """The account's other positions that are held or have an open order."""
        key = self.signal.key
        return (state for state in self.account.active_positions(key.broker, key.account) if state.key != key)

    def today(self, whose: str) -> DayCounters | None:
        """The counters of the exchange's current day; `whose` is a strategy's id or WHOLE_ACCOUNT."""
        return self.account.today(self.signal.key, whose, self.inputs)

    @property
    def position_after(self) -> int:
        """Signed units held after the order has filled."""
        return self.position + self.side.sign * self.quantity

    def cut_to_flat(self) -> Check:
        """The same check for the part of a flip that closes the position."""
        return Check(
            self.signal,
            self.side,
            abs(self.position),
            PositionEffect.REDUCES,
            self.position,
            self.instrument,
            self.inputs,
            self.limits,
            self.state,
            self.account,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and its limits.

    Attributes:
        name: its name in verdicts.
        judge: checks an order.
        largest_quantity: of an order that the rule refused, the largest quantity that it would have approved; None: 0.
        limits: the limits that it enforces. It is in force if one of them is set; without any, always.
        parameters: limits that say how it measures; they always have a value.
        reason_code: reason of its refusals, if that isn't the name in upper case.
        only_live: whether it is asked only where orders reach a real exchange.
    """

    name: str
    judge: Callable[[Check], RuleResult]
    largest_quantity: Callable[[Check], int] | None = None
    limits: tuple[Limit[Any], ...] = ()
    parameters: tuple[Limit[Any], ...] = ()
    reason_code: str = ""
    only_live: bool = False

    @property
    def declares(self) -> tuple[Limit[Any], ...]:
        """All limits and parameters of the rule that may be set."""
        return (*self.limits, *self.parameters)

    @property
    def reason(self) -> str:
        """Reason of a refusal by this rule."""
        return self.reason_code or self.name.upper()


def only_exits_pass(
    check: Check, rule: str, limit: str, observed: str, message: str, *, unknown: bool = False
) -> RuleResult:
    """The result of a rule that refuses entries: an opening order fails, a flip is cut to flat, an exit passes.

    Args:
        check: the order.
        rule: name of the rule.
        limit: the limit as text.
        observed: the measured value as text.
        message: why no entry passes.
        unknown: True if an input isn't known; an exit is then WAIVED, otherwise PASSED.
    """
    match check.effect:
        case PositionEffect.OPENS:
            return RuleResult(rule, RuleOutcome.FAILED, limit, observed, message)
        case PositionEffect.FLIPS:
            return RuleResult(
                rule, RuleOutcome.CLAMPED, limit, observed, f"{message}; cut to flat, which only reduces"
            )
        case PositionEffect.REDUCES if unknown:
            return RuleResult(rule, RuleOutcome.WAIVED, limit, observed, f"{message}; it only reduces")
        case PositionEffect.REDUCES:
            return RuleResult(rule, RuleOutcome.PASSED, limit, observed)
