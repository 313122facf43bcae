"""A copy of risk's kill switches in Redis, which fails closed. The authoritative rows are in risk's schema.

Key: `risk:kill_switch:{broker}` = "revision|state", such as "3|HALTED". Nothing is replaced by an older revision, unless
the writer names what it replaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError
from typing_extensions import override

from alphapanda.domain.order import TradingState
from alphapanda.resilience.budgets import within

KEY: Final = "risk:kill_switch:"

_WRITE: Final = """
local held, asked = redis.call('GET', KEYS[1]), ARGV[1] .. '|' .. ARGV[2]
local revision, state = string.match(held or '', '^(%d+)|(%u+)$')
if state == 'ACTIVE' or state == 'REDUCING' or state == 'HALTED' then
  if tonumber(revision) >= tonumber(ARGV[1]) and held ~= asked and held ~= ARGV[3] then return held end
end
redis.call('SET', KEYS[1], asked)
return asked
"""
_LONGEST_REVISION: Final = 19


class ShownSwitch(NamedTuple):
    """What the mirror shows of a kill switch."""

    state: TradingState
    revision: int

    @override
    def __str__(self) -> str:
        """The value in Redis, such as "3|HALTED"."""
        return f"{self.revision}|{self.state.name}"


def shown_switch(shown: bytes | str | None) -> ShownSwitch | None:
    """Parses a stored value; None where it is missing or malformed."""
    text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown or ""
    revision, _, name = text.partition("|")
    state = TradingState.__members__.get(name)
    if state is None or not (
        revision.isascii() and revision.isdecimal() and len(revision) <= _LONGEST_REVISION
    ):
        return None
    return ShownSwitch(state, int(revision))


def shown_state(shown: bytes | str | None) -> TradingState:
    """Parses the state of a stored value; REDUCING where it is missing or malformed."""
    text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown or ""
    return TradingState.__members__.get(text.partition("|")[2], TradingState.REDUCING)


class KillSwitchMirror:
    """Writes and reads the mirror: risk writes it, and an order's sender reads it before the call.

    Args:
        redis: opened with `decode_responses=True` or without.
        budget_seconds: longest wait for Redis in one call: setting a kill switch must not wait for it.
    """

    def __init__(self, redis: Redis, budget_seconds: float = 0.25) -> None:
        self._redis = redis
        self._budget = budget_seconds
        self._write = redis.register_script(_WRITE)

    async def write(
        self, broker: str, state: TradingState, revision: int, replaces: ShownSwitch | None = None
    ) -> ShownSwitch:
        """Writes a state; does nothing where Redis has a newer revision, or another state under this revision.

        Args:
            broker: the broker.
            state: what may be traded.
            revision: of the switch.
            replaces: what the state takes the place of, whichever is newer.

        Returns:
            What Redis has now.

        Raises:
            RedisError, OSError: Redis can't be written now.
        """
        asked = ShownSwitch(state, revision)
        arguments: list[str | int] = [revision, state.name, str(replaces or "")]
        held = await within(self._budget, self._written(broker, arguments))
        return shown_switch(held) or asked

    async def _written(self, broker: str, arguments: Sequence[str | int]) -> bytes | str | None:
        held: bytes | str | None = await self._write(keys=[KEY + broker], args=list(arguments))
        return held

    async def _read(self, broker: str) -> bytes | str | None:
        shown: bytes | str | None = await self._redis.get(KEY + broker)
        return shown

    async def is_missing(self, broker: str) -> bool:
        """Whether a broker's state is missing, as after a loss of Redis; False where Redis can't be read."""
        try:
            return await within(self._budget, self._read(broker)) is None
        except (RedisError, OSError):
            return False

    async def shown(self, broker: str) -> ShownSwitch | None:
        """Reads a broker's switch; None where it is missing or malformed.

        Raises:
            RedisError, OSError: Redis can't be read now.
        """
        return shown_switch(await within(self._budget, self._read(broker)))

    async def state(self, broker: str) -> TradingState:
        """Returns the trading state of a broker; REDUCING where it is missing or can't be read."""
        try:
            return shown_state(await within(self._budget, self._read(broker)))
        except (RedisError, OSError):
            return TradingState.REDUCING
