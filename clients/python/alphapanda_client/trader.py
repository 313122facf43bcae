"""What the client does, one JSON line a step: portfolio, quotes, an order placed twice with one request_id, square-off.

alphapanda-trader 127.0.0.1:50051 NSE:INFY
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

from alphapanda_client.client import Client
from alphapanda_client.connection import from_environment
from alphapanda_client.decimals import to_decimal, to_rupees
from alphapanda_client.errors import PlatformError
from alphapanda_client.policy import new_request_id
from panda.common.v1.common_pb2 import SIDE_BUY, OrderStatus
from panda.events.v1.orders_pb2 import FailureReason
from panda.marketdata.v1.marketdata_pb2 import WatchQuotesRequest
from panda.portfolio.v1.portfolio_pb2 import GetPortfolioRequest, ListPositionsRequest
from panda.trading.v1.trading_pb2 import Order, PlaceOrderRequest, SquareOffRequest, WatchOrdersRequest

QUANTITY = 10
QUOTES = 3
PATIENCE_SECONDS = float(os.environ.get("ALPHAPANDA_PATIENCE_SECONDS", "60"))
ENDED_UNFILLED: Final = (
    OrderStatus.ORDER_STATUS_CANCELLED,
    OrderStatus.ORDER_STATUS_REJECTED,
    OrderStatus.ORDER_STATUS_FAILED,
)


class NotFilled(Exception):
    """The order ended in another way."""


def main() -> None:
    """Trades; ends with 1 and one line where it can't."""
    arguments = sys.argv[1:]
    if len(arguments) not in {1, 2}:
        sys.exit("alphapanda-trader TARGET [SYMBOL]; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read")
    target, symbol = (*arguments, "NSE:INFY")[:2]
    try:
        with Client(from_environment(target)) as client:
            client.ready()
            trade(client, symbol)
    except (PlatformError, NotFilled, ValueError, OSError) as error:
        sys.exit(str(error))


def trade(client: Client, symbol: str) -> None:
    """Shows the books and prices, buys, watches the fill, and sells.

    Raises:
        PlatformError: a call failed.
        NotFilled: the order failed.
        ValueError: an amount is unknown.
    """
    books = client.portfolio.GetPortfolio(GetPortfolioRequest(broker="paper"), PATIENCE_SECONDS).portfolio
    positions = client.portfolio.ListPositions(
        ListPositionsRequest(broker="paper"), PATIENCE_SECONDS
    ).positions
    _say(step="books", cash=f"{to_rupees(books.cash):.2f}", positions=len(positions))
    seen = 0
    for message in client.watch_quotes(WatchQuotesRequest(symbols=[symbol]), PATIENCE_SECONDS):
        for quote in message.quotes:
            seen += 1
            _say(step="quote", symbol=symbol, price=f"{to_decimal(quote.last_price):.2f}")
        if seen >= QUOTES:
            break
    order = PlaceOrderRequest(
        request_id=new_request_id(), broker="paper", symbol=symbol, side=SIDE_BUY, quantity=QUANTITY
    )
    first, second = (
        client.trading.PlaceOrder(order, PATIENCE_SECONDS).order.state.order_id for _ in range(2)
    )
    _say(step="order", order_id=first, same=first == second)
    _watch_until_filled(client, first)
    squared = client.trading.SquareOff(
        SquareOffRequest(
            broker="paper", strategy_id="manual", symbol=symbol, reason="the trader example ends"
        ),
        PATIENCE_SECONDS,
    )
    _say(step="square-off", positions=len(squared.plan))


def _watch_until_filled(client: Client, order_id: str) -> None:
    request = WatchOrdersRequest(broker="paper", strategy_id="manual")
    for changed in client.watch_orders(request, PATIENCE_SECONDS):
        for order in changed.orders:
            if order.state.order_id == order_id and _has_filled(order):
                _say(step="filled", order_id=order_id, quantity=QUANTITY)
                return


def _has_filled(order: Order) -> bool:
    order_id, status = order.state.order_id, order.state.status
    if status in ENDED_UNFILLED:
        reason = FailureReason.Name(order.failure_reason)
        _say(
            step="failed",
            order_id=order_id,
            status=OrderStatus.Name(status),
            reason=reason,
            message=order.message,
        )
        raise NotFilled(f"order {order_id} wasn't filled: {order.message}")
    return status == OrderStatus.ORDER_STATUS_FILLED


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
