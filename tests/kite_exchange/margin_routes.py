"""What orders would need and cost, before they are placed."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web
from tests.kite_exchange.account import margin
from tests.kite_exchange.charges import charges_of
from tests.kite_exchange.envelope import app_of, success
from tests.kite_exchange.errors import bad_input
from tests.kite_exchange.exchange import Exchange, exchange_of
from tests.kite_exchange.listed import Listed

_NOTHING = Decimal(0)


async def order_margins(request: web.Request) -> web.StreamResponse:
    """POST /margins/orders: for each order by itself."""
    exchange = exchange_of(request)
    return success([_margin(exchange, each) for each in await _asked(request)])


async def basket(request: web.Request) -> web.StreamResponse:
    """POST /margins/basket: together, before and after the orders that offset each other."""
    exchange = exchange_of(request)
    asked = await _asked(request)
    each = [_margin(exchange, one) for one in asked]
    net: dict[tuple[str, str, str], tuple[int, dict[str, Any]]] = {}
    for one in asked:
        key = (one["exchange"], one["tradingsymbol"], one["product"])
        sign = 1 if one["transaction_type"] == "BUY" else -1
        net[key] = (net.get(key, (0, one))[0] + sign * int(one["quantity"]), one)
    final = [
        _margin(
            exchange,
            {**one, "quantity": abs(quantity), "transaction_type": "BUY" if quantity > 0 else "SELL"},
        )
        for quantity, one in net.values()
        if quantity
    ]
    return success(
        {"initial": _total(each), "final": _total(final), "orders": each, "charges": _total(each)["charges"]}
    )


async def charges(request: web.Request) -> web.StreamResponse:
    """POST /charges/orders: a contract note for orders with their average prices."""
    exchange = exchange_of(request)
    told = []
    for one in await _asked(request):
        listed, quantity = _listed(exchange, one), int(one["quantity"])
        price = _rupees(one.get("average_price"))
        if not price:
            raise bad_input("Missing or empty field `average_price`")
        names = (
            "transaction_type",
            "tradingsymbol",
            "exchange",
            "variety",
            "product",
            "order_type",
            "quantity",
        )
        cost = charges_of(listed, one["product"], one["transaction_type"], quantity, price)
        told.append({**{name: one.get(name) for name in names}, "price": price, "charges": cost.row()})
    return success(told)


async def _asked(request: web.Request) -> list[dict[str, Any]]:
    app_of(request)
    try:
        told = json.loads(await request.text())
    except ValueError:
        raise bad_input("Invalid JSON payload") from None
    wanted = ("exchange", "tradingsymbol", "transaction_type", "product", "quantity")
    if not isinstance(told, list) or not all(
        isinstance(one, dict) and all(one.get(n) for n in wanted) for one in told
    ):
        raise bad_input(f"a list of orders with {', '.join(wanted)}")
    return told


def _margin(exchange: Exchange, one: dict[str, Any]) -> dict[str, Any]:
    listed, quantity = _listed(exchange, one), int(one["quantity"])
    quote = exchange.market.quote(listed.instrument_token)
    price = _rupees(one.get("price")) or (quote.rupees if quote is not None else _NOTHING)
    sign = 1 if one["transaction_type"] == "BUY" else -1
    needs = margin(listed, one["product"], sign, quantity, price)
    cost = charges_of(listed, one["product"], one["transaction_type"], quantity, price)
    cash = listed.exchange in {"NSE", "BSE"}
    total = sum(needs.values(), _NOTHING)
    return {
        "type": "equity",
        "tradingsymbol": listed.tradingsymbol,
        "exchange": listed.exchange,
        "span": _NOTHING if cash else needs.get("span", _NOTHING),
        "exposure": needs.get("exposure", _NOTHING),
        "option_premium": needs.get("option_premium", _NOTHING),
        "additional": 0,
        "bo": 0,
        "cash": 0,
        "var": total if cash else 0,
        "pnl": {"realised": 0, "unrealised": 0},
        "leverage": 5 if one["product"] == "MIS" and cash else 1,
        "charges": cost.row(),
        "total": total,
    }


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("span", "exposure", "option_premium", "additional", "bo", "cash", "var", "leverage", "total")
    added: dict[str, Any] = {name: sum((row[name] for row in rows), _NOTHING) for name in names}
    empty = charges_of(
        Listed(1, 0, "", "", "0", "", "0", "0.05", 1, "EQ", "NSE", "NSE"), "CNC", "BUY", 0, _NOTHING
    )
    return {
        **added,
        "type": "",
        "tradingsymbol": "",
        "exchange": "",
        "leverage": 0,
        "pnl": {"realised": 0, "unrealised": 0},
        "charges": {**empty.row(), "transaction_tax_type": ""},
    }


def _listed(exchange: Exchange, one: dict[str, Any]) -> Listed:
    found = exchange.market.listing.by_key.get(f"{one['exchange']}:{one['tradingsymbol']}")
    if found is None or found.index:
        raise bad_input(f"Invalid tradingsymbol {one['tradingsymbol']}")
    return found


def _rupees(value: Any) -> Decimal:
    try:
        return Decimal(str(value or 0))
    except InvalidOperation:
        raise bad_input(f"Invalid price {value!r}") from None


def routes() -> list[web.RouteDef]:
    """The routes of margins and charges."""
    return [
        web.post("/margins/orders", order_margins),
        web.post("/margins/basket", basket),
        web.post("/charges/orders", charges),
    ]
