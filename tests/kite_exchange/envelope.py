"""Answers in the API's envelope, and the middleware that checks, counts and spoils them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from tests.kite_exchange.errors import TIMED_OUT, KiteError, dead_session
from tests.kite_exchange.exchange import Exchange, exchange_of
from tests.kite_exchange.faults import NOT_DONE, ORDERS, Fault
from tests.kite_exchange.json_form import dumps
from tests.kite_exchange.sessions import App, require_allowed_ip

APP_OF: Final = web.RequestKey("app", App)
FAULT_OF: Final = web.RequestKey("fault", Fault)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPEN: Final = ("/connect/", "/stub/", "/session/")
_HTML: Final = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"


def success(data: Any) -> web.Response:
    """{"status": "success", "data": …}."""
    return web.json_response({"status": "success", "data": data}, dumps=dumps)


def failure(error: KiteError) -> web.Response:
    """{"status": "error", …} with the error's HTTP status."""
    told = {"status": "error", "message": error.message, "error_type": error.error_type, "data": None}
    return web.json_response(told, status=error.status)


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Checks the session, counts the request, does it, and spoils the answer as the script says."""
    exchange = exchange_of(request)
    if _is_ticker(request) or request.path.startswith(("/connect/", "/stub/")):
        return await _done(request, handler)
    fault = exchange.script.next_for(request.method, request.path)
    if fault is not None and fault.kind in NOT_DONE:
        return await _spoiled(request, fault, web.Response())
    if fault is not None and (fault.kind in ORDERS or fault.hidden):
        request[FAULT_OF] = fault
    try:
        _admit(exchange, request)
    except KiteError as error:
        return failure(error)
    response = await _done(request, handler)
    if fault is None or fault.kind in ORDERS or not isinstance(response, web.Response):
        return response
    return await _spoiled(request, fault, response)


async def _done(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except KiteError as error:
        return failure(error)
    except web.HTTPNotFound:
        return failure(KiteError(404, "GeneralException", "Route not found"))
    except web.HTTPMethodNotAllowed:
        return failure(KiteError(405, "GeneralException", "Method not allowed"))


def _is_ticker(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _admit(exchange: Exchange, request: web.Request) -> None:
    """Lets a request in: a live session, an allowed address for orders, a limit that isn't used up."""
    if request.path.startswith(_OPEN):
        exchange.limits.count("other", request.remote or "")
        return
    app = exchange.sessions.of_header(request.headers)
    request[APP_OF] = app
    kind = _kind(request)
    exchange.limits.count(kind, app.user_id if kind == "order" else app.api_key)
    if kind == "order":
        require_allowed_ip(app, request.remote or "")


def _kind(request: web.Request) -> str:
    path = request.path
    if path.startswith("/quote"):
        return "quote"
    if path.startswith("/instruments/historical/"):
        return "historical"
    if path.startswith("/orders/") and request.method != "GET":
        return "order"
    return "other"


def app_of(request: web.Request) -> App:
    """The app of a request that was let in.

    Raises:
        KiteError: 403 TokenException: it needs no session and came without.
    """
    found = request.get(APP_OF)
    if found is None:
        raise dead_session()
    return found


async def _spoiled(request: web.Request, fault: Fault, response: web.Response) -> web.StreamResponse:
    if fault.kind in {"slow", "lost"}:
        await asyncio.sleep(fault.seconds)
    if fault.kind == "slow":
        return response
    if fault.kind in {"slow_body", "cut", "no_content_type"}:
        return await _by_hand(request, fault, response)
    if fault.kind in {"lost", "reset"}:
        return _cut(request)
    return _another_answer(fault)


def _another_answer(fault: Fault) -> web.Response:
    match fault.kind:
        case "error":
            return failure(KiteError(fault.status or 500, fault.error_type, fault.message))
        case "no_error_type":
            return web.json_response(
                {"status": "error", "message": fault.message}, status=fault.status or 500
            )
        case "timed_out":
            return failure(KiteError(400, "InputException", TIMED_OUT))
        case "not_json":
            return web.Response(body=b'{"status": \xff\xfe', content_type="application/json")
    return web.Response(status=fault.status or 502, text=_HTML, content_type="text/html")


async def _by_hand(request: web.Request, fault: Fault, response: web.Response) -> web.StreamResponse:
    """Writes an answer to the socket, with a header, a half or some time missing."""
    transport = request.transport
    body = response.body if isinstance(response.body, bytes) else b""
    kind = "" if fault.kind == "no_content_type" else f"Content-Type: {response.content_type}\r\n"
    head = f"HTTP/1.1 {response.status} OK\r\n{kind}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    half = len(body) // 2
    if transport is not None:
        transport.write(head.encode() + body[:half])
        if fault.kind == "slow_body":
            await asyncio.sleep(fault.seconds)
        if fault.kind != "cut":
            transport.write(body[half:])
        transport.close()
    return web.Response()


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
