"""The alarm before a closing auction, which ends stops."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs
from tests.values import replace

from alphapanda.domain.instrument import InstrumentDirectory
from alphapanda.domain.order import Product
from alphapanda.domain.signal import PositionKey
from alphapanda.trading.closing_auction import ClosingAuctionWatch
from alphapanda.trading.core.protection_record import ProtectionState


async def test_rule_15_a_stop_that_the_closing_auction_ends_is_an_alarm(calendar, infy) -> None:
    """From 15:10 on, once, for live positions that are held; paper's and those that have ended are none. Before, nobody is asked."""
    share = replace(infy, session_segment="NSE_EQ_CAS")
    plain = replace(infy, instrument_id="NSE:SMALL", tradingsymbol="SMALL", session_segment="NSE_EQ")
    records = [
        SimpleNamespace(
            protection_id=f"{broker}-{state.name}-{one.instrument_id}",
            key=PositionKey(broker, "default", "ema", one.instrument_id, Product.CNC),
            state=state,
        )
        for broker in ("zerodha", "paper")
        for state in (ProtectionState.ACTIVE, ProtectionState.ARMED)
        for one in (share, plain)
    ]
    asked: list[datetime] = []
    now = datetime(2026, 11, 26, 9, 39, 59, tzinfo=UTC)

    async def market_time() -> datetime:
        return now

    async def live(at: datetime) -> dict[int, list[Any]]:
        asked.append(at)
        return dict(enumerate([one] for one in records))

    context: Any = SimpleNamespace(
        market_time=market_time,
        wall_clock=lambda: now,
        instruments=lambda: InstrumentDirectory([share, plain]),
        store=SimpleNamespace(protections=SimpleNamespace(live=live)),
    )
    watch = ClosingAuctionWatch(context, calendar, ["zerodha"])
    with capture_logs() as logs:
        await watch.look()
        assert not asked
        for minute in (40, 44, 45):
            now = now.replace(minute=minute, second=0)
            await watch.look()
    assert [(one["event"], one["broker"], one["instrument_id"]) for one in logs] == [
        ("protection.stop_ends", "zerodha", "NSE:INFY")
    ]
    assert len(asked) == 2
