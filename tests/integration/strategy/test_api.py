"""StrategyService's answers, on both stores."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.mesh.errors import AlreadyExists, FailedPrecondition, NotFound
from alphapanda.storage.requests import RequestReused
from alphapanda.strategy.api import (
    POSITIONS_STAY,
    UPDATED_AND_FLATTENED,
    UPDATED_POSITIONS_STAY,
    StrategyServicer,
)
from alphapanda.strategy.core.registry import StrategyRegistry
from panda.common.v1.common_pb2 import PRODUCT_CNC, PRODUCT_MIS
from panda.events.v1.control_pb2 import (
    STRATEGY_STATE_DELETED,
    STRATEGY_STATE_RUNNING,
    STRATEGY_STATE_STOPPED,
)
from panda.strategy.v1 import strategy_pb2 as api

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


@pytest.fixture
def service(store, directory) -> StrategyServicer:
    return StrategyServicer(
        store,
        StrategyRegistry(),
        directory,
        ("paper", "zerodha"),
        "default",
        60,
        lambda: NOW,
        live_brokers=["zerodha"],
    )


def create(name="trend", **changes) -> api.CreateStrategyRequest:
    values = {"request_id": f"create {name}", "symbols": ["NSE:INFY"], "quantity": 50} | changes
    return api.CreateStrategyRequest(strategy_id=name, **{"strategy_type": "ema_cross"} | values)


def update(
    request_id="u", strategy_id="trend", paths=None, flatten=False, **values
) -> api.UpdateStrategyRequest:
    request = api.UpdateStrategyRequest(
        request_id=request_id,
        strategy_id=strategy_id,
        strategy=api.Strategy(**values),
        open_position=api.OPEN_POSITION_FLATTEN if flatten else api.OPEN_POSITION_UNSPECIFIED,
    )
    request.update_mask.paths.extend(list(values) if paths is None else paths)
    return request


async def test_rule_20_a_basket_is_refused_at_a_live_broker_by_name(service) -> None:
    """Its orders may fail apart, and nothing here completes or unwinds them; on paper it trades."""
    pair = create("pair", strategy_type="pairs", symbols=["NSE:INFY", "NSE:S1"], brokers=["zerodha"])
    with pytest.raises(InvalidInput, match=r"brokers: 'zerodha'.*paper alone for a strategy of type pairs"):
        await service.CreateStrategy(pair, None)
    del pair.brokers[:]
    await service.CreateStrategy(pair, None)
    with pytest.raises(InvalidInput, match=r"strategy.brokers: 'zerodha'.*a basket's orders may fail apart"):
        await service.UpdateStrategy(update(strategy_id="pair", brokers=["zerodha"]), None)


async def test_a_strategy_is_created_stopped_with_its_defaults(service) -> None:
    """What is absent is filled in, and Get answers the same."""
    answer = await service.CreateStrategy(create(parameters={"fast": "5"}), None)
    strategy = answer.strategy
    assert (strategy.revision, strategy.state) == (1, STRATEGY_STATE_STOPPED)
    assert dict(strategy.parameters) == {"fast": "5", "slow": "20", "interval": "tick"}
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
        ({"quantity": 0}, InvalidInput, "quantity: '0'.*must be greater than 0; or give size"),
        ({"size": "10%"}, InvalidInput, "size: '10%'.*nothing where quantity is given"),
        ({"quantity": 0, "size": "ten"}, InvalidInput, "size: 'ten'.*percent of the balance such as 10%"),
        ({"quantity": 0, "size": "100"}, InvalidInput, "size: '100'.*rupees such as 50000INR"),
    ],
)
async def test_what_cannot_be_used_is_named(service, changes, error, message) -> None:
    """The first bad field, its value and what is allowed; nothing is stored."""
    with pytest.raises(error, match=message):
        await service.CreateStrategy(create(**changes), None)
    assert not (await service.ListStrategies(api.ListStrategiesRequest(), None)).strategies


async def test_an_unknown_strategy_is_not_found(service) -> None:
    """A name that no strategy has, or a deleted one had, is refused by every call, with the nearest name."""
    await service.CreateStrategy(create(), None)
    calls = (
        service.GetStrategy(api.GetStrategyRequest(strategy_id="trned"), None),
        service.StartStrategy(api.StartStrategyRequest(request_id="1", strategy_id="trned"), None),
        service.StopStrategy(api.StopStrategyRequest(request_id="2", strategy_id="trned"), None),
        service.UpdateStrategy(update(strategy_id="trned", quantity=1), None),
        service.DeleteStrategy(api.DeleteStrategyRequest(request_id="4", strategy_id="trned"), None),
    )
    for call in calls:
        with pytest.raises(NotFound, match="no strategy 'trned'; did you mean 'trend'"):
            await call
    with pytest.raises(NotFound, match="no strategy 'x'; ListStrategies"):
        await service.GetStrategy(api.GetStrategyRequest(strategy_id="x"), None)


async def test_a_new_account_is_said(service) -> None:
    """The first strategy on an account is told so, because the name may be mistyped; the next one isn't."""
    told = [
        (await service.CreateStrategy(create(name, account=account), None)).strategy.note
        for name, account in (("a", "default"), ("b", "swing"), ("c", "swing"), ("d", "swnig"))
    ]
    assert told == [
        "",
        "account 'swing' is new, no other strategy is on it",
        "",
        "account 'swnig' is new, no other strategy is on it (did you mean 'swing'?)",
    ]


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


async def test_an_update_changes_what_the_mask_names(service, store) -> None:
    """The next revision has the new values there and the old ones elsewhere; the event tells all of it."""
    await service.CreateStrategy(create(parameters={"fast": "5", "slow": "50"}), None)
    before = (
        await service.StartStrategy(api.StartStrategyRequest(request_id="s", strategy_id="trend"), None)
    ).strategy
    wanted = update(
        paths=["parameters.slow", "symbols", "signal_ttl_seconds"],
        parameters={"slow": "60", "fast": "7"}, symbols=["NSE:S1", "NSE:S2"], signal_ttl_seconds=9, quantity=1,
    )  # fmt: skip
    after = (await service.UpdateStrategy(wanted, None)).strategy
    assert dict(after.parameters) == {"fast": "5", "slow": "60", "interval": "tick"}
    assert (list(after.symbols), after.signal_ttl_seconds, after.quantity) == (["NSE:S1", "NSE:S2"], 9, 50)
    assert (after.revision, after.state, after.note) == (3, STRATEGY_STATE_RUNNING, UPDATED_POSITIONS_STAY)
    assert before.revision == 2
    assert (await service.UpdateStrategy(wanted, None)).strategy == after, "sent again it gets its answer"
    again = await service.UpdateStrategy(update("u2", quantity=50, product=PRODUCT_MIS), None)
    assert again.strategy == after, "what is so already makes no revision"
    whole = await service.UpdateStrategy(update("u3", paths=["parameters"], parameters={"fast": "3"}), None)
    assert dict(whole.strategy.parameters) == {"fast": "3", "slow": "20", "interval": "tick"}
    changed = await service.UpdateStrategy(
        update("u4", quantity=75, product=PRODUCT_CNC, brokers=["zerodha"]), None
    )
    assert (changed.strategy.quantity, changed.strategy.product) == (75, PRODUCT_CNC)
    assert list(changed.strategy.brokers) == ["zerodha"]
    stored = await store.get("trend")
    assert (stored.config.revision, stored.config.flattens) == (5, None)


async def test_a_size_in_rupees_or_percent_takes_the_place_of_units(service, store) -> None:
    """Whatever the lots; told in its usual form; a change of one takes away the other."""
    created = await service.CreateStrategy(create(quantity=0, size="₹50,000", symbols=["NSE:LOTS"]), None)
    assert (created.strategy.quantity, created.strategy.size) == (0, "50000INR")
    changed = await service.UpdateStrategy(update(paths=["size"], size="2.5 %"), None)
    assert (changed.strategy.quantity, changed.strategy.size) == (0, "2.5%")
    config = (await store.get("trend")).config
    assert (config.quantity, config.size) == (1, "2.5%")
    units = await service.UpdateStrategy(update("u2", quantity=75), None)
    assert (units.strategy.quantity, units.strategy.size) == (75, "")


async def test_an_update_that_flattens_remembers_what_was_held(service, store) -> None:
    """The old instruments under the old product; later revisions keep it, as it may not have taken effect."""
    await service.CreateStrategy(create(), None)
    answer = await service.UpdateStrategy(update(flatten=True, symbols=["NSE:S1"], product=PRODUCT_CNC), None)
    assert answer.strategy.note == UPDATED_AND_FLATTENED
    await service.StartStrategy(api.StartStrategyRequest(request_id="s", strategy_id="trend"), None)
    flattens = (await store.get("trend")).config.flattens
    assert (flattens.revision, [each.symbol for each in flattens.instruments]) == (2, ["NSE:INFY"])
    assert flattens.product == PRODUCT_MIS
    (entered,) = [each for each in await store.current() if each.flattens]
    assert entered.after(1).flattens
    assert entered.after(2).flattens is None
    again = await service.UpdateStrategy(update("u2", flatten=True, symbols=["NSE:S1"]), None)
    assert again.strategy.revision == 4, "flattening is a change by itself"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": []}, "update_mask: ''.*name what to change: parameters, symbols"),
        ({"paths": ["quantiti"]}, "update_mask: 'quantiti'.*did you mean 'quantity'"),
        ({"paths": ["strategy_id"]}, "update_mask: 'strategy_id'.*create another strategy"),
        ({"paths": ["account"]}, "update_mask: 'account'.*booked on its account; create another strategy"),
        (
            {"paths": ["strategy_type"]},
            "update_mask: 'strategy_type'.*keeps its type; create another strategy",
        ),
        (
            {"paths": ["parameters.fast"]},
            r"update_mask: 'parameters.fast'.*give its value in strategy.parameters",
        ),
        (
            {"paths": ["parameters.fsat"], "parameters": {"fsat": "1"}},
            "parameters: 'fsat'.*did you mean 'fast'",
        ),
        ({"parameters": {"fast": "0"}}, "parameters.fast: '0'"),
        ({"quantity": 0, "paths": ["quantity"]}, "strategy.quantity: '0'.*1 to 10000000"),
        ({"quantity": 1, "size": "1%", "paths": ["quantity", "size"]}, "update_mask: 'quantity, size'"),
        ({"paths": ["size"]}, "strategy.size: ''"),
        ({"paths": ["signal_ttl_seconds"]}, "strategy.signal_ttl_seconds: '0'"),
        ({"paths": ["symbols"]}, "strategy.symbols: ''.*1 to 500"),
        ({"symbols": ["NSE:INFI"]}, r"strategy.symbols\[0\]: 'NSE:INFI'.*did you mean"),
        ({"symbols": ["NSE:LOTS"]}, "strategy.quantity: '60'.*multiple of NSE:LOTS's lot, 25"),
        ({"paths": ["product"]}, "strategy.product: 'UNSPECIFIED'"),
        ({"brokers": ["zeroda"]}, "strategy.brokers: 'zeroda'.*did you mean 'zerodha'"),
        (
            {"brokers": [], "paths": ["brokers"], "flatten": True},
            r"open_position: 'FLATTEN'.*broker \(zerodha\) is taken away",
        ),
    ],
)
async def test_an_update_that_cannot_be_made_is_named(service, store, changes, message) -> None:
    """Field, value and what is allowed; nothing is stored."""
    await service.CreateStrategy(create(quantity=60, brokers=["zerodha"]), None)
    before = await store.get("trend")
    with pytest.raises(InvalidInput, match=message):
        await service.UpdateStrategy(update(**changes), None)
    assert await store.get("trend") == before


async def test_a_deleted_strategy_is_gone_and_its_name_free(service, store, request) -> None:
    """Only a stopped one; its event says DELETED; one created anew goes on with the next revision."""
    await service.CreateStrategy(create(), None)
    await service.StartStrategy(api.StartStrategyRequest(request_id="s", strategy_id="trend"), None)
    delete = api.DeleteStrategyRequest(request_id="d", strategy_id="trend")
    with pytest.raises(FailedPrecondition, match="'trend' runs; stop it"):
        await service.DeleteStrategy(delete, None)
    await service.StopStrategy(api.StopStrategyRequest(request_id="t", strategy_id="trend"), None)
    deleted = (await service.DeleteStrategy(delete, None)).strategy
    assert (deleted.state, deleted.revision) == (STRATEGY_STATE_DELETED, 4)
    assert (await service.DeleteStrategy(delete, None)).strategy == deleted
    with pytest.raises(NotFound):
        await service.GetStrategy(api.GetStrategyRequest(strategy_id="trend"), None)
    assert not (await service.ListStrategies(api.ListStrategiesRequest(), None)).strategies
    assert (await store.get("trend")).config.state == STRATEGY_STATE_DELETED
    anew = (await service.CreateStrategy(create(request_id="again"), None)).strategy
    assert (anew.state, anew.revision) == (STRATEGY_STATE_STOPPED, 5)


async def test_types_are_listed_with_their_parameters(service) -> None:
    """Page by page by name; each parameter with what may be given."""
    found, token = [], ""
    while not found or token:
        page = await service.ListStrategyTypes(
            api.ListStrategyTypesRequest(page_size=3, page_token=token), None
        )
        found += page.strategy_types
        token = page.next_page_token
    assert [each.strategy_type for each in found] == list(StrategyRegistry().names)
    types = {each.strategy_type: each for each in found}
    fast = types["ema_cross"].parameters[0]
    assert (fast.name, fast.kind, fast.default_value) == ("fast", api.PARAMETER_KIND_INTEGER, "10")
    assert (fast.minimum, fast.maximum, fast.minimum_excluded) == ("1", "10000", False)
    assert "less than slow" in fast.description
    rsi = {each.name: each for each in types["rsi"].parameters}
    assert rsi["interval"].kind == api.PARAMETER_KIND_CHOICE
    assert {"1s", "1m", "1d"} < set(rsi["interval"].choices)
    assert (rsi["oversold"].minimum, rsi["oversold"].minimum_excluded) == ("0", True)
    assert (types["rsi"].on_bars, types["rsi"].warm_up, types["ema_cross"].on_bars) == (True, 15, False)
    assert "Wilder" in types["rsi"].description


async def test_there_are_no_more_strategies_than_may_be(store, directory) -> None:
    """One too many is refused; a deleted one counts, and its name can be used again; a repeated command has its answer."""
    service = StrategyServicer(
        store, StrategyRegistry(), directory, ("paper",), "default", 60, lambda: NOW, most_strategies=2
    )
    for name in ("one", "two"):
        await service.CreateStrategy(create(name), None)
    await service.DeleteStrategy(api.DeleteStrategyRequest(request_id="d", strategy_id="one"), None)
    with pytest.raises(FailedPrecondition, match="there are 2 strategies") as refused:
        await service.CreateStrategy(create("three"), None)
    assert refused.value.reason == "TOO_MANY_STRATEGIES"
    await service.CreateStrategy(create("two"), None)
    assert (await service.CreateStrategy(create("one", request_id="again"), None)).strategy.revision == 3
