"""The market as marketdata would have written it to the cache: time that follows virtual time, prices that move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from redis.exceptions import ConnectionError as RedisAway
from tests.simulation.world import NOON, World

from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import TradingState


class Market:
    """Prices and market time, and the cache that shows them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        """Market time."""
        return NOON + timedelta(milliseconds=int(self._world.loop.time() * 1000))

    def price(self, token: int) -> Decimal:
        """Last price, rupees: a walk that needs no memory."""
        return Decimal(100 + (token * 37 + int(self._world.loop.time()) * 7) % 50) + Decimal("0.05") * token

    async def view(self, tokens: Sequence[int]) -> MarketView:
        """As the price cache answers."""
        world = self._world

        def read() -> MarketView:
            if world.happens(world.faults.cache_away):
                raise RedisAway("the cache is away")
            now = self.now()
            return MarketView(
                now, "run", {token: LastPrice(self.price(token), now) for token in tokens}, "frame"
            )

        return await world.request("read prices", read, RedisAway)


class Mirror:
    """The kill switches as Redis shows them; one for all processes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._shown: dict[str, tuple[int, TradingState]] = {}

    async def write(self, broker: str, state: TradingState, revision: int) -> None:
        """As the mirror does."""

        def effect() -> None:
            if self._shown.get(broker, (-1, state))[0] <= revision:
                self._shown[broker] = (revision, state)

        await self._world.request(f"mirror {state.name}", effect, RedisAway)

    async def state(self, broker: str) -> TradingState:
        """As the mirror answers: REDUCING where it can't be read."""
        try:
            return await self._world.request(
                "read mirror", lambda: self._shown.get(broker, (0, TradingState.REDUCING))[1], RedisAway
            )
        except RedisAway:
            return TradingState.REDUCING
