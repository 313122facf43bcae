"""Positions, fills and equity as pandas frames (`pip install alphapanda-client[pandas]`).

Amounts and prices are Decimals, exact; `exact=False` makes them floats, to compute and draw with. What isn't known is
None (exact) or NaN. Times are in UTC, with their zone. Every page is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as ContractDecimal

from alphapanda_client.client import Client
from panda.common.v1.common_pb2 import Money
from panda.portfolio.v1.portfolio_pb2 import (
    Fill,
    GetEquityCurveRequest,
    ListFillsRequest,
    ListPositionsRequest,
    Position,
)

Column = tuple[str, str]
"""A frame's column, and the path of its field in the message."""
POSITIONS: Sequence[Column] = (
    ("account", "account"),
    ("strategy_id", "strategy_id"),
    ("symbol", "symbol"),
    ("product", "product"),
    ("quantity", "quantity"),
    ("average_price", "average_price"),
    ("last_price", "last_price"),
    ("realised_pnl", "profit.realised_pnl"),
    ("unrealised_pnl", "profit.unrealised_pnl"),
    ("charges", "profit.charges"),
    ("net_pnl", "profit.net_pnl"),
)
FILLS: Sequence[Column] = (
    ("traded_at", "traded_at"),
    ("fill_id", "fill_id"),
    ("order_id", "order_id"),
    ("strategy_id", "strategy_id"),
    ("symbol", "symbol"),
    ("side", "side"),
    ("quantity", "quantity"),
    ("price", "price"),
    ("charges", "commission"),
    ("realised_pnl", "realised_pnl"),
)
EQUITY: Sequence[Column] = (
    ("market_time", "market_time"),
    ("cash", "cash"),
    ("equity", "equity"),
    ("realised_pnl", "realised_pnl"),
    ("unrealised_pnl", "unrealised_pnl"),
    ("charges", "charges"),
    ("open_positions", "open_positions"),
)


def positions(
    client: Client, request: ListPositionsRequest | None = None, *, exact: bool = True
) -> pd.DataFrame:
    """A line for each position that the request asks for.

    Raises:
        PlatformError: a call failed.
    """
    wanted = request or ListPositionsRequest()
    return frame(_pages(client.portfolio.ListPositions, wanted, "positions"), POSITIONS, exact=exact)


def fills(client: Client, request: ListFillsRequest | None = None, *, exact: bool = True) -> pd.DataFrame:
    """A line for each fill that the request asks for, the oldest first.

    Raises:
        PlatformError: a call failed.
    """
    found: Iterable[Fill] = _pages(client.portfolio.ListFills, request or ListFillsRequest(), "fills")
    made = frame(found, FILLS, exact=exact)
    return made.sort_values("traded_at", kind="stable", ignore_index=True)


def equity(
    client: Client, request: GetEquityCurveRequest | None = None, *, exact: bool = True
) -> pd.DataFrame:
    """Cash, equity and profit over market time, which is the index.

    Raises:
        PlatformError: a call failed.
    """
    points = _pages(client.portfolio.GetEquityCurve, request or GetEquityCurveRequest(), "points")
    return frame(points, EQUITY, exact=exact).set_index("market_time")


def frame(
    messages: Iterable[Position | Fill | Message], columns: Sequence[Column], *, exact: bool = True
) -> pd.DataFrame:
    """A line for each message, with these columns also where there is none."""
    rows = [[_value(one, path.split("."), exact=exact) for _, path in columns] for one in messages]
    made = pd.DataFrame(rows, columns=[name for name, _ in columns])
    times = [name for name, path in columns if path.endswith(("_at", "_time"))]
    return made.assign(**{name: pd.to_datetime(made[name], utc=True) for name in times})


def _pages(rpc: Callable[[Any], Any], request: Any, name: str) -> Iterator[Any]:
    asked = type(request)()
    asked.CopyFrom(request)
    while True:
        page = rpc(asked)
        yield from getattr(page, name)
        if not page.next_page_token:
            return
        asked.page_token = page.next_page_token


def _value(message: Any, path: list[str], *, exact: bool) -> Any:
    name, *rest = path
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.message_type is not None and not message.HasField(name):
        return None
    if rest:
        return _value(value, rest, exact=exact)
    if isinstance(value, Timestamp):
        return value.ToDatetime()
    if isinstance(value, Money):
        value = value.amount
    if isinstance(value, ContractDecimal):
        return Decimal(value.value) if exact else float(value.value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    return value
