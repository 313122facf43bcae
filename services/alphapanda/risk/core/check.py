"""What a rule is shown, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from msgspec import Struct

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import PositionEffect, Side, TradingState
from alphapanda.domain.signal import PositionKey, Signal
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.day import DayCounters
from alphapanda.risk.core.limit import Limit
from alphapanda.risk.core.limits import Limits
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.scoped_limits import NOTHING_SET, ScopedLimits


@dataclass(frozen=True, slots=True)
class StrategyStatus:
    """A strategy's latest state on the control topic: the newest revision of its configuration, and whether it trades."""

    revision: int
    running: bool


class StrategyRevisionUnknown(Exception):
    """An entry of a strategy revision that is not on the control topic yet: wait for it, then decide."""

    def __init__(self, strategy_id: str, revision: int) -> None:
        self.strategy_id = strategy_id
        self.revision = revision
        super().__init__(f"revision {revision} of strategy {strategy_id!r} isn't known yet")


class Inputs(Struct, frozen=True):
    """Everything a decision reads besides the book. Whatever is absent or None is unknown (rule 4 of the design).

    Attributes:
        market: prices and market time of one reading.
        instruments: the day's instruments.
        calendar: sessions.
        limits: what the settings allow.
        trading_state: the broker's kill switch.
        strategy_statuses: by strategy id.
        given_up: (strategy id, revision) whose status was waited for long enough: their entries are refused.
        scoped: what is set for the account, its strategies and instruments, over `limits`.
        strategy_switches: kill switches of single strategies at the broker, by strategy id; None: none was ever set.
        unknown_positions: (strategy id, instrument token) whose records are parked behind a bug: nothing passes there.
    """

    market: MarketView
    instruments: InstrumentDirectory
    calendar: TradingCalendar
    limits: Limits
    trading_state: TradingState
    strategy_statuses: Mapping[str, StrategyStatus]
    given_up: Collection[tuple[str, int]] = ()
    scoped: ScopedLimits = NOTHING_SET
    strategy_switches: Mapping[str, TradingState] | None = None
    unknown_positions: Collection[tuple[str, int]] = ()

    def limits_for(self, key: PositionKey) -> Limits:
        """The limits that hold under a position key."""
        return self.scoped.over(self.limits, key.strategy_id, key.instrument_id)

    def price_of(self, instrument_id: str) -> Decimal | None:
        """Last price, of any age; None where there is none."""
        instrument = self.instruments.by_id(instrument_id)
        last = self.market.prices.get(instrument.instrument_token) if instrument is not None else None
        return last.price if last is not None else None


class AccountView(Protocol):
    """What a rule may ask about the account that a signal is for."""

    @property
    def keeps_accounts(self) -> bool:
        """Whether costs, day counters and last requests are kept."""

    def alive(self, broker: str, account: str) -> Iterable[PositionState]:
        """The account's positions that are held or have an open order; all of them where a rule in force asks."""

    def today(self, key: PositionKey, whose: str, inputs: Inputs) -> DayCounters | None:
        """The counters of the exchange's day.

        Args:
            key: its broker and account count.
            whose: a strategy's id, or WHOLE_ACCOUNT.
            inputs: market time.

        Returns:
            None where the market's time is unknown.
        """


class Check(Struct, frozen=True):
    """An order that a signal would become.

    Attributes:
        signal: what is wanted.
        side: direction of the order.
        quantity: its units, > 0.
        effect: what it does to `position`.
        position: signed units held before it.
        instrument: None where it isn't known.
        inputs: market, calendar, switches, strategies' statuses.
        limits: those for the position.
        state: the position it is about.
        account: the rest of the account.
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

    @property
    def price(self) -> Decimal | None:
        """Last price, of any age; None where there is none."""
        last = self.inputs.market.prices.get(self.signal.instrument_token)
        return last.price if last is not None else None

    @property
    def others(self) -> Iterator[PositionState]:
        """The account's other positions that are held or have an open order."""
        key = self.signal.key
        return (state for state in self.account.alive(key.broker, key.account) if state.key != key)

    def today(self, whose: str) -> DayCounters | None:
        """The counters of the exchange's day; `whose` is a strategy's id or WHOLE_ACCOUNT."""
        return self.account.today(self.signal.key, whose, self.inputs)

    @property
    def position_after(self) -> int:
        """Signed units held once the order has filled."""
        return self.position + self.side.sign * self.quantity

    def cut_to_flat(self) -> Check:
        """The exit that a flip holds."""
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
    """A rule under its registered name.

    Attributes:
        name: in a verdict.
        judge: asks it.
        most: units that it would have let through, of an order that it refused; None: not one.
        limits: those it measures against; where none of them is set it isn't in force. Empty: it always is.
        parameters: limits that say how it measures; there is always a value of them.
        says: word that a refusal carries, where it isn't the name.
    """

    name: str
    judge: Callable[[Check], RuleResult]
    most: Callable[[Check], int] | None = None
    limits: tuple[Limit[Any], ...] = ()
    parameters: tuple[Limit[Any], ...] = ()
    says: str = ""

    @property
    def declares(self) -> tuple[Limit[Any], ...]:
        """All that may be set of it."""
        return (*self.limits, *self.parameters)

    @property
    def reason(self) -> str:
        """The word that a refusal by it carries."""
        return self.says or self.name.upper()


def only_exits_pass(
    check: Check, rule: str, limit: str, observed: str, message: str, *, unknown: bool = False
) -> RuleResult:
    """What a rule says where it lets no entry through: an opening fails, a flip is cut to flat, an exit passes.

    Args:
        check: the order.
        rule: name of the rule.
        limit: the limit as text.
        observed: what was seen, as text.
        message: why no entry passes.
        unknown: True where an input isn't known; an exit is then WAIVED (rule 4), else PASSED.
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
