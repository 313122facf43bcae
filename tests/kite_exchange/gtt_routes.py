"""GTTs."""

from __future__ import annotations

from aiohttp import web
from tests.kite_exchange.envelope import app_of, success
from tests.kite_exchange.exchange import exchange_of
from tests.kite_exchange.gtt import Trigger, Triggers


async def listed(request: web.Request) -> web.StreamResponse:
    """GET /gtt/triggers."""
    user = app_of(request).user_id
    return success(
        [each.row() for each in exchange_of(request).triggers.by_id.values() if each.user_id == user]
    )


async def one(request: web.Request) -> web.StreamResponse:
    """GET /gtt/triggers/{id}."""
    return success(_found(request).row())


async def place(request: web.Request) -> web.StreamResponse:
    """POST /gtt/triggers."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    return success(
        {"trigger_id": exchange_of(request).triggers.put(app_of(request).user_id, form).trigger_id}
    )


async def change(request: web.Request) -> web.StreamResponse:
    """PUT /gtt/triggers/{id}."""
    found = _found(request)
    form = {name: str(value) for name, value in (await request.post()).items()}
    return success({"trigger_id": _triggers(request).put(found.user_id, form, found.trigger_id).trigger_id})


async def delete(request: web.Request) -> web.StreamResponse:
    """DELETE /gtt/triggers/{id}."""
    found = _found(request)
    found.status = "deleted"
    return success({"trigger_id": found.trigger_id})


def _triggers(request: web.Request) -> Triggers:
    return exchange_of(request).triggers


def _found(request: web.Request) -> Trigger:
    return _triggers(request).get(app_of(request).user_id, request.match_info["id"])


def routes() -> list[web.RouteDef]:
    """The routes of GTTs."""
    return [
        web.get("/gtt/triggers", listed),
        web.post("/gtt/triggers", place),
        web.get("/gtt/triggers/{id}", one),
        web.put("/gtt/triggers/{id}", change),
        web.delete("/gtt/triggers/{id}", delete),
    ]
