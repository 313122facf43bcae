"""StrategyService's answers, on both stores."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.errors import AlreadyExists, NotFound
from alphapanda.storage.requests import RequestReused
from alphapanda.strategy.api import POSITIONS_STAY, StrategyServicer
from alphapanda.strategy.core.registry import StrategyRegistry
from panda.common.v1.common_pb2 import PRODUCT_MIS
from panda.events.v1.control_pb2 import STRATEGY_STATE_RUNNING, STRATEGY_STATE_STOPPED
from panda.strategy.v1 import strategy_pb2 as api

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


@pytest.fixture
def service(store, directory) -> StrategyServicer:
    return StrategyServicer(
        store, StrategyRegistry(), directory, ("paper", "zerodha"), "default", 60, lambda: NOW
    )


def create(name="trend", **changes) -> api.CreateStrategyRequest:
    values = {"request_id": f"create {name}", "symbols": ["NSE:INFY"], "quantity": 50} | changes
    return api.CreateStrategyRequest(strategy_id=name, **{"strategy_type": "ema_cross"} | values)


async def test_a_strategy_is_created_stopped_with_its_defaults(service) -> None:
    """What is absent is filled in, and Get answers the same."""
    answer = await service.CreateStrategy(create(parameters={"fast": "5"}), None)
    strategy = answer.strategy
    assert (strategy.revision, strategy.state) == (1, STRATEGY_STATE_STOPPED)
    assert dict(strategy.parameters) == {"fast": "5", "slow": "20"}
    assert (strategy.account, strategy.product, strategy.signal_ttl_seconds) == ("default", PRODUCT_MIS, 60)
    assert (strategy.changed_by, strategy.changed_at.ToDatetime(UTC)) == ("local", NOW)
    assert (await service.GetStrategy(api.GetStrategyRequest(strategy_id="trend"), None)).strategy == strategy


async def test_start_and_stop_make_revisions_and_are_idempotent(service) -> None:
    """Each change is the next revision; starting a running one and stopping a stopped one change nothing."""
    await service.CreateStrategy(create(), None)

    async def start(request_id):
        return await service.StartStrategy(
            api.StartStrategyRequest(request_id=request_id, strategy_id="trend"), None
        )

    async def stop(request_id):
        return await service.StopStrategy(
            api.StopStrategyRequest(request_id=request_id, strategy_id="trend"), None
        )

    started = await start("1")
    assert (started.strategy.revision, started.strategy.state) == (2, STRATEGY_STATE_RUNNING)
    assert await start("2") == started
    stopped = await stop("3")
    assert (stopped.strategy.revision, stopped.strategy.note) == (3, POSITIONS_STAY)
    assert await stop("4") == stopped
    assert await start("1") == started, "a command sent again gets its own answer"
    again = await start("5")
    assert (again.strategy.revision, again.strategy.note) == (4, "")


async def test_the_same_request_has_one_effect(service) -> None:
    """The same body gets the same answer; another body under the id, and another request for the name, are refused."""
    first = await service.CreateStrategy(create(), None)
    assert await service.CreateStrategy(create(), None) == first
    with pytest.raises(RequestReused):
        await service.CreateStrategy(create(quantity=51), None)
    with pytest.raises(AlreadyExists, match="'trend' exists already"):
        await service.CreateStrategy(create(request_id="other"), None)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"strategy_type": "ema_crss"}, UnknownName, "strategy_type: 'ema_crss'.*did you mean 'ema_cross'"),
        ({"parameters": {"fsat": "1"}}, UnknownName, "parameters: 'fsat'.*did you mean 'fast'"),
        ({"parameters": {"fast": "x"}}, InvalidInput, "parameters.fast: 'x'.*whole number"),
        (
            {"symbols": ["NSE:INFY", "NSE:INFI"]},
            UnknownName,
            r"symbols\[1\]: 'NSE:INFI'.*did you mean 'NSE:INFY'",
        ),
        ({"symbols": ["NSE:NIFTY 50"]}, InvalidInput, r"symbols\[0\]: 'NSE:NIFTY 50'.*an index can't"),
        (
            {"symbols": ["NSE:LOTS"], "quantity": 30},
            InvalidInput,
            "quantity: '30'.*multiple of NSE:LOTS's lot, 25",
        ),
        ({"brokers": ["zeroda"]}, UnknownName, "brokers: 'zeroda'.*did you mean 'zerodha'"),
    ],
)
async def test_what_cannot_be_used_is_named(service, changes, error, message) -> None:
    """The first bad field, its value and what is allowed; nothing is stored."""
    with pytest.raises(error, match=message):
        await service.CreateStrategy(create(**changes), None)
    assert not (await service.ListStrategies(api.ListStrategiesRequest(), None)).strategies


async def test_an_unknown_strategy_is_not_found(service) -> None:
    """For Get, Start and Stop."""
    calls = (
        service.GetStrategy(api.GetStrategyRequest(strategy_id="x"), None),
        service.StartStrategy(api.StartStrategyRequest(request_id="1", strategy_id="x"), None),
        service.StopStrategy(api.StopStrategyRequest(request_id="2", strategy_id="x"), None),
    )
    for call in calls:
        with pytest.raises(NotFound, match="no strategy 'x'"):
            await call


async def test_pages_hold_every_strategy_once(service) -> None:
    """Page by page by name; a token of other filters is refused."""
    names = ["c", "a", "e", "b", "d"]
    for name in names:
        await service.CreateStrategy(create(name), None)
    found, token = [], ""
    while True:
        page = await service.ListStrategies(api.ListStrategiesRequest(page_size=2, page_token=token), None)
        found += [strategy.strategy_id for strategy in page.strategies]
        token = page.next_page_token
        if not token:
            break
        last = token
    assert found == sorted(names)
    with pytest.raises(InvalidInput, match="page_token"):
        await service.ListStrategies(
            api.ListStrategiesRequest(page_token=last, state=STRATEGY_STATE_RUNNING), None
        )
    stopped = await service.ListStrategies(api.ListStrategiesRequest(state=STRATEGY_STATE_STOPPED), None)
    assert len(stopped.strategies) == 5
