"""`alphapanda orders`: lists orders, places and changes them, squares off positions."""

from __future__ import annotations

from decimal import Decimal

import click
from rich.console import RenderableType
from rich.text import Text

from alphapanda.commands.asking import (
    ListsByDefault,
    ask,
    asks,
    even_if_unknown,
    new_request_id,
    page,
    pages,
    show,
)
from alphapanda.commands.console import warn
from alphapanda.commands.finding import Target
from alphapanda.commands.order_changing import cancel_all_orders, cancel_order, modify_order
from alphapanda.commands.order_protecting import list_protections, unprotect
from alphapanda.commands.order_tables import fills_table, orders_table
from alphapanda.commands.prices import RUPEES, wire
from alphapanda.commands.tables import row, side, table
from alphapanda.commands.wording import count, word
from panda.common.v1.common_pb2 import OrderStatus, OrderType, Product, Protection, Side, Validity
from panda.portfolio.v1.portfolio_pb2 import ListFillsRequest
from panda.trading.v1.trading_pb2 import (
    GetOrderRequest,
    ListOrdersRequest,
    PlaceOrderRequest,
    SquareOffLine,
    SquareOffRequest,
    SquareOffResponse,
)

STATUSES = [name.removeprefix("ORDER_STATUS_").lower() for name in OrderStatus.keys()[1:]]


@click.group(cls=ListsByDefault)
def orders() -> None:
    """Show orders and fills, place, modify and cancel orders, square off positions."""


@orders.command("list")
@click.option("--broker", default="", help="only this broker's")
@click.option("--account", default="", help="only this account's")
@click.option("--strategy", default="", help='only this strategy\'s; "manual" for yours')
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="only orders with this status; may be repeated",
)
@click.option("--ids", "with_ids", is_flag=True, help="show their ids")
@pages
@asks
def list_orders(
    broker: str,
    account: str,
    strategy: str,
    statuses: tuple[str, ...],
    page_size: int,
    page_token: str,
    target: Target,
    *,
    with_ids: bool,
    as_json: bool,
) -> None:
    """List orders, newest first, with their outcome."""
    request = ListOrdersRequest(
        broker=broker,
        account=account,
        strategy_id=strategy,
        statuses=[OrderStatus.Value(f"ORDER_STATUS_{status.upper()}") for status in statuses],
        page_size=page_size,
        page_token=page_token,
    )
    answer = ask(target, lambda services: services.trading.ListOrders(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(
            orders_table(answer.orders, with_ids=with_ids) if answer.orders else "no orders",
            answer.next_page_token,
        ),
    )


@orders.command("show")
@click.argument("order_id")
@asks
def show_order(order_id: str, target: Target, *, as_json: bool) -> None:
    """Show one order."""
    answer = ask(target, lambda services: services.trading.GetOrder(GetOrderRequest(order_id=order_id)))
    show(answer, as_json=as_json, table=lambda: orders_table([answer.order], with_ids=True))


@orders.command("fills")
@click.argument("order_id", required=False, default="")
@click.option("--broker", default="", help="[default: paper]")
@click.option("--account", default="", help="[default: default]")
@click.option("--strategy", default="", help='only this strategy\'s; "manual" for yours')
@pages
@asks
def list_fills(
    order_id: str,
    broker: str,
    account: str,
    strategy: str,
    page_size: int,
    page_token: str,
    target: Target,
    *,
    as_json: bool,
) -> None:
    """List fills, of an order or of all, newest first, with their charges by line."""
    request = ListFillsRequest(
        broker=broker,
        account=account,
        strategy_id=strategy,
        order_id=order_id,
        page_size=page_size,
        page_token=page_token,
    )
    answer = ask(target, lambda services: services.portfolio.ListFills(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: page(fills_table(answer.fills) if answer.fills else "no fills", answer.next_page_token),
    )


@orders.command("place")
@click.argument("direction", metavar="buy|sell", type=click.Choice(["buy", "sell"]))
@click.argument("symbol")
@click.argument("quantity", type=click.IntRange(1, 2**63 - 1))
@click.option("--product", type=click.Choice(["MIS", "CNC", "NRML"]), default="MIS", show_default=True)
@click.option(
    "--type",
    "order_type",
    type=click.Choice(["MARKET", "LIMIT", "SL", "SL-M"], case_sensitive=False),
    help="[default: by the prices given]",
)
@click.option(
    "--limit", "limit_price", type=RUPEES, help="limit price in rupees: LIMIT, or SL with --trigger"
)
@click.option(
    "--trigger", "trigger_price", type=RUPEES, help="trigger price in rupees: SL-M, or SL with --limit"
)
@click.option("--ioc", is_flag=True, help="cancel at once what doesn't fill at once")
@click.option("--stop-loss", type=RUPEES, help="price in rupees of a stop that rests from its first fill on")
@click.option("--take-profit", "take_at", type=RUPEES, help="price in rupees at which the profit is taken")
@click.option(
    "--trail", type=RUPEES, help="rupees by which the stop follows the best price; with --stop-loss"
)
@click.option("--broker", default="", help="[default: paper]")
@click.option("--account", default="", help="[default: default]")
@click.option("--request-id", help="idempotency key: the same one places one order  [default: a new one]")
@even_if_unknown
@asks
def place_order(
    direction: str,
    symbol: str,
    quantity: int,
    product: str,
    order_type: str | None,
    limit_price: Decimal | None,
    trigger_price: Decimal | None,
    stop_loss: Decimal | None,
    take_at: Decimal | None,
    trail: Decimal | None,
    broker: str,
    account: str,
    request_id: str | None,
    target: Target,
    *,
    ioc: bool,
    even_if_unknown: bool,
    as_json: bool,
) -> None:
    """Place an order, such as `buy NSE:INFY 10 --limit 1500`; risk decides on it as on any order.

    Without a price it is a MARKET order. With --stop-loss and --take-profit a stop rests from its first fill on and a target stands
    by, of which one cancels the other; `orders protections` shows them.
    """
    if order_type is None:
        order_type = ("MARKET", "LIMIT", "SL-M", "SL")[
            (limit_price is not None) + 2 * (trigger_price is not None)
        ]
    request = PlaceOrderRequest(
        request_id=request_id or new_request_id(),
        broker=broker,
        account=account,
        symbol=symbol,
        side=Side.Value(f"SIDE_{direction.upper()}"),
        quantity=quantity,
        product=Product.Value(f"PRODUCT_{product}"),
        order_type=OrderType.Value(f"ORDER_TYPE_{order_type.upper().replace('-', '_')}"),
        validity=Validity.VALIDITY_IOC if ioc else Validity.VALIDITY_DAY,
        limit_price=wire(limit_price),
        trigger_price=wire(trigger_price),
        protection=_protection(stop_loss, take_at, trail),
        even_if_unknown=even_if_unknown,
    )
    answer = ask(target, lambda services: services.trading.PlaceOrder(request))
    show(answer, as_json=as_json, table=lambda: orders_table([answer.order], with_ids=True))


@orders.command("square-off")
@click.option("--strategy", default="", help='only this strategy\'s positions; "manual" for yours')
@click.option("--symbol", default="", help="only this instrument's, NSE:INFY")
@click.option("--broker", default="", help="only this broker's")
@click.option("--account", default="", help="only this account's")
@click.option("--reason", default="", help="why, for the record")
@even_if_unknown
@asks
def square_off(
    strategy: str,
    symbol: str,
    broker: str,
    account: str,
    reason: str,
    target: Target,
    *,
    even_if_unknown: bool,
    as_json: bool,
) -> None:
    """Close the positions of a strategy, an instrument or a broker. It stops no strategy."""
    request = SquareOffRequest(
        request_id=new_request_id(),
        strategy_id=strategy,
        symbol=symbol,
        broker=broker,
        account=account,
        reason=reason,
        even_if_unknown=even_if_unknown,
    )
    answer = ask(target, lambda services: services.trading.SquareOff(request))
    show(answer, as_json=as_json, table=lambda: _plan(answer))
    if answer.HasField("estimate") and not as_json:
        seconds = answer.estimate.ToTimedelta().total_seconds()
        click.echo(f"the broker's limits let these exits be sent within about {seconds:g} s")
    if answer.unverified:
        warn(answer.unverified)


for _command in (modify_order, cancel_order, cancel_all_orders, list_protections, unprotect):
    orders.add_command(_command)


def _protection(
    stop_loss: Decimal | None, target: Decimal | None, trail: Decimal | None
) -> Protection | None:
    if (stop_loss, target, trail) == (None, None, None):
        return None
    return Protection(stop_loss=wire(stop_loss), target=wire(target), trail=wire(trail))


def _plan(answer: SquareOffResponse) -> RenderableType:
    if not answer.plan:
        return "nothing is held and no order is under way there"
    made = table("strategy", "symbol", "product", ">held", "exit", "")
    for line in answer.plan:
        row(
            made,
            line.strategy_id,
            line.symbol,
            word(line, "product").upper(),
            count(line.held, signed=True),
            _exit(line),
            line.message,
        )
    return made


def _exit(line: SquareOffLine) -> Text:
    if line.message:
        return Text("left as it is", style="yellow")
    if not line.quantity:
        return Text("when its order has ended", style="dim")
    return side(f"{word(line, 'side')} {count(line.quantity)}")
