"""Login, access token, profile."""

from __future__ import annotations

import html
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web
from tests.kite_exchange.envelope import app_of, success
from tests.kite_exchange.errors import bad_input, dead_session
from tests.kite_exchange.exchange import exchange_of
from tests.kite_exchange.sessions import App

EXCHANGES: Final = ["NSE", "NFO", "BFO", "CDS", "BSE", "MCX", "BCD", "MF"]
_PROFILE: Final[dict[str, Any]] = {
    "user_type": "individual",
    "email": "stub@example.com",
    "user_name": "Stub Trader",
    "user_shortname": "Stub",
    "broker": "ZERODHA",
    "exchanges": EXCHANGES,
    "products": ["CNC", "NRML", "MIS", "BO", "CO"],
    "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
    "avatar_url": None,
    "meta": {"demat_consent": "physical"},
}


async def login_page(request: web.Request) -> web.StreamResponse:
    """GET /connect/login?api_key&v=3&redirect_params: a page with a button, or the redirect at once."""
    exchange = exchange_of(request)
    app = exchange.sessions.app(request.query.get("api_key", ""))
    if exchange.logs_in:
        return _redirect(request, app, request.query.get("redirect_params", ""))
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(request.query.get(name, ""))}">'
        for name in ("api_key", "redirect_params")
    )
    page = (
        f"<!doctype html><title>Kite (stub)</title><h1>Kite, a stub</h1><form method=post>{fields}"
        f"<button>Log in as {html.escape(app.user_id)}</button></form>"
    )
    return web.Response(text=page, content_type="text/html")


async def login(request: web.Request) -> web.StreamResponse:
    """POST /connect/login: the button was pressed."""
    form = await request.post()
    app = exchange_of(request).sessions.app(str(form.get("api_key", "")))
    return _redirect(request, app, str(form.get("redirect_params", "")))


def _redirect(request: web.Request, app: App, redirect_params: str) -> web.Response:
    token = exchange_of(request).sessions.login(app.api_key)
    parts = urlsplit(app.redirect_url)
    query = [
        *parse_qsl(parts.query),
        ("action", "login"),
        ("type", "login"),
        ("status", "success"),
        ("request_token", token),
        *parse_qsl(redirect_params),
    ]
    return web.Response(status=302, headers={"Location": urlunsplit(parts._replace(query=urlencode(query)))})


async def token(request: web.Request) -> web.StreamResponse:
    """POST /session/token: a request token and a checksum for an access token."""
    exchange = exchange_of(request)
    form = await request.post()
    wanted = [str(form.get(name, "")) for name in ("api_key", "request_token", "checksum")]
    if not all(wanted):
        raise bad_input("Missing or empty field `api_key`, `request_token` or `checksum`")
    app, access_token = exchange.sessions.begin(*wanted)
    exchange.ticker.cut_sessionless()
    return success(
        {
            **_PROFILE,
            "user_id": app.user_id,
            "api_key": app.api_key,
            "access_token": access_token,
            "public_token": "public",
            "enctoken": "",
            "refresh_token": "",
            "silo": "",
            "login_time": exchange.clock.stamp(),
        }
    )


async def logout(request: web.Request) -> web.StreamResponse:
    """DELETE /session/token?api_key&access_token."""
    exchange = exchange_of(request)
    if "access_token" not in request.query:
        raise bad_input("Missing or empty field `access_token`")
    app = exchange.sessions.of_token(request.query.get("api_key", ""), request.query["access_token"])
    exchange.sessions.end(app.api_key)
    exchange.ticker.cut_sessionless()
    return success(data=True)


async def renew(request: web.Request) -> web.StreamResponse:
    """POST /session/refresh_token: for approved platforms alone, which nobody here is."""
    raise dead_session("Invalid `refresh_token`.")


async def profile(request: web.Request) -> web.StreamResponse:
    """GET /user/profile."""
    return success({"user_id": app_of(request).user_id, **_PROFILE})


def routes() -> list[web.RouteDef]:
    """The routes of sessions and users."""
    return [
        web.get("/connect/login", login_page),
        web.post("/connect/login", login),
        web.post("/session/token", token),
        web.delete("/session/token", logout),
        web.post("/session/refresh_token", renew),
        web.get("/user/profile", profile),
    ]
