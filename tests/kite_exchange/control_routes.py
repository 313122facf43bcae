"""What people and tests in other processes tell the exchange, under /stub/. The real API has nothing of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from tests.kite_exchange.account import Holding
from tests.kite_exchange.errors import KiteError
from tests.kite_exchange.exchange import Exchange, exchange_of
from tests.kite_exchange.faults import KINDS, Fault
from tests.kite_exchange.kept import KeptBooks
from tests.kite_exchange.ticker import Habits

Told = dict[str, Any]


async def state(request: web.Request) -> web.StreamResponse:
    """GET /stub/state: what it has counted."""
    exchange = exchange_of(request)
    return web.json_response(
        {
            "time": exchange.clock.stamp(),
            "instruments": len(exchange.market.listing.rows),
            "logins": exchange.sessions.logins,
            "connections": len(exchange.ticker.connections),
            "connected": exchange.ticker.connected,
            "handshakes_refused": exchange.ticker.refused,
            "subscribed": len(exchange.ticker.subscribed()),
            "habits": asdict(exchange.ticker.habits),
            "requests_refused": dict(exchange.limits.refused),
            "busiest_second": dict(exchange.limits.busiest),
            "orders": len(exchange.desk.orders),
            "trades": len(exchange.desk.trades),
            "postbacks": exchange.postbacks.posted,
            "faults_met": exchange.script.met,
            "faults_to_come": [asdict(fault) for fault in exchange.script.faults if fault.times > 0],
        }
    )


def faults(exchange: Exchange, told: list[Told]) -> str:
    """POST /stub/faults [{"kind": …}, …]: adds faults; an empty list clears them."""
    if not told:
        exchange.script.clear()
        return "everything goes well from now on"
    exchange.script.add([Fault.parse(each) for each in told])
    return f"{len(told)} added"


def ticker(exchange: Exchange, told: Told) -> str:
    """POST /stub/ticker {"silent": true, …}: changes the ticker's habits; {"cut": true} cuts everybody off."""
    if told.pop("cut", False):
        exchange.ticker.cut()
    known = {each.name for each in fields(Habits)}
    unknown = told.keys() - known
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: a habit is one of {', '.join(sorted(known))}")
    for name, value in told.items():
        setattr(exchange.ticker.habits, name, value)
    return "done"


def session(exchange: Exchange, told: Told) -> str:
    """POST /stub/session {"api_key": …}: ends the session, as a login elsewhere does; without a key, everybody's."""
    keys = [told["api_key"]] if told.get("api_key") else list(exchange.sessions.apps)
    ended = [key for key in keys if exchange.sessions.end(key)]
    exchange.ticker.cut_sessionless()
    return f"{len(ended)} ended"


def clock(exchange: Exchange, told: Told) -> str:
    """POST /stub/clock {"advance": seconds}: moves its clock."""
    exchange.clock.advance(float(told["advance"]))
    return exchange.clock.stamp()


def price(exchange: Exchange, told: Told) -> str:
    """POST /stub/price {"instrument": "NSE:INFY", "price": "1500.05"}: moves a price."""
    quote = exchange.market.by_key(told["instrument"])
    if quote is None:
        raise ValueError(f"{told['instrument']!r} isn't listed")
    exchange.market.set_price(quote.listed.instrument_token, Decimal(str(told["price"])), exchange.clock.ns())
    return f"{quote.listed.key} {quote.rupees}"


def allowed_ips(exchange: Exchange, told: Told) -> str:
    """POST /stub/ips {"api_key": …, "allowed": [addresses] or null}: who may place orders."""
    app = exchange.sessions.app(told["api_key"])
    allowed = told["allowed"]
    exchange.sessions.apps[app.api_key] = replace(
        app, allowed_ips=None if allowed is None else frozenset(allowed)
    )
    return "done"


def dump(exchange: Exchange, told: Told) -> str:
    """POST /stub/dump {"is": "whole" | "empty" | "cut" | "shrunken"}: what the instruments dump looks like."""
    text = exchange.market.listing.csv()
    whole: dict[str, str | None] = {
        "whole": None,
        "empty": text[: text.index("\n") + 1],
        "cut": text[: len(text) * 2 // 3 - 7],
        "shrunken": "\n".join(text.splitlines()[: len(exchange.market.listing.rows) // 2]) + "\n",
    }
    exchange.dumps = whole[told["is"]]
    return "done"


def orders(exchange: Exchange, told: Told) -> str:
    """POST /stub/orders {"account": …, "form": {…}}: an order by phone, which no app has placed."""
    form = {name: str(value) for name, value in told["form"].items()}
    try:
        return exchange.desk.place(told["account"], form.pop("variety", "regular"), form).order_id
    except KiteError as error:
        raise ValueError(error.message) from error


def square_off(exchange: Exchange, told: Told) -> str:
    """POST /stub/square_off {"account": …}: the broker closes the intraday positions; no update is sent."""
    return f"{len(exchange.desk.square_off(told['account']))} closed"


def holdings(exchange: Exchange, told: Told) -> str:
    """POST /stub/holdings {"account", "instrument", "quantity", "average_price", "t1_quantity", "collateral_quantity", "unauthorised"}: shares."""
    listed = exchange.market.listing.by_key[told["instrument"]]
    held = Holding(
        listed,
        f"INE{listed.exchange_token:09}",
        int(told["quantity"]),
        Decimal(str(told.get("average_price", 100))),
        int(told.get("t1_quantity", 0)),
        int(told.get("collateral_quantity", 0)),
        bool(told.get("unauthorised", False)),
    )
    exchange.desk.account(told["account"]).holdings[listed.tradingsymbol] = held
    return f"{held.sellable} to sell"


def funds(exchange: Exchange, told: Told) -> str:
    """POST /stub/funds {"account", "paid_in"}: pays in, or out."""
    account = exchange.desk.account(told["account"])
    account.paid_in += Decimal(str(told["paid_in"]))
    return f"{account.opening + account.paid_in}"


def day(exchange: Exchange, told: Told) -> str:
    """POST /stub/day {"day": "2026-12-02"}: that day's instruments; the order book begins anew, and accounts roll."""
    exchange.list_day(date.fromisoformat(told["day"]))
    return f"{len(exchange.market.listing.rows)} instruments"


async def positions(request: web.Request) -> web.StreamResponse:
    """GET /stub/positions: the net units of each user's positions, by user, symbol and product; those that are flat aren't named."""
    desk = exchange_of(request).desk
    return web.json_response(
        {
            f"{user} {exchange}:{symbol} {product}": position.quantity
            for user, account in desk.accounts.items()
            for (exchange, symbol, product), position in account.positions.items()
            if position.quantity
        }
    )


def books(exchange: Exchange, told: Told) -> str:
    """POST /stub/books {"file": "/…/exchange.books"}: keeps orders, trades and accounts in a file, and begins with what it has."""
    kept = KeptBooks(exchange, Path(told["file"]))
    exchange.keep = kept.save
    return f"{len(exchange.desk.orders)} orders"


async def kinds(request: web.Request) -> web.StreamResponse:
    """GET /stub/faults: the kinds that there are."""
    return web.json_response(KINDS)


def _told(
    handler: Callable[[Exchange, Any], str],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def told(request: web.Request) -> web.StreamResponse:
        try:
            done = handler(exchange_of(request), await request.json())
        except KeyError as error:
            return web.json_response({"error": f"{error} is missing or unknown"}, status=400)
        except (ValueError, TypeError, InvalidOperation) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"done": done})

    return told


_TOLD: Final = {
    "faults": faults,
    "ticker": ticker,
    "session": session,
    "clock": clock,
    "price": price,
    "ips": allowed_ips,
    "dump": dump,
    "orders": orders,
    "square_off": square_off,
    "holdings": holdings,
    "funds": funds,
    "day": day,
    "books": books,
}


def routes() -> list[web.RouteDef]:
    """The routes for people and tests."""
    told = [web.post(f"/stub/{name}", _told(handler)) for name, handler in _TOLD.items()]
    return [
        web.get("/stub/state", state),
        web.get("/stub/faults", kinds),
        web.get("/stub/positions", positions),
        *told,
    ]
