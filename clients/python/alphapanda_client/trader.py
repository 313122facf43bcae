"""What the client does, one JSON line a step: portfolio, quotes, an order placed twice with one request_id, square-off.

alphapanda-trader 127.0.0.1:50051
"""

from __future__ import annotations

import json
import sys
from typing import Any

from alphapanda_client.client import Client
from alphapanda_client.connection import from_environment
from alphapanda_client.decimals import to_decimal, to_rupees
from alphapanda_client.errors import PlatformError
from alphapanda_client.policy import new_request_id
from panda.common.v1.common_pb2 import SIDE_BUY
from panda.marketdata.v1.marketdata_pb2 import WatchQuotesRequest
from panda.portfolio.v1.portfolio_pb2 import GetPortfolioRequest, ListPositionsRequest
from panda.trading.v1.trading_pb2 import PlaceOrderRequest, SquareOffRequest, WatchOrdersRequest

SYMBOL = "NSE:INFY"
QUANTITY = 10
QUOTES = 3


def main() -> None:
    """Trades; ends with 1 and one line where it can't."""
    arguments = sys.argv[1:]
    if not arguments or arguments[1:]:
        sys.exit("alphapanda-trader TARGET; ALPHAPANDA_CA and ALPHAPANDA_TOKEN_FILE are read")
    try:
        with Client(from_environment(arguments[0])) as client:
            trade(client)
    except (PlatformError, ValueError, OSError) as error:
        sys.exit(str(error))


def trade(client: Client) -> None:
    """Shows the books and prices, buys, watches the fill, and sells.

    Raises:
        PlatformError: a call failed.
        ValueError: an amount is unknown.
    """
    books = client.portfolio.GetPortfolio(GetPortfolioRequest(broker="paper")).portfolio
    positions = client.portfolio.ListPositions(ListPositionsRequest(broker="paper")).positions
    _say(step="books", cash=f"{to_rupees(books.cash):.2f}", positions=len(positions))
    seen = 0
    for message in client.watch_quotes(WatchQuotesRequest(symbols=[SYMBOL])):
        for quote in message.quotes:
            seen += 1
            _say(step="quote", symbol=SYMBOL, price=f"{to_decimal(quote.last_price):.2f}")
        if seen >= QUOTES:
            break
    order = PlaceOrderRequest(
        request_id=new_request_id(), broker="paper", symbol=SYMBOL, side=SIDE_BUY, quantity=QUANTITY
    )
    first, second = (client.trading.PlaceOrder(order).order.state.order_id for _ in range(2))
    _say(step="order", order_id=first, same=first == second)
    for changed in client.watch_orders(WatchOrdersRequest(broker="paper", strategy_id="manual")):
        states = [one.state for one in changed.orders]
        if any(one.order_id == first and one.filled_quantity == QUANTITY for one in states):
            _say(step="filled", order_id=first, quantity=QUANTITY)
            break
    squared = client.trading.SquareOff(
        SquareOffRequest(
            broker="paper", strategy_id="manual", symbol=SYMBOL, reason="the trader example ends"
        )
    )
    _say(step="square-off", positions=len(squared.plan))


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
