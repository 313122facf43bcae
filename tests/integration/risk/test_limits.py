from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from tests.integration.risk.conftest import INFY, KEY, Risk, servicer
from tests.values import replace

from alphapanda.contract.wire import timestamp
from alphapanda.domain.errors import InvalidInput
from alphapanda.domain.order import OrderStatus, TradingState
from alphapanda.domain.verdict import Approved
from alphapanda.mesh.errors import FailedPrecondition
from alphapanda.risk.core.book import RiskBook
from alphapanda.risk.store.port import SwitchScope
from alphapanda.storage.requests import RequestReused
from panda.common.v1 import common_pb2 as common
from panda.risk.v1 import risk_pb2 as pb

OTHER = replace(KEY, strategy_id="ema-2")


def _update(values: dict[str, str], version: int = 0, **fields) -> pb.UpdateLimitsRequest:
    limits = [pb.LimitValue(name=name, value=value) for name, value in values.items()]
    request = {
        "request_id": str(uuid4()),
        "broker": "paper",
        "account": "default",
        "set": limits,
        "expected_version": version,
        "reason": "drill",
    }
    return pb.UpdateLimitsRequest(**(request | fields))


async def _filled(risk: Risk, target: int, key=KEY) -> None:
    """A target that is reached at the price of now."""
    before = len(await risk.validated())
    await risk.raw(risk.signal(target, key))
    order = (await risk.validated())[before]
    await risk.told(order, order.quantity, OrderStatus.FILLED, 1)


async def _verdict(risk: Risk, api, target: int, key=KEY) -> pb.Verdict:
    signal = risk.signal(target, key)
    await risk.raw(signal)
    return (await api.GetVerdict(pb.GetVerdictRequest(signal_id=signal.signal_id), None)).verdict


async def _events(risk: Risk) -> list:
    return [e.kill_switch_changed for e in await risk.published() if e.HasField("kill_switch_changed")]


@pytest.mark.parametrize(
    ("limit", "value", "largest", "observed"),
    [
        ("max_order_value", "15000", 10, "18000"),
        ("max_position_value", "30000", 10, "33000"),
        ("max_gross_exposure", "30000", 10, "33000"),
        ("max_order_quantity", "10", 10, "12"),
        ("max_position_quantity", "10", 10, "12"),
        ("max_daily_trades", "1", 0, "2"),
        ("max_strategy_daily_trades", "0", 0, "1"),
        ("max_order_rate", "0", 0, "1"),
        ("max_strategy_order_rate", "0", 0, "1"),
        ("max_open_orders", "0", 0, "1"),
    ],
)
async def test_a_limit_refuses_and_says_why(risk, api, limit, value, largest, observed) -> None:
    """The verdict names the rule, its limit, what was observed, and the most that would have passed."""
    await risk.strategy(1, strategy_id="ema-2")
    await _filled(risk, 5, OTHER)
    await _filled(risk, 10, OTHER)
    before = (await api.GetLimits(pb.GetLimitsRequest(), None)).limits
    rule = next(one.rule for one in before if one.name == limit)
    await api.UpdateLimits(_update({limit: value}), None)
    refused = await _verdict(risk, api, 12)
    line = next(one for one in refused.rules if one.rule == rule)
    assert (refused.approved, refused.reason, refused.largest_quantity) == (False, rule.upper(), largest)
    assert value in line.limit
    assert Decimal(line.observed.replace(",", "")) >= Decimal(observed)
    assert refused.message == line.message
    rejected = next(e.signal_rejected for e in await risk.published() if e.HasField("signal_rejected"))
    assert rejected.largest_quantity == largest
    leaving = await _verdict(risk, api, 0, OTHER)
    assert leaving.approved


async def test_a_repeated_wish_and_a_row_of_losses_pause(risk, api) -> None:
    """The same target after its order failed, and an entry after a lost round trip, are refused for a while."""
    limits = {"duplicate_window": "60", "cooldown_losses": "1", "cooldown": "60"}
    await api.UpdateLimits(_update(limits), None)
    await risk.raw(risk.signal(7))
    [order] = await risk.validated()
    await risk.told(order, 0, OrderStatus.REJECTED, 1)
    assert (await _verdict(risk, api, 7)).reason == "DUPLICATE_SIGNAL"
    await _filled(risk, 5)
    risk.market.price = Decimal(1490)
    await _filled(risk, 0)
    assert (await _verdict(risk, api, 6)).reason == "COOLDOWN"
    risk.market.now += timedelta(seconds=60)
    assert (await _verdict(risk, api, 7)).approved


async def test_the_most_specific_limit_wins_and_is_told_with_its_origin(risk, api) -> None:
    """Strategy in instrument before instrument before strategy before account before settings; cleared, the next holds."""
    scopes = [
        ({}, pb.LIMIT_ORIGIN_ACCOUNT, "400"),
        ({"strategy_id": "ema-1"}, pb.LIMIT_ORIGIN_STRATEGY, "300"),
        ({"instrument_id": "NSE:INFY"}, pb.LIMIT_ORIGIN_INSTRUMENT, "200"),
        (
            {"strategy_id": "ema-1", "instrument_id": "NSE:INFY"},
            pb.LIMIT_ORIGIN_STRATEGY_IN_INSTRUMENT,
            "100",
        ),
    ]
    asked = pb.GetLimitsRequest(strategy_id="ema-1", instrument_id="NSE:INFY")

    async def told() -> tuple[int, str]:
        answer = await api.GetLimits(asked, None)
        limit = next(one for one in answer.limits if one.name == "max_order_quantity")
        return limit.origin, limit.value

    assert await told() == (pb.LIMIT_ORIGIN_SETTINGS, "5000")
    for version, (scope, origin, value) in enumerate(scopes):
        answer = await api.UpdateLimits(_update({"max_order_quantity": value}, version, **scope), None)
        assert (answer.version, answer.set[0].value) == (version + 1, value)
        assert await told() == (origin, value)
        assert (await _verdict(risk, api, int(value) + 1)).reason == "ORDER_QUANTITY"
    for version, (scope, origin, value) in enumerate(reversed(scopes), 4):
        assert await told() == (origin, value)
        cleared = _update({}, version, clear=["max_order_quantity"], **scope)
        await api.UpdateLimits(cleared, None)
    assert await told() == (pb.LIMIT_ORIGIN_SETTINGS, "5000")
    assert (await api.GetLimits(asked, None)).version == 8


async def test_rule_21_a_limit_and_a_position_stay_with_their_instrument_when_its_token_changes_hands(
    risk, api
) -> None:
    """The next owner of the token has neither; the old one keeps both, and nothing is traded under its old token."""
    await _filled(risk, 10)
    await api.UpdateLimits(_update({"max_order_quantity": "7"}, instrument_id="NSE:INFY"), None)
    heir = replace(INFY, instrument_id="NSE:HEIR", tradingsymbol="HEIR")
    risk.instruments.take([heir, replace(INFY, instrument_token=0)])

    async def told(instrument_id: str) -> str:
        answer = await api.GetLimits(pb.GetLimitsRequest(instrument_id=instrument_id), None)
        return next(one.value for one in answer.limits if one.name == "max_order_quantity")

    assert (await told("NSE:INFY"), await told("NSE:HEIR")) == ("7", "5000")
    theirs = replace(KEY, instrument_id="NSE:HEIR")
    assert (await risk.position(), await risk.position(theirs)) == (10, 0)
    assert not (await _verdict(risk, api, 12)).approved
    assert (await _verdict(risk, api, 8, theirs)).approved, "the old owner's limit is not theirs"


async def test_limits_are_changed_once_and_only_by_who_saw_them(api) -> None:
    """A repeated request gets the same answer, another body is refused, and so is a version that has passed."""
    request = _update({"max_order_value": "1000.50"})
    first = await api.UpdateLimits(request, None)
    assert await api.UpdateLimits(request, None) == first
    with pytest.raises(RequestReused):
        await api.UpdateLimits(_update({"max_order_value": "off"}, request_id=request.request_id), None)
    with pytest.raises(FailedPrecondition, match="at version 1, not 0"):
        await api.UpdateLimits(_update({"max_order_value": "off"}), None)
    answer = await api.UpdateLimits(_update({"max_order_value": "off"}, version=1), None)
    assert [(one.value, one.version) for one in answer.set] == [("off", 2)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"set": [pb.LimitValue(name="max_ordr_value", value="1")]}, "did you mean 'max_order_value'"),
        ({"set": [pb.LimitValue(name="max_order_value", value="-1")]}, "rupees > 0"),
        ({"set": [pb.LimitValue(name="max_open_orders", value="1.5")]}, "a whole number of orders"),
        ({"set": [pb.LimitValue(name="max_open_orders", value="1")], "strategy_id": "ema-1"}, "an account"),
        ({"set": [pb.LimitValue(name="cooldown", value="off")]}, "seconds > 0"),
        ({"set": [], "clear": ["max_open_orders"]}, "isn't set for account"),
        ({"set": []}, "at least one limit"),
        ({"instrument_id": "NSE:NOBODY"}, "an instrument of today"),
        ({"broker": "nobody"}, "paper, zerodha"),
        ({"set": [pb.LimitValue(name="cooldown", value="1")] * 2}, "named once"),
    ],
)
async def test_a_change_that_is_none_is_refused(api, fields, said) -> None:
    """The refusal names field, value and what is allowed; nothing is stored."""
    with pytest.raises(InvalidInput, match=said):
        await api.UpdateLimits(_update({"max_order_value": "1"}, **fields), None)
    assert (await api.GetLimits(pb.GetLimitsRequest(), None)).version == 0


async def test_the_days_loss_reduces_the_account_until_the_next_day(risk, api) -> None:
    """Tripped by a fill, it is told with its reason on the kill switch's topic and row; the next day takes it back."""
    await api.UpdateLimits(_update({"max_daily_loss": "100"}), None)
    await _filled(risk, 10)
    risk.market.price = Decimal(1490)
    await _filled(risk, 0)
    switch = (await api.GetKillSwitch(pb.GetKillSwitchRequest(account="default"), None)).kill_switch
    assert (switch.state, switch.changed_by) == (common.TRADING_STATE_REDUCING, "risk")
    assert "lost 100.00 rupees on 2026-03-04, the limit is 100" in switch.reason
    [told] = await _events(risk)
    assert (told.account, told.state, told.reason) == ("default", switch.state, switch.reason)
    refused = await _verdict(risk, api, 5)
    assert (refused.reason, refused.message) == ("DAILY_LOSS", switch.reason)
    exposure = await api.GetExposure(pb.GetExposureRequest(), None)
    assert (exposure.tripped, Decimal(exposure.realised.amount.value)) == (switch.reason, -100)
    risk.market.now += timedelta(days=1)
    assert (await _verdict(risk, api, 5)).approved
    assert [one.state for one in await _events(risk)][-1] == common.TRADING_STATE_ACTIVE


async def test_who_changes_the_days_loss_lets_the_account_trade_again(risk, api) -> None:
    """With a higher limit it goes on; a limit that the loss is over still trips it anew."""
    await api.UpdateLimits(_update({"max_daily_loss": "100"}), None)
    await _filled(risk, 10)
    risk.market.price = Decimal(1490)
    await _filled(risk, 0)
    await api.UpdateLimits(_update({"max_daily_loss": "90"}, 1), None)
    assert (await _verdict(risk, api, 5)).reason == "DAILY_LOSS"
    await api.UpdateLimits(_update({"max_daily_loss": "200"}, 2), None)
    assert (await _verdict(risk, api, 5)).approved
    states = [one.state for one in await _events(risk)]
    reducing, active = common.TRADING_STATE_REDUCING, common.TRADING_STATE_ACTIVE
    assert states == [reducing, active, reducing, active]


async def test_one_strategys_kill_switch_is_its_own(risk, api, trading) -> None:
    """HALTED, nothing of it passes, exits neither; others trade on; trading is told, and so is the topic."""
    await risk.strategy(1, strategy_id="ema-2")
    await _filled(risk, 10)
    request = pb.SetKillSwitchRequest(
        request_id="1",
        broker="paper",
        strategy_id="ema-1",
        state=common.TRADING_STATE_HALTED,
        reason="it runs wild",
    )
    answer = await api.SetKillSwitch(request, None)
    assert answer.acknowledged_by_trading
    assert trading.strategies == {("paper", "ema-1"): (1, common.TRADING_STATE_HALTED)}
    refused = await _verdict(risk, api, 0)
    assert (refused.reason, refused.message) == (
        "KILL_SWITCH",
        "strategy 'ema-1' at 'paper' is HALTED: it takes no orders now",
    )
    assert (await _verdict(risk, api, 5, OTHER)).approved
    [told] = await _events(risk)
    assert (told.strategy_id, told.state) == ("ema-1", common.TRADING_STATE_HALTED)
    of_strategy = await api.GetKillSwitch(pb.GetKillSwitchRequest(strategy_id="ema-1"), None)
    assert of_strategy.kill_switch == answer.kill_switch
    of_broker = await api.GetKillSwitch(pb.GetKillSwitchRequest(), None)
    assert of_broker.kill_switch.state == common.TRADING_STATE_ACTIVE


async def test_exposure_is_told(risk, api) -> None:
    """Held and in flight by instrument, the account's sums, and what the day has made."""
    await risk.strategy(1, strategy_id="ema-2")
    await _filled(risk, 10)
    risk.market.price = Decimal(1510)
    await _filled(risk, 4)
    await risk.raw(risk.signal(-5, OTHER))
    exposure = await api.GetExposure(pb.GetExposureRequest(), None)
    [line] = exposure.instruments
    assert (line.instrument_id, line.held, line.in_flight, line.most) == ("NSE:INFY", 4, -5, 9)
    assert Decimal(exposure.gross.amount.value) == 9 * 1510
    assert Decimal(exposure.net.amount.value) == -1510
    assert (exposure.day, exposure.trades, exposure.open_orders) == ("2026-03-04", 3, 1)
    assert Decimal(exposure.realised.amount.value) == 60
    assert Decimal(exposure.unrealised.amount.value) == 40


async def test_a_dry_run_says_and_stores_nothing(risk, api) -> None:
    """EvaluateSignal gives the verdict that a signal would get, twice the same, and leaves no trace."""
    request = pb.EvaluateSignalRequest(strategy_id="ema-1", instrument_id="NSE:INFY", target_position=6_000)
    refused = (await api.EvaluateSignal(request, None)).verdict
    assert (refused.reason, refused.largest_quantity) == ("ORDER_QUANTITY", 5_000)
    request.target_position = 10
    for _ in range(2):
        answer = await api.EvaluateSignal(request, None)
        assert (answer.verdict.approved, answer.verdict.quantity, answer.held) == (True, 10, 0)
    assert await risk.published() == []
    assert not (await api.ListVerdicts(pb.ListVerdictsRequest(), None)).verdicts
    await _filled(risk, 10)
    await risk.raw(risk.signal(20))
    answer = await api.EvaluateSignal(request, None)
    assert (answer.verdict.waiting, answer.held) == (True, 10)
    for unknown, said in (("strategy_id", "ema-1"), ("instrument_id", "an instrument of today")):
        wrong = pb.EvaluateSignalRequest(strategy_id="ema-1", instrument_id="NSE:INFY", target_position=1)
        setattr(wrong, unknown, "nobody")
        with pytest.raises(InvalidInput, match=said):
            await api.EvaluateSignal(wrong, None)


async def test_verdicts_are_listed_by_pages_and_filters(risk, api) -> None:
    """Newest first; a token belongs to its filters; time is market time, its end excluded."""
    await risk.strategy(1, strategy_id="ema-2")
    at = risk.market.now
    for key in (KEY, OTHER):
        await _filled(risk, 5, key)
        await _verdict(risk, api, 9_000, key)
        risk.market.now += timedelta(minutes=1)
    everything = (await api.ListVerdicts(pb.ListVerdictsRequest(), None)).verdicts
    assert [(one.strategy_id, one.approved) for one in everything] == [
        ("ema-2", False),
        ("ema-2", True),
        ("ema-1", False),
        ("ema-1", True),
    ]
    first = await api.ListVerdicts(pb.ListVerdictsRequest(page_size=3), None)
    rest = pb.ListVerdictsRequest(page_size=3, page_token=first.next_page_token)
    second = await api.ListVerdicts(rest, None)
    assert [*first.verdicts, *second.verdicts] == list(everything)
    assert not second.next_page_token
    with pytest.raises(InvalidInput, match="page_token"):
        await api.ListVerdicts(pb.ListVerdictsRequest(approved=True, page_token=rest.page_token), None)
    for filters, expected in (
        ({"strategy_id": "ema-1"}, 2),
        ({"approved": False}, 2),
        ({"approved": True, "strategy_id": "ema-2"}, 1),
        ({"strategy_id": "manual", "instrument_id": "NSE:INFY"}, 0),
        ({"until": timestamp(at + timedelta(minutes=1))}, 2),
        ({"since": timestamp(at + timedelta(minutes=1))}, 2),
    ):
        answer = await api.ListVerdicts(pb.ListVerdictsRequest(**filters), None)
        assert len(answer.verdicts) == expected


def _restarted(risk: Risk) -> Risk:
    """Another process on the same database."""
    twin = Risk(risk.store.__class__(risk.engine, risk.store._outbox), risk.engine, risk.market)
    twin.made = 1_000
    return twin


async def test_a_restart_keeps_limits_counters_and_verdicts(postgres_risk, mirror, trading) -> None:
    """Another process on the same database refuses, tells and lists as the first one would."""
    risk = postgres_risk
    api = servicer(risk, mirror, trading)
    limits = {
        "max_daily_trades": "1",
        "cooldown_losses": "1",
        "max_daily_loss": "1000",
        "max_order_rate": "5",
    }
    await api.UpdateLimits(_update(limits), None)
    await _filled(risk, 10)
    twin = _restarted(risk)
    await twin.strategy(1)
    again = servicer(twin, mirror, trading)
    for ask, request in (
        ("GetLimits", pb.GetLimitsRequest()),
        ("ListVerdicts", pb.ListVerdictsRequest()),
        ("GetExposure", pb.GetExposureRequest()),
    ):
        assert await getattr(again, ask)(request, None) == await getattr(api, ask)(request, None)
    book, _ = await risk.decisions.inspect("paper", "default", [KEY])
    same, _ = await twin.decisions.inspect("paper", "default", [KEY])
    assert (same.positions, same.days) == (book.positions, book.days)
    assert isinstance(same, RiskBook)
    assert (await _verdict(twin, again, 20)).reason == "DAILY_TRADES"


async def test_two_processes_let_through_no_more_than_the_limit(postgres_risk, mirror, trading) -> None:
    """Both judge at once under the account's lock: what the limit allows is let through, not one order more."""
    one, two = postgres_risk, _restarted(postgres_risk)
    api = servicer(one, mirror, trading)
    await api.UpdateLimits(_update({"max_daily_trades": "7", "max_gross_exposure": "100000000"}), None)
    names = [f"s-{n}" for n in range(20)]
    for name in names:
        await one.strategy(1, strategy_id=name)
        await two.strategy(1, strategy_id=name)
    await asyncio.gather(
        *(
            room.raw(room.signal(5, replace(KEY, strategy_id=name)))
            for room, half in ((one, names[:10]), (two, names[10:]))
            for name in half
        )
    )
    assert len(await one.validated()) == 7
    assert [reason for _, reason in await one.rejected()] == ["DAILY_TRADES"] * 13
    book, _ = await two.decisions.inspect("paper", "default")
    assert book.days["paper", "default", ""].trades == 7
    assert all(isinstance(order, Approved) for order in await one.validated())


async def test_the_stricter_switch_counts_in_a_decision(risk) -> None:
    """A unit reads the broker's and the strategies' own; an account's own isn't one of them."""
    await risk.store.prepare(["paper"])
    async with risk.store.unit("paper", "default") as unit:
        await unit.book((), ())
        assert (unit.trading_state, dict(unit.strategy_switches)) == (TradingState.ACTIVE, {})
    assert (await risk.store.kill_switch(SwitchScope("paper", "ema-1"))).revision == 0
