"""Live accounts: armed by a person for one day of the exchange, with their limits; simulated ones never need it."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from tests.integration.risk.conftest import KEY, Risk
from tests.values import replace

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.risk.api import RiskApi
from alphapanda.storage.requests import RequestReused
from panda.risk.v1 import risk_pb2 as pb

LIVE = replace(KEY, broker="zerodha", account="main")
LIMITS = {"max_order_value": "10000000", "max_daily_loss": "5000", "max_daily_trades": "50"}


@pytest.fixture(autouse=True)
def live(risk: Risk) -> None:
    """Zerodha's orders reach a real exchange here."""
    risk.decisions.inputs.live = frozenset({"zerodha"})


def _arm(**fields) -> pb.ArmLiveAccountRequest:
    given = {"request_id": str(uuid4()), "broker": "zerodha", "reason": "a drill"} | fields
    return pb.ArmLiveAccountRequest(**given)


def _disarm(**fields) -> pb.DisarmLiveAccountRequest:
    given = {"request_id": str(uuid4()), "broker": "zerodha", "reason": "enough"} | fields
    return pb.DisarmLiveAccountRequest(**given)


async def _set(
    api: RiskApi, version: int = 0, broker: str = "zerodha", account: str = "main", **values
) -> None:
    limits = [pb.LimitValue(name=name, value=value) for name, value in values.items()]
    await api.UpdateLimits(
        pb.UpdateLimitsRequest(
            request_id=str(uuid4()),
            broker=broker,
            account=account,
            set=limits,
            expected_version=version,
            reason="a drill",
            even_if_unknown=True,
        ),
        None,
    )


async def _wants(risk: Risk, target: int, key=LIVE) -> str:
    """The reason for which a target is refused; empty where it is approved."""
    signal = risk.signal(target, key)
    await risk.raw(signal)
    return dict(await risk.rejected()).get(signal.signal_id, "")


async def _account(api: RiskApi) -> pb.LiveAccount:
    [found] = (await api.GetLiveAccounts(pb.GetLiveAccountsRequest(), None)).accounts
    return found


async def test_a_live_account_is_armed_for_one_day(risk, api) -> None:
    """Not armed it only reduces; armed it trades for the rest of the exchange's day; the next day it only reduces again."""
    await _set(api, **LIMITS)
    assert await _wants(risk, 10) == "NOT_ARMED"
    armed = (await api.ArmLiveAccount(_arm(), None)).account
    assert (armed.account, armed.armed, armed.armed_day, armed.reason) == (
        "main",
        True,
        "2026-03-04",
        "a drill",
    )
    assert await _wants(risk, 10) == ""
    risk.market.now += timedelta(days=1)
    assert (
        await _wants(risk, 20, replace(LIVE, strategy_id="ema-1", account="main")) == ""
    )  # it waits for the open order
    await risk.strategy(1, strategy_id="ema-2")
    assert await _wants(risk, 10, replace(LIVE, strategy_id="ema-2")) == "NOT_ARMED"
    account = await _account(api)
    assert (account.armed, account.armed_day, account.day) == (False, "2026-03-04", "2026-03-05")
    assert account.why_not == "it was armed for 2026-03-04, today is 2026-03-05"


async def test_a_disarmed_account_only_reduces_at_once(risk, api) -> None:
    """The next decision sees it, also one that another process has read before."""
    await _set(api, **LIMITS)
    await api.ArmLiveAccount(_arm(), None)
    assert await _wants(risk, 10) == ""
    disarmed = (await api.DisarmLiveAccount(_disarm(), None)).account
    assert (disarmed.armed, disarmed.why_not) == (False, "it isn't armed")
    await risk.strategy(1, strategy_id="ema-2")
    assert await _wants(risk, 10, replace(LIVE, strategy_id="ema-2")) == "NOT_ARMED"


async def test_a_decision_that_was_read_before_a_disarming_is_made_again(risk, api) -> None:
    """What was read of an account before it was disarmed can't be stored any more."""
    await _set(api, **LIMITS)
    await api.ArmLiveAccount(_arm(), None)
    reading = await risk.store.read("zerodha", "main", [LIVE], [])
    await api.DisarmLiveAccount(_disarm(), None)
    assert str(reading.armed_day) == "2026-03-04"
    book = reading.book()
    verdicts = book.judge(
        risk.signal(10, LIVE), risk.decisions.inputs.of(await risk.market.view([408065]), reading, "zerodha")
    )
    assert not await risk.store.save_if_unchanged(reading, book, verdicts, [])


@pytest.mark.parametrize("name", LIMITS)
async def test_arming_needs_each_required_limit(api, name: str) -> None:
    """Without one of them arming is refused and names it."""
    await _set(api, **{one: value for one, value in LIMITS.items() if one != name})
    with pytest.raises(FailedPrecondition, match=name) as refused:
        await api.ArmLiveAccount(_arm(), None)
    assert refused.value.reason == "LIMITS_MISSING"
    shown = {limit.name: limit.value for limit in (await _account(api)).limits}
    assert shown.keys() == LIMITS.keys()
    assert shown[name] == "off"


async def test_a_required_limit_cannot_be_lifted_at_a_live_broker(risk, api) -> None:
    """At any scope: "off" is refused there, and allowed at a simulated broker."""
    with pytest.raises(InvalidInput, match="never without it"):
        await _set(api, max_daily_loss="off")
    await _set(api, broker="paper", account="default", max_daily_loss="off")


async def test_paper_never_arms_live(risk, api) -> None:
    """A simulated broker has nothing to arm, and arming one live account arms no other."""
    with pytest.raises(InvalidInput, match="only a live broker's accounts are armed"):
        await api.ArmLiveAccount(_arm(broker="paper"), None)
    assert await _wants(risk, 10, KEY) == ""
    assert await _wants(risk, 10) == "NOT_ARMED"
    await _set(api, **LIMITS)
    await _set(api, account="second", **LIMITS)
    await api.ArmLiveAccount(_arm(account="main"), None)
    assert await _wants(risk, 10, replace(LIVE, account="second")) == "NOT_ARMED"


async def test_arming_names_the_day_that_it_is_for(risk, api) -> None:
    """Another day than the market's is refused; while that is unknown the day has to be named, and no entry passes."""
    await _set(api, **LIMITS)
    with pytest.raises(FailedPrecondition, match="the market's day is 2026-03-04") as refused:
        await api.ArmLiveAccount(_arm(day="2026-03-05"), None)
    assert refused.value.reason == "OTHER_DAY"
    with pytest.raises(InvalidInput, match="YYYY-MM-DD"):
        await api.ArmLiveAccount(_arm(day="2026-02-31"), None)
    now, risk.market.now = risk.market.now, None
    with pytest.raises(FailedPrecondition) as unknown:
        await api.ArmLiveAccount(_arm(), None)
    assert unknown.value.reason == "DAY_UNKNOWN"
    await api.ArmLiveAccount(_arm(day="2026-03-04"), None)
    assert (await _account(api)).why_not == "market time is unknown"
    risk.market.now = now
    assert (await _account(api)).armed
    assert await _wants(risk, 10) == ""


async def test_the_same_command_arms_once(api) -> None:
    """A repeated request gets the same answer and arms nothing again; with another body it is refused."""
    await _set(api, **LIMITS)
    request = _arm()
    first = await api.ArmLiveAccount(request, None)
    await api.DisarmLiveAccount(_disarm(), None)
    assert await api.ArmLiveAccount(request, None) == first
    assert not (await _account(api)).armed
    with pytest.raises(RequestReused):
        await api.ArmLiveAccount(_arm(request_id=request.request_id, reason="another"), None)


async def test_an_account_is_named_where_there_are_several(risk, api) -> None:
    """The only account needs no name; of several one has to be named, and what isn't there is refused."""
    await _set(api, **LIMITS)
    with pytest.raises(UnknownName, match="main"):
        await api.ArmLiveAccount(_arm(account="mian"), None)
    await _set(api, account="second", **LIMITS)
    with pytest.raises(InvalidInput, match="main, second"):
        await api.ArmLiveAccount(_arm(), None)
    with pytest.raises(InvalidInput, match="main, second"):
        await api.DisarmLiveAccount(_disarm(), None)
    assert [
        one.account
        for one in (await api.GetLiveAccounts(pb.GetLiveAccountsRequest(broker="zerodha"), None)).accounts
    ] == [
        "main",
        "second",
    ]
