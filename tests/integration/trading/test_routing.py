"""Routing at the last moment: what has changed between a verdict and its call decides where an order goes."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from tests.values import replace
from trading_room import ACTIVE, approved, open_room

from alphapanda.domain.errors import UnknownName
from alphapanda.domain.order import FailureReason, OrderStatus, PositionEffect, Side
from alphapanda.storage.requests import RequestReused
from panda.trading.v1 import trading_pb2 as trading


@pytest.fixture
async def room(tables, redis_url):
    async with open_room(tables, redis_url) as made:
        await made.open_for_trading()
        yield made


def _at(broker: str, number: int, **changes):
    verdict = approved(number, token=number + 1)
    return replace(verdict, key=replace(verdict.key, broker=broker), **changes)


async def _switch(room, broker: str, *, on: bool, request_id: str = "") -> trading.BrokerRouting:
    request = trading.SetBrokerRoutingRequest(
        request_id=request_id or str(uuid4()), broker=broker, on=on, reason="a drill"
    )
    return (await room.api.SetBrokerRouting(request, None)).routing


async def _fate(room, verdict):
    await room.handle(verdict)
    order = await room.ended(verdict)
    return order.status, order.failure


NOT_ROUTED = (OrderStatus.FAILED, FailureReason.NOT_ROUTED)


@pytest.mark.parametrize("broker", ["paper", "papertwo"])
async def test_a_broker_that_was_switched_off_after_the_verdict_gets_nothing(room, broker) -> None:
    """Entries and exits end as NOT_ROUTED without a call, at paper as at another; switched on again it trades."""
    assert not (await _switch(room, broker, on=False)).routed
    leaving = _at(broker, 2, effect=PositionEffect.REDUCES, side=Side.SELL)
    assert await _fate(room, _at(broker, 1)) == NOT_ROUTED
    assert await _fate(room, leaving) == NOT_ROUTED
    assert await room.calls() == {}
    other = {"paper": "papertwo", "papertwo": "paper"}[broker]
    assert (await _fate(room, _at(other, 3)))[0] is OrderStatus.FILLED
    assert (await _switch(room, broker, on=True)).routed
    assert (await _fate(room, _at(broker, 4)))[0] is OrderStatus.FILLED


async def test_a_strategy_that_opted_out_after_the_verdict_makes_no_entry_there(room) -> None:
    """Its exits still go where the position is, and paper gets its entries all the same."""
    assert (await _fate(room, _at("papertwo", 1)))[0] is OrderStatus.FILLED
    room.opted_in.clear()
    assert await _fate(room, _at("papertwo", 2)) == NOT_ROUTED
    leaving = replace(
        _at("papertwo", 1), signal_id=approved(9).signal_id, effect=PositionEffect.REDUCES, side=Side.SELL
    )
    assert (await _fate(room, leaving))[0] is OrderStatus.FILLED
    assert (await _fate(room, _at("paper", 3)))[0] is OrderStatus.FILLED


async def test_a_broker_that_the_settings_switch_off_stays_off(room) -> None:
    """The switch can't allow what the setting forbids, and says so."""
    routing = await _switch(room, "zerodha", on=True)
    assert (routing.allowed, routing.switched_on, routing.routed) == (False, True, False)
    assert await _fate(room, _at("zerodha", 1)) == NOT_ROUTED


async def test_a_switch_outlives_a_restart(tables, redis_url) -> None:
    """What a person has switched off is off after it, with who did it and why; the others are on."""
    async with open_room(tables, redis_url) as before:
        await _switch(before, "papertwo", on=False)
    async with open_room(tables, redis_url) as after:
        await after.open_for_trading()
        answer = await after.api.GetBrokerRouting(trading.GetBrokerRoutingRequest(), None)
        assert [one.broker for one in answer.brokers] == list(ACTIVE)
        assert [one.routed for one in answer.brokers] == [True, False, False]
        assert answer.brokers[1].reason == "a drill"
        assert await _fate(after, _at("papertwo", 1)) == NOT_ROUTED


async def test_the_same_command_switches_once(room) -> None:
    """A repeated request gets its answer and changes nothing; with another body, or of an unknown broker, it is refused."""
    await _switch(room, "paper", on=False, request_id="one")
    await _switch(room, "paper", on=True)
    assert not (await _switch(room, "paper", on=False, request_id="one")).routed
    assert (await _fate(room, _at("paper", 1)))[0] is OrderStatus.FILLED
    with pytest.raises(RequestReused):
        await _switch(room, "paper", on=True, request_id="one")
    with pytest.raises(UnknownName):
        await _switch(room, "papr", on=False)


CONNECTED: list[object] = []


def _note(event: str, arguments: tuple) -> None:
    if event == "socket.connect":
        CONNECTED.append(arguments[1])


async def test_paper_opens_no_socket_to_a_broker(tables, redis_url) -> None:
    """From its start to fills, a refusal and a look-up, only PostgreSQL's and Redis's addresses are connected to."""
    sys.addaudithook(_note)
    CONNECTED.clear()
    async with open_room(tables, redis_url) as made:
        await made.open_for_trading()
        for number in range(1, 4):
            assert (await _fate(made, _at("paper", number)))[0] is OrderStatus.FILLED
        await _fate(made, _at("paper", 5, quantity=7_777_777))
        await made.traders.by_broker["paper"].look_up("default", "no-such-tag")
    allowed = {urlsplit(url).port for url in (tables, redis_url)} - {None}
    away = [
        one
        for one in CONNECTED
        if not isinstance(one, str | bytes) and not (ip_address(one[0]).is_loopback and one[1] in allowed)
    ]
    assert CONNECTED
    assert away == []
