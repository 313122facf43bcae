"""Order updates: as text on the user's WebSockets, and posted to the app that placed the order."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from tests.kite_exchange.json_form import plain
from tests.kite_exchange.orders import Order
from tests.kite_exchange.sessions import App
from tests.kite_exchange.ticker import Ticker

_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


@dataclass(slots=True)
class Postbacks:
    """Sends order updates, fire and forget.

    Attributes:
        ticker: the WebSockets; theirs have a blank checksum.
        apps: whose postback URLs are used.
        repeat: how often each is posted.
        spoilt: whether the posted checksum is wrong.
        posted: how many were answered with a success.
    """

    ticker: Ticker
    apps: Mapping[str, App]
    repeat: int = 1
    spoilt: bool = False
    posted: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def told(self, order: Order, status: str) -> None:
        """Sends an order's update."""
        app = self.apps.get(order.api_key)
        payload = {
            **plain(order.row()),
            "status": status,
            "user_id": order.user_id,
            "unfilled_quantity": order.left,
            "app_id": 1234 if app is not None else 0,
            "checksum": "",
        }
        self.ticker.order_update(order.user_id, payload)
        if app is not None and app.postback_url:
            for _ in range(self.repeat):
                task = asyncio.get_running_loop().create_task(self._post(app, payload))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _post(self, app: App, payload: dict[str, Any]) -> None:
        text = (
            f"{payload['order_id']}{payload['order_timestamp']}{app.api_secret}{'x' if self.spoilt else ''}"
        )
        body = json.dumps({**payload, "checksum": hashlib.sha256(text.encode()).hexdigest()})
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as client,
                client.post(
                    app.postback_url, data=body, headers={"Content-Type": "application/json"}
                ) as answer,
            ):
                self.posted += answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return
