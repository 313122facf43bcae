"""Orders and trades."""

from __future__ import annotations

from aiohttp import web
from tests.kite_exchange.envelope import FAULT_OF, app_of, success
from tests.kite_exchange.exchange import exchange_of


async def orders(request: web.Request) -> web.StreamResponse:
    """GET /orders: the day's order book."""
    desk = exchange_of(request).desk
    return success([order.row() for order in desk.book(app_of(request).user_id)])


async def history(request: web.Request) -> web.StreamResponse:
    """GET /orders/{order_id}: the order's row in each of its statuses."""
    order = exchange_of(request).desk.order(app_of(request).user_id, request.match_info["order_id"])
    return success(order.history)


async def trades(request: web.Request) -> web.StreamResponse:
    """GET /trades: the day's trades."""
    user = app_of(request).user_id
    return success([trade.row() for trade in exchange_of(request).desk.trades if trade.order.user_id == user])


async def order_trades(request: web.Request) -> web.StreamResponse:
    """GET /orders/{order_id}/trades."""
    desk = exchange_of(request).desk
    order = desk.order(app_of(request).user_id, request.match_info["order_id"])
    return success([trade.row() for trade in desk.trades if trade.order is order])


async def place(request: web.Request) -> web.StreamResponse:
    """POST /orders/{variety}: the answer says that the order was taken, not that it trades."""
    app, desk = app_of(request), exchange_of(request).desk
    form = {name: str(value) for name, value in (await request.post()).items()}
    variety = request.match_info["variety"]
    if form.get("autoslice", "").lower() in {"true", "1"}:
        return success(desk.place_sliced(app.user_id, variety, form, api_key=app.api_key))
    order = desk.place(app.user_id, variety, form, api_key=app.api_key, fault=request.get(FAULT_OF))
    exchange_of(request).keep()
    return success({"order_id": order.order_id})


async def modify(request: web.Request) -> web.StreamResponse:
    """PUT /orders/{variety}/{order_id}: the quantity is the new total."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    order = exchange_of(request).desk.modify(app_of(request).user_id, request.match_info["order_id"], form)
    return success({"order_id": order.order_id})


async def cancel(request: web.Request) -> web.StreamResponse:
    """DELETE /orders/{variety}/{order_id}."""
    order = exchange_of(request).desk.cancel(app_of(request).user_id, request.match_info["order_id"])
    return success({"order_id": order.order_id})


def routes() -> list[web.RouteDef]:
    """The routes of orders and trades."""
    return [
        web.get("/orders", orders),
        web.get("/orders/{order_id}", history),
        web.get("/orders/{order_id}/trades", order_trades),
        web.get("/trades", trades),
        web.post("/orders/{variety}", place),
        web.put("/orders/{variety}/{order_id}", modify),
        web.delete("/orders/{variety}/{order_id}", cancel),
    ]
