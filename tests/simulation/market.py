"""The market as marketdata would have written it to the cache: time that follows virtual time, prices that move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from redis.exceptions import ConnectionError as RedisAway
from tests.simulation.world import NOON, World

from alphapanda.domain.market import LastPrice, MarketView
from alphapanda.domain.order import TradingState
from alphapanda.storage.kill_switch_mirror import ShownSwitch


class Market:
    """Prices and market time, and the cache that shows them."""

    def __init__(self, world: World, mirror: Mirror) -> None:
        self._world = world
        self._mirror = mirror

    def now(self) -> datetime:
        """Market time."""
        return NOON + timedelta(milliseconds=int(self._world.loop.time() * 1000))

    def price(self, token: int) -> Decimal:
        """Last price, rupees: a walk that needs no memory."""
        return Decimal(100 + (token * 37 + int(self._world.loop.time()) * 7) % 50) + Decimal("0.05") * token

    async def view(self, tokens: Sequence[int]) -> MarketView:
        """As the price cache answers."""
        return await self._world.request("read prices", lambda: self._read(tokens), RedisAway)

    async def view_with_states(
        self, tokens: Sequence[int], brokers: Sequence[str]
    ) -> tuple[MarketView, Mapping[str, TradingState]]:
        """As the price cache answers, with the kill switches that are shown."""

        def read() -> tuple[MarketView, Mapping[str, TradingState]]:
            return self._read(tokens), {broker: self._mirror.state(broker) for broker in brokers}

        return await self._world.request("read prices and switches", read, RedisAway)

    def _read(self, tokens: Sequence[int]) -> MarketView:
        world = self._world
        if world.happens(world.faults.cache_away):
            raise RedisAway("the cache is away")
        now = self.now()
        return MarketView(now, "run", {token: LastPrice(self.price(token), now) for token in tokens}, "frame")


class Mirror:
    """The kill switches as Redis shows them; one for all processes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._shown: dict[str, ShownSwitch] = {}

    async def write(
        self, broker: str, state: TradingState, revision: int, replaces: ShownSwitch | None = None
    ) -> ShownSwitch:
        """As the mirror does."""

        def effect() -> ShownSwitch:
            held = self._shown.get(broker)
            if held is None or held.revision < revision or held == replaces:
                held = self._shown[broker] = ShownSwitch(state, revision)
            return held

        return await self._world.request(f"mirror {state.name}", effect, RedisAway)

    async def shown(self, broker: str) -> ShownSwitch | None:
        """As the mirror does."""
        return await self._world.request("mirror", lambda: self._shown.get(broker), RedisAway)

    def state(self, broker: str) -> TradingState:
        """What it shows; REDUCING where that is nothing."""
        held = self._shown.get(broker)
        return TradingState.REDUCING if held is None else held.state
