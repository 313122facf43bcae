"""What a repair or a restore does in the schema `trading`, while the platform is stopped."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from alphapanda.domain.order import TradingState

_REVISION = text("SELECT revision FROM trading.kill_switches WHERE broker = :broker AND strategy_id = ''")
_HALT = text(
    "INSERT INTO trading.kill_switches (broker, strategy_id, state, revision) VALUES (:broker, '', :state, :revision)"
    " ON CONFLICT (broker, strategy_id) DO UPDATE SET state = excluded.state, revision = excluded.revision"
)
_NEWEST_ORDERS = text(
    "SELECT max(market_time) FROM (SELECT market_time FROM trading.orders ORDER BY seq DESC LIMIT 1000) AS newest"
)


async def switch_revision(connection: AsyncConnection, broker: str) -> int:
    """The revision of trading's copy of a broker's kill switch; 0 where there is none."""
    return int((await connection.execute(_REVISION, {"broker": broker})).scalar() or 0)


async def halt(connection: AsyncConnection, broker: str, revision: int) -> None:
    """Sets trading's copy of a broker's kill switch to HALTED, so that nothing is sent before risk has spoken."""
    await connection.execute(
        _HALT, {"broker": broker, "state": int(TradingState.HALTED), "revision": revision}
    )


async def newest_market_time(connection: AsyncConnection) -> datetime | None:
    """The latest market time of the newest orders."""
    found: datetime | None = (await connection.execute(_NEWEST_ORDERS)).scalar_one()
    return found
