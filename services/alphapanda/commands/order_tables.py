"""Positions, orders and fills as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from rich.table import Table
from rich.text import Text

from alphapanda.commands.tables import row, side, table
from alphapanda.commands.wording import (
    DOWN,
    amount,
    count,
    gain,
    market_moment,
    rupees,
    shown_time,
    word,
)
from panda.common.v1.common_pb2 import CHARGE_SURENESS_ASSUMED, ChargeLine, OrderType, Validity
from panda.portfolio.v1.portfolio_pb2 import Fill, Position
from panda.trading.v1.trading_pb2 import Order

STATUS_STYLES: Final = {"filled": "", "failed": DOWN, "rejected": DOWN, "cancelled": "yellow"}


def positions_table(positions: Iterable[Position]) -> Table:
    """Positions marked at the last prices."""
    made = table(
        "symbol",
        "product",
        ">quantity",
        ">average",
        ">last",
        ">unrealised",
        ">realised",
        ">charges",
        "strategy",
    )
    for one in positions:
        row(
            made,
            one.symbol,
            Text(word(one, "product").upper(), style="dim"),
            Text(
                count(one.quantity, signed=True) if one.quantity else "0", style="" if one.quantity else "dim"
            ),
            rupees(amount(one, "average_price")),
            rupees(amount(one, "last_price")),
            gain(amount(one.profit, "unrealised_pnl")),
            gain(amount(one.profit, "realised_pnl")),
            rupees(amount(one.profit, "charges")),
            Text(one.strategy_id, style="dim"),
        )
    return made


def orders_table(orders: Iterable[Order], *, with_ids: bool = False) -> Table:
    """Orders, newest first, with their outcome."""
    made = table(
        "time", "side", ">quantity", "symbol", ">price", "status", "strategy", *(["order"] * with_ids), ""
    )
    for one in orders:
        status = word(one.state, "status")
        row(
            made,
            Text(shown_time(market_moment(one.state, "market_time")), style="dim"),
            side(word(one.state, "side")),
            filled(one),
            one.symbol,
            rupees(amount(one.state, "average_price")),
            Text(status, style=STATUS_STYLES.get(status, "yellow")),
            Text(one.state.strategy_id, style="dim"),
            *([one.state.order_id] * with_ids),
            Text(about(one), style="dim"),
        )
    return made


def about(order: Order) -> str:
    """How an order is priced, if not at the market for the day, and why it ended unexecuted; empty where there is neither."""
    return "; ".join(filter(None, (terms(order), why_ended(order))))


def terms(order: Order) -> str:
    """An order's type, prices and validity, such as "SL 1,501.00 from 1,500.00 on, IOC"; empty for one at the market for the day."""
    state = order.state
    kind = OrderType.Name(state.order_type).removeprefix("ORDER_TYPE_").replace("_", "-")
    shown = "" if state.order_type <= OrderType.ORDER_TYPE_MARKET else kind
    if state.HasField("limit_price"):
        shown += f" {rupees(amount(state, 'limit_price'))}"
    if state.HasField("trigger_price"):
        shown += f" from {rupees(amount(state, 'trigger_price'))} on"
    if state.validity == Validity.VALIDITY_IOC:
        shown = f"{shown or kind}, IOC"
    return shown + (" (waits for its trigger)" if state.trigger_pending else "")


def fills_table(fills: Iterable[Fill]) -> Table:
    """Fills with the charges booked for them, line by line."""
    made = table("time", "side", ">quantity", "symbol", ">price", ">charges", "strategy", "")
    for one in fills:
        row(
            made,
            Text(shown_time(market_moment(one, "traded_at")), style="dim"),
            side(word(one, "side")),
            count(one.quantity),
            one.symbol,
            rupees(amount(one, "price")),
            rupees(amount(one, "commission")),
            Text(one.strategy_id, style="dim"),
            Text(by_line(one.charge_lines), style="dim"),
        )
    return made


def by_line(lines: Sequence[ChargeLine]) -> str:
    """Charges by line, and which of them are at rates that nobody knows; empty where there are none."""
    if not lines:
        return ""
    shown = ", ".join(f"{line.name} {rupees(Decimal(line.amount.value))}" for line in lines)
    assumed = [line.name for line in lines if line.sureness == CHARGE_SURENESS_ASSUMED]
    if not assumed:
        return shown
    return f"{shown} (assumed rates: {'all' if len(assumed) == len(lines) else ', '.join(assumed)})"


def filled(order: Order) -> str:
    """Units ordered; "FILLED of ORDERED" where only a part has filled."""
    wanted, done = order.state.quantity, order.state.filled_quantity
    return count(wanted) if done in {0, wanted} else f"{count(done)} of {count(wanted)}"


def why_ended(order: Order) -> str:
    """Why an order ended unexecuted; empty where it didn't."""
    return order.message or word(order, "failure_reason")
