"""`alphapanda orders modify`, `cancel` and `cancel-all`."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import click
from rich.table import Table
from rich.text import Text

from alphapanda.commands.asking import ask, asks, even_if_unknown, new_request_id, show
from alphapanda.commands.console import warn
from alphapanda.commands.finding import Target
from alphapanda.commands.order_tables import filled, terms
from alphapanda.commands.prices import RUPEES, wire
from alphapanda.commands.tables import row, side, table
from alphapanda.commands.wording import DOWN, word
from panda.trading.v1.trading_pb2 import (
    CancelAllOrdersRequest,
    CancelOrderRequest,
    ModifyOrderRequest,
    Order,
    OrderChange,
)

_STYLES = {"done": "", "refused": DOWN, "overtaken": "yellow", "absent": DOWN}


@click.command("modify")
@click.argument("order_id")
@click.option(
    "--quantity",
    type=click.IntRange(1, 2**63 - 1),
    help="units it shall have in all, what has filled included  [default: as it has]",
)
@click.option("--limit", "limit_price", type=RUPEES, help="limit price in rupees  [default: as it has]")
@click.option("--trigger", "trigger_price", type=RUPEES, help="trigger price in rupees  [default: as it has]")
@click.option("--reason", default="", help="why, for the record")
@click.option("--request-id", help="idempotency key: the same one modifies once  [default: a new one]")
@asks
def modify_order(
    order_id: str,
    quantity: int | None,
    limit_price: Decimal | None,
    trigger_price: Decimal | None,
    reason: str,
    request_id: str | None,
    target: Target,
    *,
    as_json: bool,
) -> None:
    """Give a working order another quantity or other prices, such as `ORDER_ID --limit 1498.50`.

    An entry may not become worth more than risk has approved: for that cancel it and place another.
    """
    request = ModifyOrderRequest(
        request_id=request_id or new_request_id(),
        order_id=order_id,
        quantity=quantity or 0,
        limit_price=wire(limit_price),
        trigger_price=wire(trigger_price),
        reason=reason,
    )
    answer = ask(target, lambda services: services.trading.ModifyOrder(request))
    show(answer, as_json=as_json, table=lambda: _changes([(answer.order, answer.change)]))


@click.command("cancel")
@click.argument("order_id")
@click.option("--reason", default="", help="why, for the record")
@click.option("--request-id", help="idempotency key: the same one cancels once  [default: a new one]")
@asks
def cancel_order(
    order_id: str, reason: str, request_id: str | None, target: Target, *, as_json: bool
) -> None:
    """Cancel what is left of an order. No kill switch forbids it."""
    request = CancelOrderRequest(request_id=request_id or new_request_id(), order_id=order_id, reason=reason)
    answer = ask(target, lambda services: services.trading.CancelOrder(request))
    show(answer, as_json=as_json, table=lambda: _changes([(answer.order, answer.change)]))


@click.command("cancel-all")
@click.option("--strategy", default="", help='only this strategy\'s orders; "manual" for yours')
@click.option("--symbol", default="", help="only this instrument's, NSE:INFY")
@click.option("--broker", default="", help="only this broker's")
@click.option("--account", default="", help="only this account's")
@click.option("--reason", default="", help="why, for the record")
@even_if_unknown
@asks
def cancel_all_orders(
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
    """Cancel all orders that have not ended, or those that match. It stops no strategy, and closes no position."""
    request = CancelAllOrdersRequest(
        request_id=new_request_id(),
        strategy_id=strategy,
        symbol=symbol,
        broker=broker,
        account=account,
        reason=reason,
        even_if_unknown=even_if_unknown,
    )
    answer = ask(target, lambda services: services.trading.CancelAllOrders(request))
    show(
        answer,
        as_json=as_json,
        table=lambda: (
            _changes((one.order, one.change) for one in answer.cancellations)
            if answer.cancellations
            else "no order is working there"
        ),
    )
    if answer.unverified:
        warn(answer.unverified)


def _changes(changes: Iterable[tuple[Order, OrderChange]]) -> Table:
    """What has become of changes, with their orders."""
    made = table("side", ">quantity", "symbol", "terms", "status", "strategy", "order", "change", "")
    for order, change in changes:
        become = word(change, "status") if change.change_id else "done before"
        row(
            made,
            side(word(order.state, "side")),
            filled(order),
            order.symbol,
            terms(order),
            word(order.state, "status"),
            Text(order.state.strategy_id, style="dim"),
            order.state.order_id,
            Text(become, style=_STYLES.get(become, "dim")),
            Text(change.message, style="dim"),
        )
    return made
