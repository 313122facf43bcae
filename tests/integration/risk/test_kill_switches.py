from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.risk.kill_switches import KillSwitches
from alphapanda.risk.store.port import SwitchScope
from alphapanda.storage.kill_switch_mirror import KEY, KillSwitchMirror
from alphapanda.storage.requests import RequestReused
from panda.risk.v1.risk_pb2 import SetKillSwitchRequest

BROKERS = ("paper", "zerodha")
WILD = 1_000_000


class TradingAway(grpc.RpcError):
    """Trading can't be reached."""


def _request(state: TradingState, request_id: str = "one", broker: str = "paper") -> SetKillSwitchRequest:
    return SetKillSwitchRequest(request_id=request_id, broker=broker, state=int(state), reason="drill")


@pytest.fixture
async def switches(risk, mirror, trading) -> AsyncIterator[KillSwitches]:
    """Started switches whose retries come quickly."""
    switches = KillSwitches(
        risk.store, mirror, trading, BROKERS, lambda: datetime.now(tz=UTC), retry_seconds=0.01
    )
    await switches.start()
    yield switches
    await switches.stop()


async def _until_settled(switches: KillSwitches) -> None:
    """Until what was set before is delivered, so that the retries don't touch what a test does next."""

    async def settled() -> bool:
        return not switches._unconfirmed

    await _until(settled)


async def _until(condition) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - Redis and the fake have no event
            await asyncio.sleep(0.005)


async def test_a_switch_is_stored_published_mirrored_and_acknowledged(
    risk, switches, mirror, trading
) -> None:
    """The answer comes after all four, and decisions after it see the new state."""
    answer = await switches.set("me", _request(TradingState.REDUCING))
    assert answer.acknowledged_by_trading
    assert (answer.warning, answer.kill_switch.revision, answer.kill_switch.changed_by) == ("", 1, "me")
    assert await mirror.state("paper") is TradingState.REDUCING
    assert trading.held["paper"] == (1, TradingState.REDUCING)
    signal = risk.signal(10)
    await risk.raw(signal)
    changed, _ = await risk.published()
    assert (changed.broker, changed.kill_switch_changed.broker) == ("", "paper")
    assert changed.kill_switch_changed.revision == 1
    assert await risk.rejected() == [(signal.signal_id, "KILL_SWITCH")]


async def test_a_halt_stops_exits_too(risk, switches) -> None:
    """HALTED refuses an exit that REDUCING would have let pass."""
    await risk.raw(risk.signal(10))
    [order] = await risk.validated()
    await risk.told(order, 10, OrderStatus.FILLED, 2)
    await switches.set("me", _request(TradingState.HALTED))
    leaving = risk.signal(0)
    await risk.raw(leaving)
    assert await risk.rejected() == [(leaving.signal_id, "KILL_SWITCH")]


async def test_the_other_broker_is_untouched(risk, switches, mirror) -> None:
    """A switch is its broker's alone."""
    await switches.set("me", _request(TradingState.HALTED, broker="zerodha"))
    assert await mirror.state("paper") is TradingState.ACTIVE
    await risk.raw(risk.signal(10))
    assert len(await risk.validated()) == 1


async def test_the_same_request_sets_once(risk, switches) -> None:
    """Repeated, it has the same answer and no second event; with another body it is refused."""
    first = await switches.set("me", _request(TradingState.HALTED))
    assert await switches.set("me", _request(TradingState.HALTED)) == first
    assert len(await risk.published()) == 1
    with pytest.raises(RequestReused):
        await switches.set("me", _request(TradingState.ACTIVE))


async def test_a_repeated_old_request_does_not_bring_the_old_state_back(switches, mirror) -> None:
    """A late repetition answers with what it did then, and everybody keeps the newer state."""
    await switches.set("me", _request(TradingState.HALTED, "old"))
    await switches.set("me", _request(TradingState.ACTIVE, "new"))
    again = await switches.set("me", _request(TradingState.HALTED, "old"))
    assert again.kill_switch.revision == 1
    assert (await switches.get(SwitchScope("paper"))).state is TradingState.ACTIVE
    assert await mirror.state("paper") is TradingState.ACTIVE


async def test_the_state_it_has_is_no_change(risk, switches) -> None:
    """Setting what is set publishes nothing and keeps the revision."""
    await switches.set("me", _request(TradingState.HALTED, "one"))
    answer = await switches.set("me", _request(TradingState.HALTED, "two"))
    assert answer.kill_switch.revision == 1
    assert len(await risk.published()) == 1


async def test_an_unreachable_trading_is_named_and_told_again(switches, trading) -> None:
    """The answer says who did not confirm; trading gets the switch once it is back."""
    trading.error = TradingAway()
    answer = await switches.set("me", _request(TradingState.HALTED))
    assert not answer.acknowledged_by_trading
    assert "trading did not confirm" in answer.warning
    trading.error = None

    async def told() -> bool:
        return trading.held.get("paper") == (1, TradingState.HALTED)

    await _until(told)


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.ACTIVE])
@pytest.mark.parametrize("held", [TradingState.HALTED, TradingState.ACTIVE])
async def test_a_person_takes_the_place_of_a_revision_that_was_never_set(
    switches, mirror, trading, state, held
) -> None:
    """A wild revision at trading and in Redis doesn't keep a command out, with an alarm; what is set is held everywhere."""
    await _until_settled(switches)
    trading.held["paper"] = (WILD, held)
    await mirror.write("paper", held, WILD)
    with capture_logs() as logs:
        answer = await switches.set("me", _request(state))
    assert (answer.acknowledged_by_trading, answer.warning) == (True, "")
    assert trading.held["paper"] == (1, state)
    assert await mirror.shown("paper") == (state, 1)
    assert [line["event"] for line in logs if line.get("alarm")] == ["kill_switch.copy_differed"] * 2
    assert switches.degradation == ""


async def test_a_stricter_copy_that_was_never_set_stays_until_a_person_sets_the_switch(
    switches, trading, mirror
) -> None:
    """The comparison raises one alarm and changes nothing; neither does a repeated request; a new command does."""
    await switches.set("me", _request(TradingState.ACTIVE))
    await _until_settled(switches)
    trading.held["paper"] = (WILD, TradingState.HALTED)
    with capture_logs() as logs:
        for _ in range(3):
            await switches.comparison.once()
    [alarm] = [line for line in logs if line.get("alarm")]
    expected = (
        f"trading holds HALTED for broker 'paper' at revision {WILD}, which was never set;"
        " it applies until the switch is set again"
    )
    assert alarm["error"] == switches.degradation == switches.difference(SwitchScope("paper")) == expected
    again = await switches.set("me", _request(TradingState.ACTIVE))
    assert (again.acknowledged_by_trading, again.warning) == (False, expected)
    assert trading.held["paper"] == (WILD, TradingState.HALTED)
    answer = await switches.set("me", _request(TradingState.ACTIVE, "two"))
    assert answer.acknowledged_by_trading
    assert trading.held["paper"] == (1, TradingState.ACTIVE)
    assert switches.degradation == ""


async def test_the_comparison_puts_a_laxer_copy_right(switches, trading, mirror) -> None:
    """Risk's row is stricter, so it takes the place at once: at trading, for a strategy too, and in Redis."""
    await switches.set("me", _request(TradingState.HALTED))
    one = SetKillSwitchRequest(
        request_id="s", broker="paper", state=int(TradingState.REDUCING), reason="drill", strategy_id="ema-1"
    )
    await switches.set("me", one)
    await _until_settled(switches)
    trading.held["paper"] = (WILD, TradingState.REDUCING)
    trading.strategies["paper", "ema-1"] = (WILD, TradingState.ACTIVE)
    await mirror.write("paper", TradingState.ACTIVE, WILD)
    with capture_logs() as logs:
        await switches.comparison.once()
    assert len([line for line in logs if line.get("alarm")]) == 3
    assert trading.held["paper"] == (1, TradingState.HALTED)
    assert trading.strategies["paper", "ema-1"] == (1, TradingState.REDUCING)
    assert await mirror.shown("paper") == (TradingState.HALTED, 1)
    assert switches.degradation == ""


async def test_a_copy_of_a_switch_that_nobody_set_is_an_alarm(switches, trading) -> None:
    """A strategy's at trading that risk has no row for; the broker's with a number alone stops nothing that is set later."""
    await _until_settled(switches)
    trading.strategies["paper", "ema-1"] = (WILD, TradingState.HALTED)
    trading.held["paper"] = (WILD, TradingState.ACTIVE)
    await switches.comparison.once()
    assert "HALTED for strategy 'ema-1' at 'paper'" in switches.difference(SwitchScope("paper", "ema-1"))
    assert "ACTIVE for broker 'paper'" in switches.difference(SwitchScope("paper"))
    assert (await switches.set("me", _request(TradingState.HALTED))).acknowledged_by_trading
    assert trading.held["paper"] == (1, TradingState.HALTED)


async def test_what_cant_be_compared_now_is_compared_later(switches, trading) -> None:
    """A trading that is away ends no comparison for good, and makes nothing up."""
    trading.error = TradingAway()
    assert await switches.comparison.once()
    assert switches.degradation == ""


async def test_what_is_set_while_an_older_switch_is_told_again_is_told_too(risk, mirror, trading) -> None:
    """An old revision that trading confirms late doesn't pass for the new one, which it never got."""
    telling, go_on = asyncio.Event(), asyncio.Event()

    class Late:
        """Trading; its answer to the first call of revision 1 in the background comes late."""

        async def ApplyKillSwitch(self, request, timeout=None):  # noqa: N802 - the contract's name
            if request.revision == 1 and not telling.is_set():
                telling.set()
                await go_on.wait()
            return await trading.ApplyKillSwitch(request, timeout=timeout)

    before = KillSwitches(risk.store, mirror, trading, ["paper"], lambda: datetime.now(tz=UTC))
    await before.set("me", _request(TradingState.REDUCING, "first"))
    switches = KillSwitches(
        risk.store, mirror, Late(), ["paper"], lambda: datetime.now(tz=UTC), retry_seconds=0.01
    )
    await switches.start()
    await telling.wait()
    trading.error = TradingAway()
    assert not (await switches.set("me", _request(TradingState.HALTED, "second"))).acknowledged_by_trading
    trading.error = None
    go_on.set()

    async def told() -> bool:
        return trading.held.get("paper") == (2, TradingState.HALTED)

    await _until(told)
    await switches.stop()


async def test_a_start_shows_every_switch_and_tells_trading(
    risk, switches, mirror, trading, redis_url
) -> None:
    """After a restart with an empty Redis the mirror is as the rows are, and trading is told what was set."""
    await switches.set("me", _request(TradingState.REDUCING))
    await switches.stop()
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    assert await mirror.state("zerodha") is TradingState.REDUCING
    trading.held.clear()
    again = KillSwitches(risk.store, mirror, trading, BROKERS, lambda: datetime.now(tz=UTC))
    await again.start()
    assert await mirror.state("paper") is TradingState.REDUCING
    assert await mirror.state("zerodha") is TradingState.ACTIVE

    async def told() -> bool:
        return trading.held == {"paper": (1, TradingState.REDUCING)}

    await _until(told)
    await again.stop()


async def test_a_mirror_that_redis_lost_is_written_again(switches, mirror, redis_url) -> None:
    """A Redis that loses everything while risk runs shows the switches again soon, so that entries pass as before."""
    await switches.set("me", _request(TradingState.HALTED))
    async with Redis.from_url(redis_url) as redis:
        await redis.delete(KEY + "paper", KEY + "zerodha")

        async def shown() -> bool:
            return await redis.exists(KEY + "paper", KEY + "zerodha") == len(BROKERS)

        await _until(shown)
    assert await mirror.state("paper") is TradingState.HALTED
    assert await mirror.state("zerodha") is TradingState.ACTIVE


async def test_the_mirror_never_goes_back(mirror) -> None:
    """An older revision is not shown over a newer one."""
    await mirror.write("paper", TradingState.HALTED, 11)
    await mirror.write("paper", TradingState.ACTIVE, 9)
    assert await mirror.state("paper") is TradingState.HALTED
    assert await mirror.write("paper", TradingState.ACTIVE, 11) == (TradingState.HALTED, 11)
    await mirror.write("paper", TradingState.ACTIVE, 12)
    assert await mirror.state("paper") is TradingState.ACTIVE


@pytest.mark.parametrize("shown", [None, b"", b"nonsense", b"3|OPEN", b"\xff\xfe"])
async def test_a_mirror_without_a_readable_state_lets_exits_alone_pass(mirror, redis_url, shown) -> None:
    """Missing or unreadable is REDUCING."""
    async with Redis.from_url(redis_url) as redis:
        if shown is not None:
            await redis.set(KEY + "paper", shown)
    assert await mirror.state("paper") is TradingState.REDUCING


async def test_a_mirror_that_is_away_lets_exits_alone_pass(tmp_path) -> None:
    """A Redis that can't be reached is REDUCING."""
    async with Redis.from_url(f"unix://{tmp_path}/nobody.sock") as redis:
        assert await KillSwitchMirror(redis).state("paper") is TradingState.REDUCING


async def test_a_mirror_that_is_away_is_named(risk, trading, tmp_path) -> None:
    """The switch is set and trading told; the answer says that the mirror could not be written."""
    async with Redis.from_url(f"unix://{tmp_path}/nobody.sock") as redis:
        switches = KillSwitches(
            risk.store, KillSwitchMirror(redis), trading, BROKERS, lambda: datetime.now(tz=UTC)
        )
        answer = await switches.set("me", _request(TradingState.HALTED))
    assert "mirror" in answer.warning
    assert trading.held["paper"] == (1, TradingState.HALTED)


async def test_a_switch_waits_for_the_decisions_under_way(postgres_risk, mirror, trading) -> None:
    """A halt is not answered while a decision that saw ACTIVE is uncommitted."""
    switches = KillSwitches(postgres_risk.store, mirror, trading, BROKERS, lambda: datetime.now(tz=UTC))
    async with postgres_risk.store.unit("paper", "default") as unit:
        await unit.book((), ())
        assert unit.trading_state is TradingState.ACTIVE
        halting = asyncio.create_task(switches.set("me", _request(TradingState.HALTED)))
        await asyncio.wait([halting], timeout=0.2)
        assert not halting.done()
    await halting
    async with postgres_risk.store.unit("paper", "default") as unit:
        await unit.book((), ())
        assert unit.trading_state is TradingState.HALTED
