"""The fills of a replay as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Final

from alphapanda.replay.as_json import IST
from alphapanda.replay.journal import Trade

TRADE_COLUMNS: Final = (
    "traded_at",
    "strategy",
    "instrument",
    "product",
    "side",
    "quantity",
    "price",
    "commission",
    "realised",
    "position",
    "order_id",
)


def trades_csv(trades: Sequence[Trade]) -> str:
    """The fills as CSV with TRADE_COLUMNS; times in IST, money exact."""
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(TRADE_COLUMNS)
    for trade in trades:
        order, fill = trade.filled.order, trade.filled.fill
        rows.writerow(
            (
                fill.traded_at.astimezone(IST).isoformat(),
                order.key.strategy_id,
                order.key.instrument_id,
                order.key.product.name,
                order.side.name,
                fill.quantity,
                f"{fill.price:f}",
                f"{fill.commission:f}",
                f"{trade.realised:f}",
                trade.position,
                order.order_id,
            )
        )
    return text.getvalue()
