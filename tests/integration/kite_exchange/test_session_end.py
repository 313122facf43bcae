"""The end of a session at 06:00 while everything runs: feed and calls stop together, and a login heals both."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from structlog.testing import capture_logs
from tests.integration.kite_exchange.test_live_feed import DAY, INFY, feeding, rigged, trade

from alphapanda.kite.options import KiteOptions
from alphapanda.kite.outcomes import KiteError
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import NoSession

A_DAY = 86_400


async def reached(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_a_session_that_ends_at_six_under_load_is_healed_by_a_login_alone() -> None:
    """The dead token is refused once a side and not used again; the next login brings back ticks and answers, without a restart."""
    came: Counter[str] = Counter()
    async with rigged() as rig, feeding(rig) as ours:
        options = KiteOptions(login_root=rig.server.api_root, api_root=rig.server.api_root)
        rest = KiteRest(
            options, rig.sessions, structlog.get_logger(), time.monotonic, lambda: datetime.now(UTC), lambda: DAY
        )  # fmt: skip

        async def customer() -> None:
            while True:
                try:
                    await rest.orders()
                    came[rig.sessions.newest.session_id] += 1
                except NoSession:
                    came["nobody"] += 1
                    await rig.sessions.live()
                except KiteError as error:
                    came[error.reason] += 1

        customers = [asyncio.create_task(customer()) for _ in range(4)]
        with capture_logs():
            tick = trade(rig, 10, 1000)
            await ours.until(lambda: tick in ours.ticks(INFY))
            await reached(lambda: came["s1"] >= 4)
            rig.exchange.clock.advance(A_DAY)  # ten o'clock of the next day: the session ended at six
            rig.exchange.ticker.cut_sessionless()
            await reached(
                lambda: rig.sessions.newest.access_token is None and "kite login" in ours.feed.problem
            )
            refused, answered = rig.exchange.ticker.refused, came["s1"]
            await asyncio.sleep(0.3)
            assert (rig.exchange.ticker.refused, came["s1"]) == (refused, answered)
            assert refused <= 1
            rig.log_in()
            await ours.until(lambda: INFY in rig.exchange.ticker.subscribed())
            tick = trade(rig, 20, 2000)
            await ours.until(lambda: tick in ours.ticks(INFY))
            await reached(lambda: came["s2"] >= 4)
        for one in customers:
            one.cancel()
        await asyncio.gather(*customers, return_exceptions=True)
        rest.stop()
        assert ours.feed.problem == ""
    assert came["SESSION_DEAD"] + came["nobody"] <= 8, came
    assert set(came) <= {"s1", "s2", "nobody", "SESSION_DEAD"}
