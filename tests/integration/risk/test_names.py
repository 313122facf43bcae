"""Commands and questions that name what doesn't exist are refused with the nearest name, never believed."""

from __future__ import annotations

from typing import Any

import pytest

from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.errors import Unavailable
from alphapanda.risk.store.port import SwitchScope
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as pb

HALTED, ACTIVE = common.TRADING_STATE_HALTED, common.TRADING_STATE_ACTIVE


def _switch(state: common.TradingState.ValueType = HALTED, request_id: str = "1", **more: Any):
    return pb.SetKillSwitchRequest(
        request_id=request_id, state=state, reason="drill", **{"broker": "paper", **more}
    )


def _limits(**more: Any) -> pb.UpdateLimitsRequest:
    return pb.UpdateLimitsRequest(
        request_id="1",
        reason="drill",
        set=[pb.LimitValue(name="max_order_quantity", value="5")],
        **{"broker": "paper", "account": "default", **more},
    )


QUESTIONS = {
    "ListVerdicts": pb.ListVerdictsRequest,
    "GetLimits": pb.GetLimitsRequest,
    "GetKillSwitch": pb.GetKillSwitchRequest,
}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"strategy_id": "ema1"}, "strategy_id: 'ema1' is not allowed; did you mean 'ema-1'?"),
        ({"account": "defualt"}, "account: 'defualt' is not allowed; did you mean 'default'?"),
        ({"broker": "papr"}, "broker: 'papr' is not allowed; did you mean 'paper'?"),
        ({"instrument_id": "NSE:INFI"}, "instrument_id: 'NSE:INFI' is not allowed; did you mean 'NSE:INFY'?"),
    ],
)
async def test_what_doesnt_exist_is_refused_with_the_nearest_name(risk, api, named, said) -> None:
    """A limit or a kill switch for it sets nothing, a question about it has no empty answer."""
    [field] = named
    asked = [(api.UpdateLimits, _limits(**named))]
    if field in ("strategy_id", "broker"):
        asked.append((api.SetKillSwitch, _switch(**named)))
    asked += [
        (getattr(api, name), message(**named))
        for name, message in QUESTIONS.items()
        if field in message.DESCRIPTOR.fields_by_name
    ]
    for method, request in asked:
        with pytest.raises(InvalidInput) as refused:
            await method(request, None)
        assert str(refused.value).startswith(said)
    assert await risk.published() == []


async def test_who_means_a_name_that_doesnt_exist_says_so(api) -> None:
    """With even_if_unknown a switch and a limit are set for it; then it is known, and the switch can be taken back."""
    halted = await api.SetKillSwitch(_switch(strategy_id="tomorrow", even_if_unknown=True), None)
    assert (halted.kill_switch.strategy_id, halted.unverified) == ("tomorrow", "")
    asked = pb.GetKillSwitchRequest(strategy_id="tomorrow")
    assert (await api.GetKillSwitch(asked, None)).kill_switch.state == HALTED
    freed = await api.SetKillSwitch(_switch(ACTIVE, "2", strategy_id="tomorrow"), None)
    assert freed.kill_switch.state == ACTIVE
    limits = _limits(strategy_id="tomorrow", account="new", instrument_id="NSE:NEW", even_if_unknown=True)
    assert (await api.UpdateLimits(limits, None)).version == 1
    told = pb.GetLimitsRequest(account="new", strategy_id="tomorrow", instrument_id="NSE:NEW")
    assert (await api.GetLimits(told, None)).version == 1


async def test_a_switch_that_stops_is_set_when_the_names_cant_be_read(risk, api) -> None:
    """The answer says that it is unverified; one that lets trade, and a limit, wait until the names can be read."""
    risk.log_error = ConnectionError("the log is away")
    halted = await api.SetKillSwitch(_switch(strategy_id="ema-9"), None)
    assert halted.unverified.startswith("unverified: the list of strategies can't be read (ConnectionError")
    assert (await risk.store.kill_switch(SwitchScope("paper", "ema-9"))).revision == 1
    for call, request in (
        (api.SetKillSwitch, _switch(ACTIVE, "2", strategy_id="ema-9")),
        (api.UpdateLimits, _limits(strategy_id="ema-9")),
    ):
        with pytest.raises(Unavailable) as later:
            await call(request, None)
        assert later.value.reason == "NAMES_UNREADABLE"
    assert not (await api.SetKillSwitch(_switch(request_id="3", strategy_id="ema-1"), None)).unverified


async def test_a_whole_brokers_switch_needs_no_list_of_names(risk, api) -> None:
    """Nothing is looked up for it, so it is verified whatever can't be read."""
    risk.log_error = RuntimeError("must not be asked")
    halted = await api.SetKillSwitch(_switch(), None)
    assert (halted.kill_switch.state, halted.unverified) == (HALTED, "")
