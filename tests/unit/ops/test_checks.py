"""Active checks: what keeps a service from its work, what a person should read, and when either is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from alphapanda.app.probes import lag, require_frames, timed
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import nanoseconds
from alphapanda.ops.checks import ActiveCheck, CheckFailed, HealthChecks
from alphapanda.storage.price_cache import MarketClock

OPEN = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)  # a Monday, 09:30 in Mumbai
SUNDAY = datetime(2026, 1, 4, 4, 0, tzinfo=UTC)
SEGMENTS = ("NSE_EQ", "NSE_EQ_CAS")
AGE = timedelta(seconds=30)


class Answer:
    """What a check is answered; the test sets it."""

    def __init__(self) -> None:
        self.now: str | Exception | None = ""
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.now is None:
            await asyncio.Event().wait()
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


@pytest.fixture
def answer() -> Answer:
    """Nothing to say."""
    return Answer()


async def test_what_is_raised_keeps_a_service_from_its_work(answer) -> None:
    """An error and a missing answer hold a service up with a reason; a line is a degradation; nothing is well."""
    check = ActiveCheck("database", answer, 0.05)
    told = []
    for now in (ConnectionRefusedError("refused"), None, CheckFailed("silent"), "slow", ""):
        answer.now = now
        await check.run(in_grace_period=False)
        told.append((check.serving, check.last_error, check.degradation))
    assert told == [
        (False, "ConnectionRefusedError: refused", ""),
        (False, "no answer within 0.05 s", ""),
        (False, "silent", ""),
        (True, "", "slow"),
        (True, "", ""),
    ]


async def test_only_a_change_is_logged(answer) -> None:
    """A check that goes on failing is told once, and once when it is well again."""
    check = ActiveCheck("redis", answer, 1.0)
    with capture_logs() as logs:
        for now in ("", OSError("away"), OSError("still away"), OSError("away"), "", ""):
            answer.now = now
            await check.run(in_grace_period=False)
    assert [(line["log_level"], line["event"], line["check"]) for line in logs] == [
        ("warning", "check.failed", "redis"),
        ("info", "check.recovered", "redis"),
    ]


async def test_bad_answers_are_forgiven_in_the_grace(answer) -> None:
    """In the first seconds a bad answer counts as none; after them it is told, and asked for again before its time."""
    answer.now = OSError("away")
    now = [0.0]
    check = ActiveCheck("redis", answer, 1.0)
    checks = HealthChecks([check], 0.02, 10.0, lambda: now[0])
    await checks.start()
    async with asyncio.timeout(20):
        while answer.asked < 3:  # noqa: ASYNC110 - nothing tells of a round
            await asyncio.sleep(0.01)
        assert check.serving
        now[0] = 10.0
        while check.serving:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
    await checks.stop()


async def test_a_slow_round_trip_is_a_concern() -> None:
    """A round trip over the limit is told with both times."""

    async def slow() -> None:
        await asyncio.sleep(0.06)

    assert await timed(slow, 0.05)() == "answers within 0.1 s; 0.05 s are allowed"
    assert await timed(slow, 5.0)() == ""


async def test_lag_over_the_limit_is_a_concern() -> None:
    """Followers that are too far behind are named with how far."""

    class Follower:
        def __init__(self, name: str, records: int) -> None:
            self.name, self.records = name, records

        async def lag(self) -> dict[str, int]:
            return {"paper": self.records, "zerodha": 1}

    followers = [Follower("portfolio.frames", 1000), Follower("risk.control", 999)]
    assert await lag(followers, 1000)() == "portfolio.frames is 1001 records behind; 1000 are allowed"
    assert await lag(followers, 1001)() == ""


@pytest.mark.parametrize(
    ("market_time", "written", "wall", "simulated", "silent"),
    [
        (OPEN, OPEN, OPEN + AGE, False, False),
        (OPEN, OPEN, OPEN + AGE + timedelta(seconds=1), False, True),
        (OPEN, SUNDAY, SUNDAY + AGE * 2, True, True),  # a simulated session on a Sunday
        (SUNDAY, OPEN, OPEN + AGE * 2, True, False),  # a simulated Sunday on a Monday
        (OPEN, OPEN, SUNDAY + timedelta(days=7), False, False),  # the exchange is closed
        (OPEN, OPEN, datetime(2150, 1, 1, tzinfo=UTC), False, False),  # nobody knows whether it is
    ],
)
def test_a_feed_is_silent_when_the_exchange_trades(market_time, written, wall, simulated, silent) -> None:
    """Frames are missed in session: by wall time, or by the feed's own clock where it is simulated."""
    clock = MarketClock("run", nanoseconds(market_time), nanoseconds(written), simulated, "f")
    if silent:
        with pytest.raises(CheckFailed, match=r"the newest frame is \d+ s old; 30 s are allowed"):
            require_frames(clock, load_nse_calendar(), SEGMENTS, wall, AGE, simulated=simulated)
    else:
        require_frames(clock, load_nse_calendar(), SEGMENTS, wall, AGE, simulated=simulated)


def test_a_real_feed_that_never_began_is_silent() -> None:
    """Without any frame a real-time feed is held up in session, and nothing is said out of it."""
    with pytest.raises(CheckFailed, match="no frame came yet"):
        require_frames(None, load_nse_calendar(), SEGMENTS, OPEN, AGE, simulated=False)
    require_frames(None, load_nse_calendar(), SEGMENTS, SUNDAY, AGE, simulated=False)
    require_frames(None, load_nse_calendar(), SEGMENTS, OPEN, AGE, simulated=True)
