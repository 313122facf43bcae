"""A strategy that starts while the market runs is warm from the log, and says what the log no longer holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs
from tests.integration.strategy.test_consumer import (
    NO_FATE,
    NOW,
    TOKENS,
    Fate,
    World,
    config,
    flattens,
    new_host,
)
from tests.values import replace
from typing_extensions import override

from alphapanda.contract.wire import decimal, timestamp
from alphapanda.domain.calendar import load_nse_calendar
from alphapanda.domain.frame import Frame
from alphapanda.domain.session import nanoseconds_of
from alphapanda.strategy.api import StrategyServicer
from alphapanda.strategy.core.config import StrategyConfig, StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry
from alphapanda.strategy.core.warm_up import warmed
from alphapanda.strategy.earlier_bars import EarlierBars, MarketDataBars
from alphapanda.strategy.warm_up_reader import WarmUpReader
from panda.marketdata.v1 import marketdata_pb2 as market_api
from panda.strategy.v1 import strategy_pb2 as api

SLOW = 12
SCALE = 10_000
MINUTE_NS = 60 * 10**9
CALENDAR = load_nse_calendar()


@pytest.fixture
async def world(tmp_path, postgres_store, directory, topic_map):
    made = World(tmp_path, postgres_store, directory, topic_map, Fate(*NO_FATE))
    await made.begin()
    yield made
    await made.log.stop()


async def steps(world, count):
    for _ in range(count):
        await world.feed()
        await world.work()


async def missing(world, name="a"):
    service = StrategyServicer(
        world.store, StrategyRegistry(), world.directory, ("paper",), "default", 60, lambda: datetime.now(UTC)
    )
    answer = await service.GetStrategy(api.GetStrategyRequest(strategy_id=name), None)
    listed = await service.ListStrategies(api.ListStrategiesRequest(), None)
    assert [each.warm_up_missing for each in listed.strategies] == [answer.strategy.warm_up_missing]
    return answer.strategy.warm_up_missing


async def test_the_first_signal_comes_with_the_first_tick(world) -> None:
    """As if it had been started as long ago as it needs; the signals before are nobody's."""
    await steps(world, 40)
    await world.change(config("a", TOKENS, fast=3, slow=SLOW))
    await steps(world, 1)
    first, _ = await world.published()
    assert len(first) > 15, "every instrument with a tick in this step"
    assert len({signal.market_time for signal in first.values()}) == 1
    await steps(world, 8)
    signals, times = await world.published()
    assert signals == await world.recomputed()
    assert set(times.values()) == {1}
    assert await missing(world) == 0


async def test_what_the_log_does_not_hold_is_said_and_waited_for(world) -> None:
    """GetStrategy says how many ticks the coldest instrument lacks; no signal comes before."""
    await steps(world, 4)
    await world.change(config("a", TOKENS, fast=3, slow=SLOW))
    await steps(world, 1)
    lacks = await missing(world)
    assert SLOW - 5 <= lacks <= SLOW
    assert (await world.published())[0] == {}
    await world.reader.stop()
    await world.log.stop()
    await world.begin()
    await steps(world, 60)
    await world.reader.stop()  # with a last snapshot
    assert await missing(world) == 0
    signals, _ = await world.published()
    assert signals
    assert signals == await world.recomputed()


async def test_a_restart_begins_from_the_same_warm_up(world) -> None:
    """Killed before any snapshot but the activation's: the same signals with the same ids come again."""
    await world.die()
    world.snapshot_interval = 1_000
    await world.begin()
    await steps(world, 30)
    await world.change(config("a", TOKENS, fast=3, slow=SLOW))
    await steps(world, 6)
    before, _ = await world.published()
    await world.die()
    await world.begin()
    await world.work()
    again, times = await world.published()
    assert again == before
    assert set(times.values()) == {2}


async def test_what_a_new_revision_flattens_is_flattened_after_its_warm_up_too(world) -> None:
    """Once, with the first frame; and a stopped strategy has nothing to wait for."""
    await steps(world, 30)
    await world.change(config("a", TOKENS, fast=3, slow=SLOW))
    await steps(world, 4)
    second = config("a", TOKENS, revision=2, fast=2, slow=SLOW, flattens=flattens(1, 41, 2))
    await world.change(second)
    await steps(world, 4)
    signals, _ = await world.published()
    closing = [signal for signal in signals.values() if "flattens" in signal.reason]
    assert sorted(signal.instrument_token for signal in closing) == list(TOKENS)
    assert signals == await world.recomputed()
    await world.change(replace(second, revision=3, state=StrategyState.STOPPED))
    await steps(world, 1)
    assert await missing(world) == 0


async def test_bars_are_warm_too(world) -> None:
    """A strategy on bars has seen the bars it needs, and its next bar tells how it stands."""
    await steps(world, 60)
    bars = replace(
        config("a", TOKENS),
        strategy_type="sma_cross",
        parameters={"interval": "1s", "fast": "2", "slow": "4"},
    )
    await world.change(bars)
    await steps(world, 9)
    signals, _ = await world.published()
    assert {signal.instrument_token for signal in signals.values()} == set(TOKENS), (
        "cold, it would need 16 steps"
    )
    assert await missing(world) == 0


class Past(EarlierBars):
    """Makes one-minute bars of the days before a time; keeps for how many days it was asked."""

    def __init__(self, days: int) -> None:
        self.there = days
        self.asked: list[int] = []

    @override
    async def frames(self, instruments, before_ns, days):
        self.asked.append(days)
        token, last = (instruments[0].instrument_token,), CALENDAR.trading_day(NOW)
        made = []
        for day in (last - timedelta(days=ago) for ago in range(min(days, self.there), -1, -1)):
            for session in CALENDAR.sessions(day, "NSE_EQ"):
                for minute in range(375):
                    start = session.open_ns + minute * MINUTE_NS
                    end, price = start + MINUTE_NS, price_at(len(made))
                    if end <= before_ns:
                        others = ((price - 200,), (price + 500,), (price - 500,))
                        frame = Frame(
                            "past",
                            0,
                            len(made) + 1,
                            end,
                            SCALE,
                            token,
                            (price,),
                            (end,),
                            (start,),
                            (),
                            *others,
                        )
                        made.append(frame)
        return made


def price_at(number: int) -> int:
    """A price that turns again and again, so that averages cross."""
    return 1_000_000 + 100 * (number * 37 % 400)


def on_minutes(slow: int) -> StrategyConfig:
    made = config("a", TOKENS[:1], fast=3, slow=slow)
    return replace(made, parameters={**made.parameters, "interval": "1m"})


@pytest.mark.parametrize(
    ("there", "slow", "asked", "complete"),
    [(60, 50, [5], True), (10, 1900, [5, 60], True), (1, 1500, [5, 60], False), (None, 50, [], False)],
)
async def test_a_strategy_on_bars_is_warm_from_the_past_where_the_log_is_too_short(
    world, there, slow, asked, complete
) -> None:
    """From further and further back until it has enough; where there isn't enough it says what it lacks, and waits."""
    past = None if there is None else Past(there)
    reader = WarmUpReader(
        world.log,
        world.topic_map,
        lambda: new_host(world.directory),
        past,
        lambda: nanoseconds_of(NOW),
    )
    made = await reader.warmed({}, on_minutes(slow))
    assert (past.asked if past else []) == asked
    assert made.complete is complete
    assert (made.missing == 0) is complete


async def test_who_is_warm_from_bars_decides_as_who_has_seen_the_ticks_behind_them(world) -> None:
    """The same targets at the same times, on the ticks that follow."""
    wanted = on_minutes(50)
    bars = await Past(3).frames(wanted.instruments, nanoseconds_of(NOW), 5)
    ticks = [
        Frame("t", 0, 4 * number + n, at, SCALE, bar.instrument_token, price, (at,))
        for number, bar in enumerate(bars)
        for n, (price, second) in enumerate(
            zip((bar.open, bar.low, bar.high, bar.last_price), (1, 20, 40, 59), strict=True)
        )
        for at in (bar.bar_start[0] + second * 10**9,)
    ]
    later = [
        Frame("t", 0, 10**6 + n, at, SCALE, bars[0].instrument_token, (price_at(n // 5),), (at,))
        for n in range(1, 600)
        for at in (nanoseconds_of(NOW) + n * 12 * 10**9,)
    ]
    decided = []
    for earlier in (bars, [*ticks, Frame("t", 0, 10**6, bars[-1].market_time_ns + 1, SCALE)]):
        made = warmed(new_host(world.directory), wanted, earlier)
        host = new_host(world.directory)
        host.configure(wanted, made.state)
        decided.append([(one.market_time, one.target) for frame in later for one in host.on_frame(frame)])
    assert len(decided[0]) > 10
    assert decided[0] == decided[1]


class Market:
    """A stub of MarketDataService with two pages; or nobody there."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.error = error

    async def ListHistoricalBars(self, request):  # noqa: N802 - the contract's name
        self.asked.append((request.symbol, request.first_day, request.last_day))
        if self.error is not None:
            raise self.error
        begin = datetime(2026, 11, 19 if not request.page_token else 20, 3, 45, tzinfo=UTC)
        bars = [
            market_api.HistoricalBar(
                start=timestamp(begin + timedelta(minutes=minute)),
                open=decimal(Decimal("10.05")),
                high=decimal(Decimal("10.5")),
                low=decimal(Decimal(10)),
                close=decimal(Decimal("10.2")),
                volume=7,
            )
            for minute in range(20)
        ]
        return market_api.ListHistoricalBarsResponse(
            bars=bars, next_page_token="" if request.page_token else "2"
        )


async def test_bars_of_market_data_are_frames_that_end_before_the_log_begins(world) -> None:
    """Pages are read to their end; volumes add up within a day; the bar that isn't over then is left out."""
    market = Market()
    frames = await MarketDataBars(market).frames(on_minutes(5).instruments, nanoseconds_of(NOW), 5)
    assert len(frames) == 20 + 15
    assert {asked[1:] for asked in market.asked} == {("2026-11-16", "2026-11-20")}
    assert [frame.volume[0] for frame in frames[18:22]] == [133, 140, 7, 14]
    last = frames[-1]
    assert last.market_time_ns == nanoseconds_of(NOW)
    assert (last.open, last.high, last.low, last.last_price) == (
        (100_500,),
        (105_000,),
        (100_000,),
        (102_000,),
    )


async def test_where_market_data_has_no_bars_a_strategy_begins_without_them(world) -> None:
    """A warning says why; nothing else fails."""
    market = Market(TimeoutError())
    with capture_logs() as lines:
        assert await MarketDataBars(market).frames(on_minutes(5).instruments, nanoseconds_of(NOW), 5) == ()
    assert [line["event"] for line in lines] == ["strategy.warm_up_bars_missing"]
