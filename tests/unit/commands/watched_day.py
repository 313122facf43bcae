"""What services answer on a small day: two strategies, their positions, a few orders, six services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal

from panda.common.v1.common_pb2 import (
    ORDER_STATUS_FILLED,
    SIDE_BUY,
    SIDE_SELL,
    Money,
)
from panda.events.v1.control_pb2 import STRATEGY_STATE_RUNNING, STRATEGY_STATE_STOPPED
from panda.events.v1.orders_pb2 import OrderState
from panda.ops.v1.ops_pb2 import SERVICE_STATE_SERVING, ConsumerStatus, GetStatusResponse, ServiceStatus
from panda.portfolio.v1.portfolio_pb2 import (
    Portfolio,
    Position,
    Profit,
    StrategyProfit,
    WatchPortfolioResponse,
)
from panda.risk.v1.risk_pb2 import ListVerdictsResponse, Verdict
from panda.strategy.v1.strategy_pb2 import ListStrategiesResponse, Strategy
from panda.trading.v1.trading_pb2 import Order

SERVICES = ("instruments", "marketdata", "strategy", "risk", "trading", "portfolio")
OPENED = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)


def stamp(minutes: float) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(OPENED + timedelta(minutes=minutes))
    return made


def inr(value: str) -> Money:
    return Money(currency_code="INR", amount=Decimal(value=value))


def order(number: int, *, status: int = ORDER_STATUS_FILLED, message: str = "") -> Order:
    """An order made `number` minutes after the opening; odd ones sell."""
    return Order(
        state=OrderState(
            order_id=f"order-{number}",
            strategy_id="ema.infy",
            side=SIDE_SELL if number % 2 else SIDE_BUY,
            quantity=25,
            filled_quantity=25 if status == ORDER_STATUS_FILLED else 0,
            status=status,
            average_price=Decimal(value="1500.5"),
            market_time=stamp(number),
        ),
        symbol="NSE:INFY",
        created_at=stamp(number),
        message=message,
    )


def status(handled: int, *, lag: int = 0) -> GetStatusResponse:
    """All services serve and each has handled so many records; strategies saw as many frames."""
    consumer = ConsumerStatus(processed=handled, lag=lag)
    return GetStatusResponse(
        services=[
            ServiceStatus(
                service=name,
                state=SERVICE_STATE_SERVING,
                consumers=[consumer] if name in SERVICES[2:] else [],
                counters={"frames": handled} if name == "strategy" else {},
            )
            for name in SERVICES
        ]
    )


def portfolio(revision: int, *positions: Position) -> WatchPortfolioResponse:
    profit = Profit(net_pnl=inr("-12.5"))
    return WatchPortfolioResponse(
        revision=revision,
        portfolio=Portfolio(
            broker="paper",
            account="default",
            equity=inr("999987.5"),
            cash=inr("900000"),
            day_pnl=inr("-12.5"),
            profit=profit,
            strategies=[StrategyProfit(strategy_id="ema.infy", profit=profit, open_positions=1)],
            positions=positions,
            revision=revision,
        ),
    )


def position(strategy_id: str, symbol: str, quantity: int) -> Position:
    return Position(
        strategy_id=strategy_id,
        symbol=symbol,
        quantity=quantity,
        average_price=Decimal(value="1500.5"),
        last_price=Decimal(value="1500"),
        profit=Profit(unrealised_pnl=inr("-12.5")),
    )


def strategies(*names: str) -> ListStrategiesResponse:
    """Strategies on INFY; those named "stopped…" are."""
    return ListStrategiesResponse(
        strategies=[
            Strategy(
                strategy_id=name,
                strategy_type="ema_cross",
                symbols=["NSE:INFY"],
                state=STRATEGY_STATE_STOPPED if name.startswith("stopped") else STRATEGY_STATE_RUNNING,
            )
            for name in names
        ]
    )


def refusals(*messages: str) -> ListVerdictsResponse:
    """Refused signals on ITC, newest first, a minute apart, and one that waits."""
    waits = Verdict(signal_id="waits", waiting=True, message="waits for the open order")
    return ListVerdictsResponse(
        verdicts=[waits]
        + [
            Verdict(
                signal_id=message,
                strategy_id="rsi.itc",
                instrument_id="NSE:ITC",
                message=message,
                decided_at=stamp(len(messages) - place),
            )
            for place, message in enumerate(messages)
        ]
    )
