"""The unmodified KiteTicker as a process of its own, since its reactor runs once a process. Says as JSON lines what it sees.

python -m tests.kite_exchange.kite_ticker API_KEY ACCESS_TOKEN ROOT TOKENS: full mode for the tokens, separated by commas
"""

from __future__ import annotations

import json
import sys
from typing import Any

from kiteconnect import KiteTicker


def main(api_key: str, access_token: str, root: str, tokens: str) -> None:
    """Connects and tells what comes until it is ended."""
    wanted = [int(token) for token in tokens.split(",")]
    ticker = KiteTicker(api_key, access_token, root=root, reconnect_max_delay=5)

    def on_connect(socket: Any, response: Any) -> None:
        socket.subscribe(wanted)
        socket.set_mode(socket.MODE_FULL, wanted)
        _say("connect", None)

    ticker.on_connect = on_connect
    ticker.on_ticks = lambda _, ticks: _say("ticks", ticks)
    ticker.on_order_update = lambda _, order: _say("order", order)
    ticker.on_message = lambda _, payload, is_binary: _say("message", len(payload) if is_binary else "text")
    ticker.on_error = lambda _, code, reason: _say("error", [code, str(reason)])
    ticker.on_close = lambda _, code, reason: _say("close", [code, str(reason)])
    ticker.on_reconnect = lambda _, attempts: _say("reconnect", attempts)
    ticker.connect()


def _say(kind: str, told: Any) -> None:
    sys.stdout.write(json.dumps([kind, told], default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
