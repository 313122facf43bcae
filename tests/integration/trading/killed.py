"""A process that executes one signal and dies at a named step: `killed.py DATABASE REDIS STEP`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from trading_room import VISIBILITY_WINDOW, approved, open_room

from alphapanda.domain.broker_order import BrokerOrder
from alphapanda.paper_exchange.exchange import PaperExchange
from alphapanda.trading.traders.paper import PaperTrader, paper_order
from alphapanda.trading.traders.trader import Placement

DIED = 77


class DiesAfterPlacing(PaperTrader):
    """The exchange has the order, and nobody hears the answer."""

    async def execute_order(self, placement: Placement) -> BrokerOrder:
        await self._exchange.place(self.broker, placement.tag, paper_order(placement))
        os._exit(DIED)


def doomed(exchange: PaperExchange) -> PaperTrader:
    return DiesAfterPlacing("paper", exchange, VISIBILITY_WINDOW)


async def main(database: str, redis_url: str, step: str) -> None:
    def at(name: str) -> None:
        if name == step:
            os._exit(DIED)

    trader = doomed if step == "placed" else None
    async with open_room(database, redis_url, at=at, trader=trader) as room:
        await room.open_for_trading()
        await room.handle(approved(quantity=150))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
