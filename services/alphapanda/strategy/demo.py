"""The strategies that `alphapanda up --demo` creates and starts.

They are chosen for the simulator's pace (four steps a second, three ticks a second per stock). Starting at any moment, one of the
`quick` strategies trades within six seconds in 95 of 100 cases (measured over 80 minutes of the simulated day, every half
second). All together trade about forty times a minute; the quick ones trade small quantities, as each trade costs a commission.
"""

from __future__ import annotations

from panda.common.v1.common_pb2 import PRODUCT_CNC, PRODUCT_MIS, Product
from panda.strategy.v1.strategy_pb2 import CreateStrategyRequest, StartStrategyRequest

_STRATEGIES: tuple[tuple[str, str, int, int, int, Product.ValueType], ...] = (
    ("demo.bharti.quick", "NSE:BHARTIARTL", 7, 13, 5, PRODUCT_MIS),
    ("demo.hdfcbank.quick", "NSE:HDFCBANK", 7, 13, 10, PRODUCT_MIS),
    ("demo.infy.quick", "NSE:INFY", 7, 13, 5, PRODUCT_MIS),
    ("demo.tcs.quick", "NSE:TCS", 7, 13, 2, PRODUCT_MIS),
    ("demo.infy", "NSE:INFY", 30, 90, 25, PRODUCT_MIS),
    ("demo.reliance", "NSE:RELIANCE", 40, 120, 25, PRODUCT_MIS),
    ("demo.hdfcbank", "NSE:HDFCBANK", 40, 120, 40, PRODUCT_MIS),
    ("demo.tcs.delivery", "NSE:TCS", 30, 90, 10, PRODUCT_CNC),
    ("demo.maruti", "NSE:MARUTI", 60, 180, 3, PRODUCT_MIS),
)


def demo_requests() -> tuple[tuple[CreateStrategyRequest, StartStrategyRequest], ...]:
    """The requests for StrategyService, to be sent in order; repeating them changes nothing."""
    return tuple(
        (
            CreateStrategyRequest(
                request_id=f"demo-create-{name}",
                strategy_id=name,
                strategy_type="ema_cross",
                parameters={"fast": str(fast), "slow": str(slow), "interval": "tick"},
                symbols=[symbol],
                quantity=quantity,
                product=product,
            ),
            StartStrategyRequest(request_id=f"demo-start-{name}", strategy_id=name),
        )
        for name, symbol, fast, slow, quantity, product in _STRATEGIES
    )
