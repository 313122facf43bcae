"""A strategy that starts while the market runs is warm from the log, and says what the log no longer holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.integration.strategy.test_consumer import NO_FATE, TOKENS, Fate, World, config, flattens
from tests.values import replace

from alphapanda.strategy.api import StrategyServicer
from alphapanda.strategy.core.config import StrategyState
from alphapanda.strategy.core.registry import StrategyRegistry
from panda.strategy.v1 import strategy_pb2 as api

SLOW = 12


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
