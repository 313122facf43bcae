"""A copy of risk's kill switches in Redis, which fails closed. The authoritative rows are in risk's schema.

Key: `risk:kill_switch:{broker}` = "revision|state", such as "3|HALTED". Nothing is replaced by an older revision.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from alphapanda.domain.order import TradingState

KEY: Final = "risk:kill_switch:"

_WRITE: Final = """
local held = redis.call('GET', KEYS[1])
local revision = held and tonumber(string.match(held, '^(%d+)|'))
if revision and revision > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. ARGV[2])
return 1
"""


def shown_state(shown: bytes | str | None) -> TradingState:
    """Parses a stored value; REDUCING where it is missing or malformed."""
    text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown or ""
    return TradingState.__members__.get(text.partition("|")[2], TradingState.REDUCING)


class KillSwitchMirror:
    """Writes and reads the mirror: risk writes it, and an order's sender reads it before the call.

    Args:
        redis: opened with `decode_responses=True` or without.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._write = redis.register_script(_WRITE)

    async def write(self, broker: str, state: TradingState, revision: int) -> None:
        """Writes a state; does nothing where Redis has a newer revision.

        Raises:
            RedisError: Redis can't be written now.
        """
        await self._write(keys=[KEY + broker], args=[revision, state.name])

    async def is_missing(self, broker: str) -> bool:
        """Whether a broker's state is missing, as after a loss of Redis; False where Redis can't be read."""
        try:
            return await self._redis.get(KEY + broker) is None
        except (RedisError, OSError):
            return False

    async def state(self, broker: str) -> TradingState:
        """Returns the trading state of a broker; REDUCING where it is missing or can't be read."""
        try:
            return shown_state(await self._redis.get(KEY + broker))
        except (RedisError, OSError):
            return TradingState.REDUCING
