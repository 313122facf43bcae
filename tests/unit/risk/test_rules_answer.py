from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.values import replace

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import PositionEffect, Product, Side, TradingState
from alphapanda.domain.verdict import RuleOutcome, RuleResult
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import Check, Inputs, LiveArming, StrategyRevisionUnknown, StrategyStatus
from alphapanda.risk.core.day import WHOLE_ACCOUNT, DayCounters
from alphapanda.risk.core.limit import Limit, Unit
from alphapanda.risk.core.named_limits import NAMED_LIMITS
from alphapanda.risk.core.position import OrderProgress, PositionState, TradeHistory
from alphapanda.risk.core.rules import RULES, position_value

YESTERDAYS_TOKEN = 77


def _values(limit: Limit) -> st.SearchStrategy:
    number = st.integers(0, 10)
    if limit.unit is Unit.SECONDS:
        return st.builds(lambda n: timedelta(seconds=n + 1), number)
    return st.builds(Decimal, st.integers(1, 10**6)) if limit.unit is Unit.RUPEES else number


@st.composite
def checks(draw: st.DrawFn, market) -> Check:
    """An order in a state of the world in which anything may be missing."""
    infy = market.inputs().instruments.by_id("NSE:INFY")
    known = draw(st.sampled_from([(), (infy,), (replace(infy, instrument_token=YESTERDAYS_TOKEN),)]))
    now = draw(st.sampled_from([None, market.now, market.now.replace(year=2031), market.now.replace(hour=3)]))
    prices = {
        token: LastPrice(draw(st.sampled_from([Decimal(0), Decimal("0.05"), Decimal(1500)])), market.now)
        for token in draw(st.sets(st.sampled_from([infy.instrument_token, YESTERDAYS_TOKEN])))
    }
    values = {
        limit.name: draw(st.none() | _values(limit)) for limit in NAMED_LIMITS.values() if draw(st.booleans())
    }
    plain = market.inputs()
    inputs = Inputs(
        MarketView(now.astimezone(UTC) if now else None, "run", prices),
        InstrumentDirectory(known),
        plain.calendar,
        plain.limits.with_values(values),
        draw(st.sampled_from(TradingState)),
        draw(st.sampled_from([{}, {"ema-1": StrategyStatus(3, running=True)}])),
        draw(st.sampled_from([(), {("ema-1", 3)}])),
        strategy_switches=draw(st.sampled_from([None, {"ema-1": TradingState.REDUCING}])),
        arming=draw(st.sampled_from([None, LiveArming(), LiveArming(market.now.date())])),
    )
    key = replace(market.key, product=draw(st.sampled_from(Product)))
    moments: st.SearchStrategy[datetime | None] = st.sampled_from([None, market.now])
    states = [
        PositionState(
            replace(key, strategy_id=name),
            quantity,
            draw(moments),
            draw(st.sampled_from([None, OrderProgress(f"o-{name}", key, Side.BUY, 5)])),
            None,
            TradeHistory(
                Decimal(draw(st.integers(0, 1))),
                losses=draw(st.integers(0, 3)),
                lost_at=draw(moments),
                last_request=draw(st.sampled_from(["", "target 5"])),
                last_request_at=draw(moments),
            ),
        )
        for name, quantity in (("ema-1", draw(st.integers(-9, 9))), ("other", draw(st.integers(-9, 9))))
    ]
    days = {
        (key.broker, key.account, whose): DayCounters(
            market.now.date(), trades=draw(st.integers(0, 9)), tripped=draw(st.sampled_from(["", "lost"]))
        )
        for whose in draw(st.sets(st.sampled_from([WHOLE_ACCOUNT, "ema-1"])))
    }
    delta = draw(st.integers(-20, 20).filter(bool))
    held = states[0].quantity
    return Check(
        market.target(5, key=key, valid_until=market.now + timedelta(hours=draw(st.integers(-1, 1)))),
        Side.of(delta),
        abs(delta),
        PositionEffect.of(held, delta),
        held,
        inputs.instruments.by_id(key.instrument_id),
        inputs,
        inputs.limits,
        states[0],
        RiskBook(states, days=days),
    )


@given(data=st.data())
@settings(max_examples=150)
def test_every_rule_answers_on_every_input(new_market, data: st.DataObject) -> None:
    """Whatever is missing, unknown or of another day: a result under its name. One may ask for time, by its own error."""
    check = data.draw(checks(new_market()))
    for rule in RULES:
        try:
            result = rule.judge(check)
        except StrategyRevisionUnknown:
            assert rule.name == "strategy_state"
            assert check.effect.is_entry
            continue
        assert isinstance(result, RuleResult)
        assert result.rule == rule.name
        assert result.outcome in RuleOutcome
        says_why = result.outcome in (RuleOutcome.FAILED, RuleOutcome.CLAMPED, RuleOutcome.WAIVED)
        assert bool(result.message) == says_why or result.outcome is RuleOutcome.NOT_APPLICABLE
        if rule.largest_quantity is not None:
            assert rule.largest_quantity(check) >= 0


def test_an_instrument_with_a_new_token_has_a_position_value_that_is_unknown(market) -> None:
    """Another strategy holds it, the signal has yesterday's token, and there is no price of today's: the entry fails."""
    infy = market.inputs().instruments.by_id("NSE:INFY")
    renamed = InstrumentDirectory([replace(infy, instrument_token=YESTERDAYS_TOKEN)])
    plain = market.inputs()
    inputs = replace(
        plain, instruments=renamed, limits=plain.limits.with_values({"max_position_value": Decimal(10**6)})
    )
    other = PositionState(replace(market.key, strategy_id="other"), 10)
    mine = PositionState(market.key)
    check = Check(
        market.target(5), Side.BUY, 5, PositionEffect.OPENS, 0, None, inputs, inputs.limits, mine, RiskBook([mine, other])
    )  # fmt: skip
    result = position_value.judge(check)
    assert (result.outcome, result.observed) == (RuleOutcome.FAILED, "unknown")
