"""What a rule is shown, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from alphapanda.domain.calendar import TradingCalendar
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import PositionEffect, Side, TradingState
from alphapanda.domain.signal import Signal
from alphapanda.domain.value import quickly_built
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.limits import Limits


@dataclass(frozen=True, slots=True)
class Standing:
    """A strategy as the control topic last told: the newest revision of its configuration, and whether it trades."""

    revision: int
    running: bool


class StandingUnknown(Exception):
    """An entry of a strategy revision that the control topic hasn't told of yet: wait for it, then decide."""

    def __init__(self, strategy_id: str, revision: int) -> None:
        self.strategy_id = strategy_id
        self.revision = revision
        super().__init__(f"revision {revision} of strategy {strategy_id!r} isn't known yet")


@quickly_built
@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a decision reads besides the book. Whatever is absent or None is unknown (rule 4 of the design).

    Attributes:
        market: prices and market time of one reading.
        instruments: the day's instruments.
        calendar: sessions.
        limits: what is allowed.
        trading_state: the broker's kill switch.
        standings: by strategy id.
        given_up: (strategy id, revision) whose standing was waited for long enough: their entries are refused.
    """

    market: MarketView
    instruments: InstrumentDirectory
    calendar: TradingCalendar
    limits: Limits
    trading_state: TradingState
    standings: Mapping[str, Standing]
    given_up: Collection[tuple[str, int]] = ()


@quickly_built
@dataclass(frozen=True, slots=True)
class Check:
    """An order that a signal would become.

    Attributes:
        signal: what is wanted.
        side: direction of the order.
        quantity: its units, > 0.
        effect: what it does to `position`.
        position: signed units held before it.
        instrument: None where it isn't known.
        inputs: everything else.
    """

    signal: Signal
    side: Side
    quantity: int
    effect: PositionEffect
    position: int
    instrument: Instrument | None
    inputs: Inputs

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
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule under its registered name; `reason` is the word that a refusal by it carries."""

    name: str
    reason: str
    judge: Callable[[Check], RuleResult]


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
