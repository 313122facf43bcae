"""Terms on the command line: the type follows from the prices, and a table shows what isn't at the market."""

from __future__ import annotations

from decimal import Decimal

import pytest
from click.testing import CliRunner
from google.type.decimal_pb2 import Decimal as WireDecimal

from alphapanda.commands import orders as commands
from alphapanda.commands.order_tables import terms
from panda.common.v1 import common_pb2 as common
from panda.events.v1.orders_pb2 import OrderState
from panda.trading.v1.trading_pb2 import Order, PlaceOrderRequest, PlaceOrderResponse


@pytest.fixture
def placed(monkeypatch) -> list[PlaceOrderRequest]:
    """The requests that the command sends."""
    sent: list[PlaceOrderRequest] = []

    class Trading:
        def PlaceOrder(self, request: PlaceOrderRequest) -> PlaceOrderResponse:  # noqa: N802 - the contract's name
            sent.append(request)
            return PlaceOrderResponse()

    class Services:
        trading = Trading()

    monkeypatch.setattr(commands, "ask", lambda _, call: call(Services()))
    return sent


@pytest.mark.parametrize(
    ("options", "order_type", "limit", "trigger"),
    [
        ((), common.ORDER_TYPE_MARKET, "", ""),
        (("--limit", "1500.05"), common.ORDER_TYPE_LIMIT, "1500.05", ""),
        (("--trigger", "1490"), common.ORDER_TYPE_SL_M, "", "1490"),
        (("--limit", "1489", "--trigger", "1490"), common.ORDER_TYPE_SL, "1489", "1490"),
        (("--type", "sl-m", "--trigger", "1e3"), common.ORDER_TYPE_SL_M, "", "1000"),
    ],
)
def test_the_type_follows_from_the_prices(placed, options, order_type, limit, trigger) -> None:
    """Without --type a limit makes a LIMIT order, a trigger an SL-M, both an SL."""
    result = CliRunner().invoke(commands.orders, ["place", "buy", "NSE:INFY", "1", "--json", *options])
    assert result.exit_code == 0, result.output
    (request,) = placed
    assert (request.order_type, request.validity) == (order_type, common.VALIDITY_DAY)
    assert (request.limit_price.value, request.trigger_price.value) == (limit, trigger)


@pytest.mark.parametrize("price", ["0", "-1", "abc", "nan", "1,500"])
def test_a_price_that_is_none_is_refused(placed, price) -> None:
    """What isn't a number greater than 0 is refused with the option's name, before anything is sent."""
    result = CliRunner().invoke(commands.orders, ["place", "buy", "NSE:INFY", "1", "--limit", price])
    assert result.exit_code == 2
    assert "--limit" in result.output
    assert placed == []


def test_a_table_shows_terms() -> None:
    """Type, prices and validity are shown unless the order is at the market for the day."""
    state = OrderState(order_type=common.ORDER_TYPE_MARKET, validity=common.VALIDITY_DAY)
    assert terms(Order(state=state)) == ""
    state.validity = common.VALIDITY_IOC
    assert terms(Order(state=state)) == "MARKET, IOC"
    state = OrderState(
        order_type=common.ORDER_TYPE_SL,
        limit_price=WireDecimal(value=str(Decimal(1501))),
        trigger_price=WireDecimal(value="1500"),
        trigger_pending=True,
    )
    assert terms(Order(state=state)) == "SL 1,501.00 from 1,500.00 on (waits for its trigger)"
