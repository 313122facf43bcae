"""The rule that holds entries of live accounts back until a person has armed the account for the exchange's day."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from tests.values import replace

from alphapanda.domain.order import OrderStatus
from alphapanda.domain.verdict import Approved, Refused, RuleOutcome
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Inputs, LiveArming
from alphapanda.risk.core.position import PositionState
from alphapanda.risk.core.rules.arming import NAME

TODAY, YESTERDAY, TOMORROW = date(2026, 3, 4), date(2026, 3, 3), date(2026, 3, 5)
REQUIRED = {"max_order_value": Decimal(10**7), "max_daily_loss": Decimal(5000), "max_daily_trades": 50}


def _inputs(market, day: date | None = TODAY, *, live: bool = True, known: bool = True, **limits) -> Inputs:
    plain = market.inputs() if known else market.inputs(now=None)
    values = plain.limits.with_values({**REQUIRED, **limits})
    return replace(plain, limits=values, arming=LiveArming(day) if live else None)


def _judged(market, inputs: Inputs, target: int, held: int = 0):
    book = RiskBook([PositionState(market.key, held, market.now)] if held else [])
    [verdict] = book.judge(market.target(target), inputs)
    [result] = [one for one in verdict.rules if one.rule == NAME] or [None]
    return verdict, result


def test_an_armed_account_takes_entries(market) -> None:
    """Armed for the market's day, with all its limits, the account trades."""
    verdict, result = _judged(market, _inputs(market), 10)
    assert isinstance(verdict, Approved)
    assert (result.outcome, result.limit) == (RuleOutcome.PASSED, f"armed for {TODAY}")


@pytest.mark.parametrize("day", [None, YESTERDAY, TOMORROW])
def test_an_account_that_is_not_armed_for_the_day_only_reduces(market, day: date | None) -> None:
    """An arming is for one day: yesterday's has ended, and an entry is refused as NOT_ARMED with the command that arms."""
    verdict, _ = _judged(market, _inputs(market, day), 10)
    assert isinstance(verdict, Refused)
    assert verdict.reason == "NOT_ARMED"
    assert "alphapanda live arm --broker paper --account default" in verdict.message
    assert str(TODAY) in verdict.message


def test_exits_pass_and_a_flip_is_cut_to_flat_while_not_armed(market) -> None:
    """What reduces passes at once; a flip becomes the exit that it begins with."""
    inputs = _inputs(market, None)
    closing, _ = _judged(market, inputs, 0, held=10)
    flip, result = _judged(market, inputs, -10, held=10)
    assert isinstance(closing, Approved)
    assert isinstance(flip, Approved)
    assert (flip.quantity, result.outcome) == (10, RuleOutcome.CLAMPED)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_live_account_without_a_required_limit_only_reduces(market, name: str) -> None:
    """Largest order value, daily loss and orders a day are needed by an armed account, too."""
    verdict, _ = _judged(market, _inputs(market, **{name: None}), 10)
    assert isinstance(verdict, Refused)
    assert verdict.reason == "NOT_ARMED"
    assert name in verdict.message
    closing, _ = _judged(market, _inputs(market, **{name: None}), 0, held=10)
    assert isinstance(closing, Approved)


def test_an_unknown_day_is_no_armed_day(market) -> None:
    """While market time is unknown no entry passes, whatever day the account was armed for; exits are waived through."""
    verdict, result = _judged(market, _inputs(market, known=False), 10)
    assert isinstance(verdict, Refused)
    assert result.outcome is RuleOutcome.FAILED
    _, waived = _judged(market, _inputs(market, known=False), 0, held=10)
    assert waived.outcome is RuleOutcome.WAIVED


def test_a_simulated_broker_needs_no_arming(market) -> None:
    """The rule isn't in the verdicts on a simulated broker's signals."""
    verdict, result = _judged(market, _inputs(market, None, live=False), 10)
    assert isinstance(verdict, Approved)
    assert result is None


def test_a_target_that_waited_is_decided_by_the_arming_of_its_time(market) -> None:
    """A target that waits for an open order is refused if the account was disarmed before that order ended."""
    book = RiskBook()
    [first] = book.judge(market.target(10), _inputs(market))
    assert isinstance(first, Approved)
    assert book.judge(market.target(20), _inputs(market)) == []
    [second] = book.on_order(market.event(first, 10, OrderStatus.FILLED, 1), _inputs(market, None))
    assert isinstance(second, Refused)
    assert second.reason == "NOT_ARMED"
