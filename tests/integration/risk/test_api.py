from __future__ import annotations

from uuid import uuid4

import pytest

from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.errors import NotFound
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as pb


def _order(risk, **changes) -> pb.AuthorizeOrderRequest:
    fields = {
        "intent_id": str(uuid4()),
        "correlation_id": str(uuid4()),
        "broker": "paper",
        "account": "default",
        "instrument_id": "NSE:INFY",
        "instrument_token": 408065,
        "side": common.SIDE_BUY,
        "quantity": 5,
        "product": common.PRODUCT_MIS,
        "order_type": common.ORDER_TYPE_MARKET,
    }
    return pb.AuthorizeOrderRequest(**(fields | changes))


async def test_an_order_is_authorised_once(risk, api) -> None:
    """The same intent gets the same verdict and one event under its id, valid to the session's end."""
    request = _order(risk)
    first = (await api.AuthorizeOrder(request, None)).verdict
    again = (await api.AuthorizeOrder(request, None)).verdict
    assert first.approved
    assert first == again
    assert (first.strategy_id, first.quantity, first.side) == ("manual", 5, common.SIDE_BUY)
    assert first.position_effect == common.POSITION_EFFECT_OPENS
    [order] = await risk.validated()
    assert order.signal_id == request.intent_id
    assert order.valid_until == risk.market.now.replace(hour=15, minute=30)
    assert (await api.GetVerdict(pb.GetVerdictRequest(signal_id=request.intent_id), None)).verdict == first


async def test_a_refused_order_says_why(risk, api) -> None:
    """A refusal is an answer with its reason, its sentence and every rule."""
    request = _order(risk, quantity=6_000, valid_until=timestamp(risk.market.now))
    verdict = (await api.AuthorizeOrder(request, None)).verdict
    assert not verdict.approved
    assert verdict.reason == "ORDER_QUANTITY"
    assert verdict.message
    assert len(verdict.rules) == 11
    assert await risk.rejected() == [(request.intent_id, "ORDER_QUANTITY")]


async def test_a_waiting_signal_is_shown_as_waiting(risk, api) -> None:
    """While its turn hasn't come, a target's verdict says that it waits."""
    first, second = risk.signal(10), risk.signal(20)
    await risk.raw(first, second)
    verdict = (await api.GetVerdict(pb.GetVerdictRequest(signal_id=second.signal_id), None)).verdict
    assert (verdict.waiting, verdict.approved) == (True, False)


async def test_an_unjudged_signal_is_not_found(api) -> None:
    """There is no verdict on what risk never saw."""
    with pytest.raises(NotFound, match="was not judged"):
        await api.GetVerdict(pb.GetVerdictRequest(signal_id=str(uuid4())), None)


async def test_an_unknown_broker_is_refused_naming_the_active_ones(risk, api) -> None:
    """Every RPC with a broker says which ones there are."""
    calls = (
        api.AuthorizeOrder(_order(risk, broker="nobody"), None),
        api.GetLimits(pb.GetLimitsRequest(broker="nobody"), None),
        api.GetKillSwitch(pb.GetKillSwitchRequest(broker="nobody"), None),
        api.SetKillSwitch(
            pb.SetKillSwitchRequest(request_id="1", broker="nobody", state=common.TRADING_STATE_HALTED), None
        ),
    )
    for call in calls:
        with pytest.raises(InvalidInput, match="paper, zerodha"):
            await call


async def test_limits_are_told(api) -> None:
    """Every limit of every rule, with its unit; an empty request means paper's default account."""
    answer = await api.GetLimits(pb.GetLimitsRequest(), None)
    assert (answer.broker, answer.account) == ("paper", "default")
    limits = {limit.name: (limit.rule, limit.value, limit.unit) for limit in answer.limits}
    assert limits["max_order_quantity"] == ("order_quantity", "5000", "units")
    assert limits["mis_cut_off"] == ("market_hours", "15:00", "time in IST")
    assert limits["price_max_age"] == ("price", "30", "seconds")


async def test_a_kill_switch_is_set_and_told(api) -> None:
    """What was set is what is told; never set, it is ACTIVE at revision 0."""
    before = (await api.GetKillSwitch(pb.GetKillSwitchRequest(), None)).kill_switch
    assert (before.broker, before.state, before.revision) == ("paper", common.TRADING_STATE_ACTIVE, 0)
    request = pb.SetKillSwitchRequest(
        request_id="1", broker="paper", state=common.TRADING_STATE_HALTED, reason="drill"
    )
    answer = await api.SetKillSwitch(request, None)
    after = (await api.GetKillSwitch(pb.GetKillSwitchRequest(), None)).kill_switch
    assert after == answer.kill_switch
    assert (after.state, after.revision, after.reason) == (common.TRADING_STATE_HALTED, 1, "drill")
