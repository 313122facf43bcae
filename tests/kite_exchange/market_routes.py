"""Instruments, quotes, candles."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from aiohttp import web
from tests.kite_exchange.clock import moment, stamp
from tests.kite_exchange.envelope import app_of, success
from tests.kite_exchange.errors import KiteError, bad_input
from tests.kite_exchange.exchange import exchange_of
from tests.kite_exchange.market import Quote

MOST_QUOTES: Final = 500
MOST_PRICES: Final = 1_000
_INTERVAL_FORMS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


async def instruments(request: web.Request) -> web.StreamResponse:
    """GET /instruments[/{exchange}]: the dump as CSV, gzipped for who accepts it."""
    app_of(request)
    exchange = exchange_of(request)
    text = exchange.dumps
    if text is None:
        text = exchange.market.listing.csv(request.match_info.get("exchange"))
    response = web.Response(text=text, content_type="text/csv")
    response.enable_compression()
    return response


async def quote(request: web.Request) -> web.StreamResponse:
    """GET /quote?i=NSE:INFY&i=…: full quotes of up to 500."""
    return success({key: _full(each) for key, each in _asked(request, MOST_QUOTES)})


async def ohlc(request: web.Request) -> web.StreamResponse:
    """GET /quote/ohlc: the day's prices of up to 1,000."""
    return success(
        {
            key: {
                "instrument_token": each.listed.instrument_token,
                "last_price": each.rupees,
                "ohlc": _ohlc(each),
            }
            for key, each in _asked(request, MOST_PRICES)
        }
    )


async def ltp(request: web.Request) -> web.StreamResponse:
    """GET /quote/ltp: the last prices of up to 1,000."""
    return success(
        {
            key: {"instrument_token": each.listed.instrument_token, "last_price": each.rupees}
            for key, each in _asked(request, MOST_PRICES)
        }
    )


async def historical(request: web.Request) -> web.StreamResponse:
    """GET /instruments/historical/{token}/{interval}?from&to&continuous&oi."""
    app_of(request)
    exchange = exchange_of(request)
    token, interval = request.match_info["token"], request.match_info["interval"]
    found = exchange.market.quote(int(token)) if token.isdigit() else None
    if found is None:
        raise bad_input("invalid token")
    if request.query.get("continuous") == "1" and interval != "day":
        raise bad_input("continuous data is available for day interval only")
    begin, end = _time(request, "from"), _time(request, "to")
    bars = exchange.candles.between(found, interval, begin, end, exchange.clock.ns())
    oi: list[int] = [0] if request.query.get("oi") == "1" else []
    return success(
        {
            "candles": [
                [
                    moment(bar.start_ns).strftime("%Y-%m-%dT%H:%M:%S%z"),
                    *(found.price(each) for each in (bar.open, bar.high, bar.low, bar.close)),
                    bar.volume,
                    *oi,
                ]
                for bar in bars
            ]
        }
    )


def _time(request: web.Request, name: str) -> datetime:
    text = request.query.get(name, "")
    for form in _INTERVAL_FORMS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the API's times are India's, without a zone
        except ValueError:
            continue
    raise bad_input(f"invalid {name} date")


def _asked(request: web.Request, most: int) -> list[tuple[str, Quote]]:
    app_of(request)
    keys = request.query.getall("i", [])
    if not keys:
        raise bad_input("Missing or empty field `i`")
    if len(keys) > most:
        raise bad_input(f"Too many tokens requested. Max permitted is {most}.")
    market = exchange_of(request).market
    found = ((key, market.by_key(key)) for key in dict.fromkeys(keys))
    return [(key, each) for key, each in found if each is not None]


def _ohlc(each: Quote) -> dict[str, Any]:
    return {name: each.price(getattr(each, name)) for name in ("open", "high", "low", "close")}


def _full(each: Quote) -> dict[str, Any]:
    bids, offers = each.depth()
    low, high = each.circuit
    timestamp = stamp(each.time_ns) if each.time_ns else None
    told: dict[str, Any] = {
        "instrument_token": each.listed.instrument_token,
        "timestamp": timestamp,
        "last_price": each.rupees,
        "ohlc": _ohlc(each),
        "net_change": each.price(each.last - each.close),
    }
    if each.listed.index:
        return told
    return {
        **told,
        "last_trade_time": timestamp,
        "last_quantity": each.last_quantity,
        "buy_quantity": sum(bid[0] for bid in bids),
        "sell_quantity": sum(offer[0] for offer in offers),
        "volume": each.volume,
        "average_price": each.price(each.average),
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
        "lower_circuit_limit": low,
        "upper_circuit_limit": high,
        "depth": {
            side: [
                {"price": each.price(price), "quantity": quantity, "orders": orders}
                for quantity, price, orders in book
            ]
            for side, book in (("buy", bids), ("sell", offers))
        },
    }


async def trigger_range(request: web.Request) -> web.StreamResponse:
    """GET /instruments/trigger_range/{buy|sell}: cover orders are no longer taken."""
    app_of(request)
    raise KiteError(400, "InputException", "Cover orders are not supported")


def routes() -> list[web.RouteDef]:
    """The routes of instruments, quotes and candles."""
    return [
        web.get("/instruments", instruments),
        web.get("/instruments/historical/{token}/{interval}", historical),
        web.get("/instruments/trigger_range/{side}", trigger_range),
        web.get("/instruments/{exchange}", instruments),
        web.get("/quote", quote),
        web.get("/quote/ohlc", ohlc),
        web.get("/quote/ltp", ltp),
    ]
