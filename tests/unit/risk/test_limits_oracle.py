"""The rules of the account against an oracle that keeps a plain list of everything and adds it up anew each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.values import replace

from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import OrderStatus, PositionEffect
from alphapanda.domain.verdict import Approved
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.core.check import StrategyStatus

TOKENS = {"NSE:INFY": 408065, "NSE:TCS": 2953217}
WINDOW = timedelta(seconds=60)


@dataclass
class Oracle:
    """Every order let through as (when, strategy, instrument, signed units, price, filled); nothing is summed up."""

    limits: dict[str, Any]
    orders: list[tuple[datetime, str, str, int, Decimal, bool]] = field(default_factory=list)
    tripped_on: set[Any] = field(default_factory=set)

    def held(self, strategy: str | None, instrument: str) -> int:
        return sum(q for _, s, i, q, _, filled in self.orders if filled and i == instrument and s == strategy)

    def profit(self, prices: dict[str, Decimal]) -> Decimal:
        """Cash of all trades and what is left at the last prices."""
        return sum(
            (q * (prices[i] - price) for _, _, i, q, price, filled in self.orders if filled), Decimal(0)
        )

    def refuses(self, now: datetime, strategy: str, instrument: str, delta: int, prices: Any) -> set[str]:
        """Which rules let no entry of these units through."""
        failed, limits = set(), self.limits
        today = [one for one in self.orders if one[0].date() == now.date() and one[5]]
        of_strategy = [one for one in today if one[1] == strategy]
        if (
            len(today) >= limits["max_daily_trades"]
            or len(of_strategy) >= limits["max_strategy_daily_trades"]
        ):
            failed.add("daily_trades")
        recent = [one for one in self.orders if now - one[0] < WINDOW]
        if len(recent) >= limits["max_order_rate"]:
            failed.add("order_rate")
        after = {
            (s, i): abs(self.held(s, i) + (delta if (s, i) == (strategy, instrument) else 0))
            for s in ("ema-1", "other")
            for i in TOKENS
        }
        value = {key: units * prices[key[1]] for key, units in after.items()}
        if sum(value.values()) > limits["max_gross_exposure"]:
            failed.add("gross_exposure")
        if sum(v for (_, i), v in value.items() if i == instrument) > limits["max_position_value"]:
            failed.add("position_value")
        if abs(delta) * prices[instrument] > limits["max_order_value"]:
            failed.add("order_value")
        if now.date() in self.tripped_on or -self.profit(prices) >= limits["max_daily_loss"]:
            failed.add("daily_loss")
        return failed


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ema-1", "other"]),
        st.sampled_from(sorted(TOKENS)),
        st.integers(-8, 8),
        st.integers(-30, 30),
        st.sampled_from([1, 20, 59, 61]),
        st.booleans(),
    ),
    max_size=30,
)


@given(
    steps=STEPS,
    limits=st.fixed_dictionaries(
        {
            "max_daily_trades": st.integers(1, 12),
            "max_strategy_daily_trades": st.integers(1, 12),
            "max_order_rate": st.integers(1, 4),
            "max_gross_exposure": st.integers(300, 2_000).map(Decimal),
            "max_position_value": st.integers(300, 1_500).map(Decimal),
            "max_order_value": st.integers(200, 1_500).map(Decimal),
            "max_daily_loss": st.integers(20, 400).map(Decimal),
        }
    ),
)
def test_the_rules_say_what_adding_everything_up_says(new_market: Any, steps: Any, limits: Any) -> None:
    """Entries fail by exactly the rules that the oracle names; exits pass, and flips are cut to flat."""
    market = new_market()
    plain = market.inputs()
    tcs = replace(
        plain.instruments.by_id("NSE:INFY"), instrument_id="NSE:TCS", instrument_token=TOKENS["NSE:TCS"]
    )
    directory = type(plain.instruments)([*plain.instruments, tcs])
    book, oracle, now = RiskBook(), Oracle(limits), market.now
    prices = dict.fromkeys(TOKENS, Decimal(100))
    for strategy, instrument, target, change, seconds, fails in steps:
        now += timedelta(seconds=seconds)
        prices[instrument] = max(Decimal(50), prices[instrument] + change)
        view = MarketView(now, "run", {TOKENS[name]: LastPrice(price, now) for name, price in prices.items()})
        inputs = replace(
            plain,
            market=view,
            instruments=directory,
            limits=plain.limits.with_values({"order_rate_window": WINDOW, **limits}),
            strategy_statuses={
                "ema-1": StrategyStatus(3, running=True),
                "other": StrategyStatus(3, running=True),
            },
        )
        key = replace(market.key, strategy_id=strategy, instrument_id=instrument)
        held = oracle.held(strategy, instrument)
        expected = oracle.refuses(now, strategy, instrument, target - held, prices)
        if "daily_loss" in expected or -oracle.profit(prices) >= limits["max_daily_loss"]:
            oracle.tripped_on.add(now.date())
        signal = market.target(target, key=key, token=TOKENS[instrument], valid_until=now + WINDOW)
        [verdict] = book.judge(signal, inputs)
        if target == held:
            continue
        effect = PositionEffect.of(held, target - held)
        if effect is PositionEffect.OPENS:
            failed = {line.rule for line in verdict.rules if line.outcome.name == "FAILED"}
            assert failed == expected
            assert isinstance(verdict, Approved) == (not expected)
        elif effect is PositionEffect.FLIPS and expected:
            assert isinstance(verdict, Approved)
            assert verdict.quantity == abs(held)
        else:
            assert isinstance(verdict, Approved)
        if isinstance(verdict, Approved):
            units = verdict.side.sign * verdict.quantity
            status = OrderStatus.REJECTED if fails else OrderStatus.FILLED
            event = market.event(verdict, 0 if fails else verdict.quantity, status, 1, now)
            book.on_order(replace(event, average_price=prices[instrument]), inputs)
            oracle.orders.append((now, strategy, instrument, units, prices[instrument], not fails))
            if -oracle.profit(prices) >= limits["max_daily_loss"]:
                oracle.tripped_on.add(now.date())
