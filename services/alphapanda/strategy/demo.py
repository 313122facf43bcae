"""The strategies that `alphapanda up --demo` creates and starts.

They are chosen for the simulator's pace (four steps a second, three ticks a second per stock). In a new data directory the first
of them trades some five seconds after the market's open; at any later moment one trades within eight seconds in 90 of 100 cases.
All together trade about twenty times a minute: enough to watch, and few enough that brokerage isn't all of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

from panda.common.v1.common_pb2 import PRODUCT_CNC, PRODUCT_MIS, Product
from panda.strategy.v1.strategy_pb2 import CreateStrategyRequest, StartStrategyRequest

_STRATEGIES: tuple[tuple[str, str, int, int, int, Product.ValueType], ...] = (
    ("demo.bharti.quick", "NSE:BHARTIARTL", 12, 13, 5, PRODUCT_MIS),
    ("demo.reliance.quick", "NSE:RELIANCE", 12, 13, 5, PRODUCT_MIS),
    ("demo.hdfcbank.quick", "NSE:HDFCBANK", 30, 90, 10, PRODUCT_MIS),
    ("demo.infy.quick", "NSE:INFY", 30, 90, 5, PRODUCT_MIS),
    ("demo.tcs.quick", "NSE:TCS", 40, 120, 2, PRODUCT_MIS),
    ("demo.infy", "NSE:INFY", 80, 240, 25, PRODUCT_MIS),
    ("demo.reliance", "NSE:RELIANCE", 80, 240, 25, PRODUCT_MIS),
    ("demo.hdfcbank", "NSE:HDFCBANK", 80, 240, 40, PRODUCT_MIS),
    ("demo.tcs.delivery", "NSE:TCS", 60, 180, 10, PRODUCT_CNC),
    ("demo.maruti", "NSE:MARUTI", 80, 240, 3, PRODUCT_MIS),
)


_OPTING_IN = frozenset(
    {"demo.bharti.quick", "demo.reliance.quick", "demo.hdfcbank.quick", "demo.infy.quick", "demo.tcs.quick", "demo.maruti"}
)  # fmt: skip
"""Those that opt in to a live broker: no two trade one instrument, because the account's position would be that of both."""


def demo_requests(
    brokers: Sequence[str] = (),
) -> tuple[tuple[CreateStrategyRequest, StartStrategyRequest], ...]:
    """The requests for StrategyService, to be sent in order; repeating them changes nothing.

    Args:
        brokers: brokers beside paper that some of the strategies opt in to.
    """
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
                brokers=brokers if name in _OPTING_IN else (),
            ),
            StartStrategyRequest(request_id=f"demo-start-{name}", strategy_id=name),
        )
        for name, symbol, fast, slow, quantity, product in _STRATEGIES
    )
