"""Keeps the exchange's books in a file, so that one that is started again has forgotten nothing, as the real one hasn't."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from tests.kite_exchange.exchange import Exchange


class KeptBooks:
    """The file with an exchange's orders, trades and accounts.

    Args:
        exchange: whose books they are.
        file: where they are; read now, if it is there.
    """

    def __init__(self, exchange: Exchange, file: Path) -> None:
        self._exchange = exchange
        self._file = file
        self._told = 0
        self._saved = (-1, -1, -1)
        exchange.desk.told.append(self._count)
        if file.exists():
            self._read()

    def save(self) -> None:
        """Writes what has changed."""
        desk = self._exchange.desk
        state = (self._told, len(desk.orders), len(desk.trades))
        if state == self._saved:
            return
        self._saved = state
        books = pickle.dumps(
            {
                "day": self._exchange.clock.day(),
                "orders": desk.orders,
                "trades": desk.trades,
                "accounts": desk.accounts,
            }
        )
        written = self._file.with_suffix(".new")
        written.write_bytes(books)
        written.replace(self._file)

    def _count(self, *_: object) -> None:
        self._told += 1

    def _read(self) -> None:
        kept: dict[str, Any] = pickle.loads(self._file.read_bytes())
        desk = self._exchange.desk
        desk.orders, desk.trades, desk.accounts = kept["orders"], kept["trades"], kept["accounts"]
        desk.number_on()
        if kept["day"] != self._exchange.clock.day():
            desk.list_day()
