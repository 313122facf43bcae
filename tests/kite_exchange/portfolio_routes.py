"""Positions, holdings, funds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aiohttp import web
from tests.kite_exchange.account import Account, Position
from tests.kite_exchange.envelope import app_of, success
from tests.kite_exchange.errors import bad_input, require_text
from tests.kite_exchange.exchange import Exchange, exchange_of


def _account(request: web.Request) -> Account:
    return exchange_of(request).desk.account(app_of(request).user_id)


async def positions(request: web.Request) -> web.StreamResponse:
    """GET /portfolio/positions: net, and what was traded today."""
    account, exchange = _account(request), exchange_of(request)
    return success({"net": _rows(exchange, account, net=True), "day": _rows(exchange, account, net=False)})


def _rows(exchange: Exchange, account: Account, *, net: bool) -> list[dict[str, Any]]:
    found = [
        each for each in account.positions.values() if net or each.buy_quantity or each.sell_quantity
    ]  # a position that was only carried isn't of the day
    quotes = ((each, exchange.market.quote(each.listed.instrument_token)) for each in found)
    return [each.row(quote, net=net) for each, quote in quotes if quote is not None]


async def convert(request: web.Request) -> web.StreamResponse:
    """PUT /portfolio/positions: moves units of a position to another product."""
    account, exchange = _account(request), exchange_of(request)
    form = {name: str(value) for name, value in (await request.post()).items()}
    old, new = (
        require_text(form.get("old_product"), "old_product"),
        require_text(form.get("new_product"), "new_product"),
    )
    listed = exchange.market.listing.by_key.get(f"{form.get('exchange')}:{form.get('tradingsymbol')}")
    quantity = int(form.get("quantity", "0"))
    position = None if listed is None else account.positions.get((listed.exchange, listed.tradingsymbol, old))
    if listed is None or position is None or not 0 < quantity <= abs(position.quantity):
        raise bad_input("Invalid quantity or position to convert.")
    _move(position, account.position(listed, new), quantity)
    return success(data=True)


def _move(old: Position, new: Position, quantity: int) -> None:
    value = quantity * old.average * old.multiplier
    if old.quantity > 0:
        old.buy_quantity, old.buy_value = old.buy_quantity - quantity, old.buy_value - value
        new.buy_quantity, new.buy_value = new.buy_quantity + quantity, new.buy_value + value
    else:
        old.sell_quantity, old.sell_value = old.sell_quantity - quantity, old.sell_value - value
        new.sell_quantity, new.sell_value = new.sell_quantity + quantity, new.sell_value + value


async def holdings(request: web.Request) -> web.StreamResponse:
    """GET /portfolio/holdings."""
    market = exchange_of(request).market
    found = (
        (each, market.quote(each.listed.instrument_token)) for each in _account(request).holdings.values()
    )
    return success([each.row(quote) for each, quote in found if quote is not None])


async def auctions(request: web.Request) -> web.StreamResponse:
    """GET /portfolio/holdings/auctions: there are none."""
    app_of(request)
    return success([])


async def margins(request: web.Request) -> web.StreamResponse:
    """GET /user/margins[/{segment}]: live_balance = opening_balance - debits = net."""
    desk, account = exchange_of(request).desk, _account(request)
    used = account.utilised(order for order in desk.orders.values() if order.user_id == account.user_id)
    segments = {
        "equity": _segment(account.opening, account.paid_in, used),
        "commodity": _segment(Decimal(0), Decimal(0), {}),
    }
    segment = request.match_info.get("segment")
    if segment is None:
        return success(segments)
    if segment not in segments:
        raise bad_input("Invalid `segment`")
    return success(segments[segment])


def _segment(opening: Decimal, paid_in: Decimal, used: dict[str, Decimal]) -> dict[str, Any]:
    debits = sum(used.values(), Decimal(0))
    net = opening + paid_in - debits
    names = ("exposure", "m2m_realised", "option_premium", "span", "delivery")
    nothing = (
        "m2m_unrealised", "payout", "holding_sales", "turnover", "liquid_collateral", "stock_collateral",
    )  # fmt: skip
    return {
        "enabled": True,
        "net": net,
        "available": {
            "adhoc_margin": 0,
            "cash": opening,
            "opening_balance": opening,
            "live_balance": net,
            "collateral": 0,
            "intraday_payin": paid_in,
        },
        "utilised": {
            "debits": debits,
            **{name: used.get(name, Decimal(0)) for name in names},
            **dict.fromkeys(nothing, 0),
        },
    }


def routes() -> list[web.RouteDef]:
    """The routes of positions, holdings and funds."""
    return [
        web.get("/portfolio/positions", positions),
        web.put("/portfolio/positions", convert),
        web.get("/portfolio/holdings", holdings),
        web.get("/portfolio/holdings/auctions", auctions),
        web.get("/user/margins", margins),
        web.get("/user/margins/{segment}", margins),
    ]
