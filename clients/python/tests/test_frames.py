"""Frames of positions, fills and equity: every page, exact, with their columns where nothing is."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

frames = pytest.importorskip("alphapanda_client.frames")

from panda.portfolio.v1 import portfolio_pb2 as portfolio


def client(*pages: Any) -> Any:
    """A client whose every list has these pages."""

    def answer(request: Any) -> Any:
        return pages[int(request.page_token or 0)]

    service = SimpleNamespace(ListPositions=answer, ListFills=answer, GetEquityCurve=answer)
    return SimpleNamespace(portfolio=service)


def position(symbol: str, price: str = "") -> portfolio.Position:
    made = portfolio.Position(symbol=symbol, product="PRODUCT_MIS", quantity=-5)
    made.average_price.value = "2107.7000"
    if price:
        made.last_price.value = price
    return made


def test_every_page_is_in_the_frame_and_decimals_are_exact() -> None:
    """Lines of all pages in order; Decimals, or floats where they are wanted; unknown is missing."""
    pages = (
        portfolio.ListPositionsResponse(positions=[position("NSE:INFY", "2108.10")], next_page_token="1"),
        portfolio.ListPositionsResponse(positions=[position("NSE:TCS")]),
    )
    exact = frames.positions(client(*pages))
    assert [*exact["symbol"]] == ["NSE:INFY", "NSE:TCS"]
    assert exact["last_price"][0] == Decimal("2108.10")
    assert exact["last_price"].isna().tolist() == [False, True]
    assert (exact["product"][0], exact["quantity"][0]) == ("PRODUCT_MIS", -5)
    floats = frames.positions(client(*pages), exact=False)
    assert str(floats["last_price"].dtype) == "float64"


def test_fills_come_oldest_first_and_equity_is_indexed_by_time() -> None:
    """Times have their zone; equity can be drawn as it is."""
    late, early = portfolio.Fill(fill_id="b"), portfolio.Fill(fill_id="a")
    late.traded_at.seconds, early.traded_at.seconds = 200, 100
    found = frames.fills(client(portfolio.ListFillsResponse(fills=[late, early])))
    assert [*found["fill_id"]] == ["a", "b"]
    assert str(found["traded_at"].dt.tz) == "UTC"
    curve = portfolio.GetEquityCurveResponse()
    point = curve.points.add()
    point.market_time.seconds = 100
    point.equity.amount.value = "1000000.00"
    drawn = frames.equity(client(curve))
    assert drawn["equity"].iloc[0] == Decimal("1000000.00")
    assert drawn.index.name == "market_time"


def test_nothing_is_a_frame_with_its_columns() -> None:
    """An account without positions, fills or points gives empty frames that have their columns."""
    assert frames.positions(client(portfolio.ListPositionsResponse())).empty
    assert "price" in frames.fills(client(portfolio.ListFillsResponse())).columns
    assert "equity" in frames.equity(client(portfolio.GetEquityCurveResponse())).columns
