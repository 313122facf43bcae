"""A view that was told of a small day."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from watched_day import order, portfolio, position, refusals, stamp, status, strategies

from alphapanda.commands.live.view import View
from panda.common.v1.common_pb2 import ORDER_STATUS_FAILED, TRADING_STATE_ACTIVE
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusResponse
from panda.ops.v1.ops_pb2 import ListConsumerLagResponse
from panda.risk.v1.risk_pb2 import GetKillSwitchResponse, KillSwitch
from panda.trading.v1.trading_pb2 import WatchOrdersResponse


@pytest.fixture
def view() -> View:
    """What `alphapanda watch` knows a few seconds into that day."""
    made = View(
        [
            "market",
            "services",
            "lag",
            "quotes",
            "strategies",
            "verdicts",
            "kill switch",
            "portfolio",
            "orders",
        ],
        "Ctrl-C ends it",
    )
    market = GetMarketStatusResponse(
        exchange="NSE",
        open=True,
        market_time=stamp(3),
        closes_at=stamp(375),
        feed="sim",
        simulated=True,
    )
    made.fold("market", market, 1.0)
    made.fold("services", status(100), 1.0)
    made.fold("lag", ListConsumerLagResponse(), 1.0)
    made.fold("strategies", strategies("ema.infy", "stopped.rsi"), 1.0)
    switch = KillSwitch(broker="paper", state=TRADING_STATE_ACTIVE)
    made.fold("kill switch", GetKillSwitchResponse(kill_switch=switch), 1.0)
    made.fold("portfolio", portfolio(3, position("ema.infy", "NSE:INFY", 25)), 1.0)
    made.fold("verdicts", refusals("2 lots are too many"), 1.0)
    failed = order(1, status=ORDER_STATUS_FAILED, message="no price yet")
    made.fold("orders", WatchOrdersResponse(revision=3, snapshot=True, orders=[order(0), failed]), 1.0)
    made.fold("orders", WatchOrdersResponse(revision=4, orders=[order(2)]), 2.0)
    return made
