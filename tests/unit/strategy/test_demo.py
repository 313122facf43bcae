"""What the demo creates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from alphapanda.contract.validation import violations
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.instrument import Instrument, InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.routing import ExecutionRouter
from alphapanda.marketdata.core.simulator import SimulatedDay, stocks_of_day
from alphapanda.strategy.core.config import StrategyConfig, StrategyInstrument, StrategyState
from alphapanda.strategy.core.host import StrategyHost
from alphapanda.strategy.demo import demo_requests

CALENDAR = load_nse_calendar()
PRICES = {"BHARTIARTL": 2110, "INFY": 1520, "RELIANCE": 1480, "HDFCBANK": 1000, "TCS": 3120, "MARUTI": 15800}
INSTRUMENTS = [
    Instrument(f"NSE:{name}", token, "NSE", name, name, "NSE", "EQ", Decimal("0.05"), 1, 0, "NSE_EQ")
    for token, name in enumerate(PRICES, start=1)
]


def test_the_demo_is_a_set_of_valid_commands() -> None:
    """Each request keeps the contract's rules, each strategy has a name of its own and is started."""
    pairs = demo_requests()
    assert not [broken for pair in pairs for request in pair for broken in violations(request)]
    assert len({create.strategy_id for create, _ in pairs}) == len(pairs) == 10
    assert all(create.strategy_id == start.strategy_id for create, start in pairs)


def test_no_two_strategies_trade_one_instrument_at_a_live_broker() -> None:
    """Its position is the account's: one strategy's exit would be the other's entry."""
    live = [create for create, _ in demo_requests(("zerodha",)) if create.brokers]
    assert len(live) == 6
    assert len({symbol for create in live for symbol in create.symbols}) == len(live)
    assert not [create for create, _ in demo_requests() if create.brokers]


@pytest.mark.parametrize("day", [date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 25)])
def test_the_demo_trades_soon_and_then_now_and_then(day) -> None:
    """On the simulated market the first signal comes within 6 s of the open, then 16 to 28 a minute."""
    directory = InstrumentDirectory(INSTRUMENTS)
    host = StrategyHost(directory, CALENDAR, ExecutionRouter(("paper",)))
    for create, _ in demo_requests():
        instrument = directory.require_symbol(create.symbols[0], "symbols")
        host.configure(
            StrategyConfig(
                create.strategy_id, 2, StrategyState.RUNNING, create.strategy_type, dict(create.parameters),
                (StrategyInstrument(instrument.instrument_id, instrument.instrument_token),), (), "default",
                create.quantity, Product(create.product), 60,
            )
        )  # fmt: skip
    prices = {each.instrument_token: PRICES[each.tradingsymbol] * 100 for each in INSTRUMENTS}
    market = SimulatedDay(7, day, stocks_of_day(CALENDAR, day, INSTRUMENTS, prices), 250_000_000)
    signals = []
    for number in range(1, 4 * 60 * 5):
        time, ticks = market.step(number)[:2]
        columns = [[tick[place] for tick in ticks] for place in range(3)]
        signals += host.on_frame(Frame("sim", 0, number, time, 100, *columns))
    opened = CALENDAR.sessions(day, "NSE_EQ")[0].open
    assert (signals[0].market_time - opened).total_seconds() < 6
    assert 16 <= len(signals) / 5 <= 28
