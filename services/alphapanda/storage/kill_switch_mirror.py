"""The kill switches as Redis shows them: a copy that fails closed. The rows are risk's.

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
    """The state of a stored value; REDUCING where there is none or it can't be understood."""
    text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown or ""
    return TradingState.__members__.get(text.partition("|")[2], TradingState.REDUCING)


class KillSwitchMirror:
    """Written by risk, read by whoever is about to send an order.

    Args:
        redis: opened with `decode_responses=True` or without.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._write = redis.register_script(_WRITE)

    async def write(self, broker: str, state: TradingState, revision: int) -> None:
        """Shows a state; does nothing where a newer revision is shown.

        Raises:
            RedisError: it can't be written now.
        """
        await self._write(keys=[KEY + broker], args=[revision, state.name])

    async def is_missing(self, broker: str) -> bool:
        """Whether nothing is shown of a broker, as after a loss of Redis; False where that can't be told now."""
        try:
            return await self._redis.get(KEY + broker) is None
        except (RedisError, OSError):
            return False

    async def state(self, broker: str) -> TradingState:
        """What may be traded; REDUCING where it is missing or can't be read."""
        try:
            return shown_state(await self._redis.get(KEY + broker))
        except (RedisError, OSError):
            return TradingState.REDUCING
