"""How many statements a decision costs, counted where they are sent, and what is done where two decide at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from tests.statements import CountedRelay, Sent, quiet
from tests.values import replace

from alphapanda.contract.topics import TopicMap
from alphapanda.domain.ids import derived_id
from alphapanda.domain.market import MarketView
from alphapanda.domain.order import OrderStatus, Product, Side, TradingState
from alphapanda.domain.signal import PositionKey
from alphapanda.eventlog.port import Record
from alphapanda.resilience.backoff import Backoff
from alphapanda.risk.core.limit_changes import LimitChange
from alphapanda.risk.core.scoped_limits import LimitScope
from alphapanda.risk.store.port import KillSwitch, SwitchScope
from alphapanda.risk.store.statements import SCHEMA
from alphapanda.risk.switch_events import kill_switch_message, switch_event
from alphapanda.storage.outbox import Outbox
from alphapanda.storage.requests import CommandKey
from panda.risk.v1 import risk_pb2 as pb

KEY = PositionKey("paper", "default", "ema-1", "NSE:INFY", Product.MIS)
BROKERS = ("paper", "zerodha")
DECISION = 2
"""One that reads the account, one that stores the verdict with its event."""
RELAY = 2
"""One that reads the outbox, one that marks what was published."""


@dataclass
class Log:
    """A log that remembers how many records it took."""

    records: list[Record] = field(default_factory=list)

    async def publish(self, records: Sequence[Record]) -> Sequence[int]:
        self.records += records
        return range(len(records))


@dataclass
class Counted:
    """The service on a database whose statements are counted."""

    risk: Any
    sent: Sent

    async def cost(self, decide: Awaitable[Any]) -> list[str]:
        self.sent.statements.clear()
        await decide
        return list(self.sent.statements)


@pytest.fixture
async def counted(postgres_risk) -> Counted:
    """In steady state: the account is known, and the connections are open."""
    sent = Sent()
    sent.listen(postgres_risk.engine)
    await postgres_risk.engine.dispose()
    first = postgres_risk.signal(10)
    await postgres_risk.raw(first)
    [order] = await postgres_risk.validated()
    await postgres_risk.told(order, 10, OrderStatus.FILLED, 2)
    return Counted(postgres_risk, sent)


async def test_a_signal_costs_two_statements(counted) -> None:
    """One reads, one stores by compare-and-set; nothing begins or ends a transaction, and a batch costs no more."""
    risk = counted.risk
    assert len(await counted.cost(risk.raw(risk.signal(20)))) == DECISION
    keys = [replace(KEY, strategy_id=f"s-{n}") for n in range(20)]
    for key in keys:
        await risk.strategy(1, strategy_id=key.strategy_id)
    batch = [risk.signal(5, key) for key in keys]
    assert len(await counted.cost(risk.raw(*batch))) == DECISION
    assert len(await risk.validated()) == 22
    assert len(await counted.cost(risk.raw(*batch))) == 1, "what was judged before is only read"


async def test_an_order_event_costs_two_statements(counted) -> None:
    """A batch of fills moves positions and ends reservations with one read and one write."""
    risk = counted.risk
    await risk.raw(risk.signal(20))
    order = (await risk.validated())[-1]
    assert len(await counted.cost(risk.told(order, 10, OrderStatus.FILLED, 2))) == DECISION
    assert await risk.position() == 20
    assert len(await counted.cost(risk.told(order, 10, OrderStatus.FILLED, 2))) == 1


async def test_a_manual_order_costs_two_statements(counted) -> None:
    """Its verdict is the one just given, not read again; only one given before is looked up."""
    risk = counted.risk
    signal = replace(
        risk.signal(0, replace(KEY, strategy_id="manual"), 0), target=None, side=Side.BUY, quantity=5
    )
    assert len(await counted.cost(risk.decisions.authorize(signal))) == DECISION
    assert len(await counted.cost(risk.decisions.authorize(signal))) == 3


async def test_manual_orders_at_once_are_decided_together(counted) -> None:
    """Fifty orders that people place at once cost two decisions: that of the first, and one for all that came meanwhile."""
    risk = counted.risk
    orders = [
        replace(
            risk.signal(0, replace(KEY, strategy_id="manual", instrument_id=f"NSE:S{n}"), 0),
            target=None,
            side=Side.BUY,
            quantity=5,
        )
        for n in range(50)
    ]
    verdicts: list[Any] = []

    async def at_once() -> None:
        verdicts.extend(await asyncio.gather(*map(risk.decisions.authorize, [*orders, orders[0]])))

    assert len(await counted.cost(at_once())) <= 2 * DECISION + 1
    assert [one.signal_id for one in verdicts] == [one.signal_id for one in [*orders, orders[0]]]
    assert verdicts[0] == verdicts[-1]


async def test_account_wide_limits_cost_no_statement_more(counted) -> None:
    """Once the account's instruments are known, their prices are read before and the whole account in the one read."""
    risk = counted.risk
    await _limit(risk, max_gross_exposure="100000000")
    await risk.raw(risk.signal(20))
    await risk.told((await risk.validated())[-1], 10, OrderStatus.FILLED, 2)
    assert len(await counted.cost(risk.raw(risk.signal(30)))) == DECISION


async def test_a_verdict_is_published_after_four_statements(counted, tables: str) -> None:
    """From a raw signal to its verdict on the log: two of the decision, two of the relay."""
    risk = counted.risk
    log = Log()
    relay = CountedRelay(
        engine=risk.engine,
        outbox=Outbox(SCHEMA, TopicMap(BROKERS)),
        log=log,  # type: ignore[arg-type]
        batch_size=100,
        backoff=Backoff(0.1, 1.0),
        poll_seconds=3600,
        silence_seconds=3600,
    )
    await relay.start()
    async with quiet(tables) as waits:
        await waits.before(relay)

        async def published() -> None:
            await risk.raw(risk.signal(20))
            await waits.after(relay)

        assert len(await counted.cost(published())) == DECISION + RELAY
    assert relay.published == 2
    await relay.stop()


async def test_no_price_is_awaited_while_the_account_is_locked(postgres_risk, monkeypatch) -> None:
    """Redis may be slow: the account can be locked by others all the while, with an account-wide limit as well."""
    risk = postgres_risk
    await risk.raw(risk.signal(10))
    await _limit(risk, max_gross_exposure="100000000")
    view, looked = risk.market.view, 0

    async def looks(tokens: Sequence[int]) -> MarketView:
        nonlocal looked
        looked += 1
        async with asyncio.timeout(5), risk.store.unit("paper", "default"):
            pass
        return await view(tokens)

    monkeypatch.setattr(risk.market, "view", looks)
    for _ in range(2):
        await risk.raw(risk.signal(20))
        await risk.raw(risk.signal(5, replace(KEY, account="other")))
    assert looked >= 4


async def test_prices_are_not_waited_for_beyond_their_budget(risk, monkeypatch) -> None:
    """A cache that doesn't answer is an unknown market: the entry is refused within the budget, not held up."""

    async def never(_: Sequence[int]) -> MarketView:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(risk.market, "view", never)
    async with asyncio.timeout(5):
        await risk.raw(risk.signal(10))
    assert [reason for _, reason in await risk.rejected()] == ["MARKET_HOURS"]


@pytest.mark.parametrize("between", ["decision", "switch", "limit"])
async def test_what_came_between_read_and_write_is_seen(postgres_risk, monkeypatch, between: str) -> None:
    """A decision on what has changed since isn't stored; it is made anew under the lock, on what is there then."""
    risk = postgres_risk
    await risk.raw(risk.signal(5, replace(KEY, strategy_id="manual"), 0))
    save, late = risk.store.save_if_unchanged, risk.signal(20)
    signal = risk.signal(10)

    async def other_process() -> None:
        if between == "decision":
            async with risk.store.unit("paper", "default") as unit:
                book = await unit.book([KEY], [late.signal_id])
                inputs = risk.decisions.inputs.of(
                    await risk.market.view([late.instrument_token]), unit, "paper"
                )
                verdicts = book.judge(late, inputs)
                await unit.save(
                    book, verdicts, [risk.decisions._decisions._event(verdict) for verdict in verdicts]
                )
        elif between == "switch":
            await _halt(risk)
        else:
            await _limit(risk, max_order_quantity="1")

    async def interrupted(*args: Any) -> bool:
        monkeypatch.undo()
        await other_process()
        stored = await save(*args)
        assert not stored
        return stored

    monkeypatch.setattr(risk.store, "save_if_unchanged", interrupted)
    await risk.raw(signal)
    found = await risk.store.verdict(signal.signal_id)
    expected = {"decision": None, "switch": "KILL_SWITCH", "limit": "ORDER_QUANTITY"}[between]
    assert found == signal if expected is None else found.reason == expected


@pytest.mark.parametrize("seed", range(6))
async def test_two_processes_decide_as_one_under_the_lock_would(postgres_risk, seed: int) -> None:
    """In any interleaving: one open order a position, each signal one verdict, quantities from what was held then."""
    one, chance = postgres_risk, random.Random(seed)
    two = one.__class__(one.store.__class__(one.engine, one.store._outbox), one.engine, one.market)
    two.made = 1_000
    names = ["ema-1", "ema-2", "ema-3"]
    for room in (one, two):
        for name in names:
            await room.strategy(1, strategy_id=name)
    rooms, signals = (one, two), []
    for _ in range(12):
        room = chance.choice(rooms)
        batch = [
            room.signal(chance.randint(-30, 30), replace(KEY, strategy_id=chance.choice(names)))
            for _ in range(2)
        ]
        signals += batch
        others = [
            order
            for order in await one.validated()
            if not await _is_final(one, order.signal_id) and chance.random() < 0.7
        ]
        await asyncio.gather(
            room.raw(*batch),
            chance.choice(rooms).raw(*batch),
            *(chance.choice(rooms).told(order, order.quantity, OrderStatus.FILLED, 2) for order in others),
        )
    for _ in range(10):
        for order in await one.validated():
            if not await _is_final(one, order.signal_id):
                await two.told(order, order.quantity, OrderStatus.FILLED, 2)
    verdicts = [event for event in await one.published() if event.HasField("signal_validated")]
    refused = await one.rejected()
    judged = [event.signal_validated.signal_id for event in verdicts] + [signal for signal, _ in refused]
    assert sorted(judged) == sorted({signal.signal_id for signal in signals})
    for name in names:
        key, held = replace(KEY, strategy_id=name), 0
        for order in await one.validated():
            if order.key == key:
                target = next(signal.target for signal in signals if signal.signal_id == order.signal_id)
                held += order.side.sign * order.quantity
                assert held == target, "measured from what was held when it was decided"
        assert await one.position(key) == held


async def test_a_brokers_name_is_no_pattern(postgres_risk) -> None:
    """What is parked at broker my_broker makes nothing unknown at myXbroker, though _ stands for any letter in LIKE."""
    risk = postgres_risk
    async with risk.engine.begin() as connection:
        for topic, key in (("my_broker.signals.raw", b"a:1"), ("myXbroker.signals.raw", b"b:2")):
            await connection.execute(
                text(
                    "INSERT INTO risk.parked_keys (consumer, topic, partition, key) VALUES ('c', :topic, 0, :key)"
                ),
                {"topic": topic, "key": key},
            )
    for broker, expected in (("my_broker", ("a", 1)), ("myXbroker", ("b", 2))):
        async with risk.store.unit(broker, "default") as unit:
            assert unit.unknown_positions == {expected}


async def _is_final(risk: Any, signal_id: str) -> bool:
    async with risk.store.unit("paper", "default", dry=True) as unit:
        book = await unit.book((), [signal_id])
    return book.orders[signal_id].final


async def _limit(risk: Any, **values: str) -> None:
    now = risk.market.now
    async with risk.store.unit("paper", "default") as unit:
        await unit.save_limits(LimitChange(LimitScope(), values, (), "test", "a test", now))


async def _halt(risk: Any) -> None:
    halted = KillSwitch(SwitchScope("paper"), TradingState.HALTED, 1, "test", "a test", risk.market.now)
    from alphapanda.risk.switch_events import kill_switch_message, switch_event

    await risk.store.set_kill_switch(
        CommandKey("test", "SetKillSwitch", derived_id("halt", 1)),
        pb.SetKillSwitchRequest(broker="paper"),
        SwitchScope("paper"),
        lambda _: (halted, switch_event(halted, derived_id("halt", 1))),
        kill_switch_message,
    )


async def test_a_parked_key_of_another_form_names_no_position(postgres_risk) -> None:
    """Keys that nobody's events have are left out, and the broker's other parked keys are read."""
    risk = postgres_risk
    keys = [b"a:1", b"", b"\xff\xfe", b"junk", b"a:", b"a:-1", b"a:1x", b"a:\xc2\xb2", b"a:" + b"9" * 5000]
    async with risk.engine.begin() as connection:
        for key in keys:
            await connection.execute(
                text(
                    "INSERT INTO risk.parked_keys (consumer, topic, partition, key)"
                    " VALUES ('c', 'paper.signals.raw', 0, :key)"
                ),
                {"key": key},
            )
    async with risk.store.unit("paper", "default") as unit:
        assert unit.unknown_positions == {("a", 1)}
    await risk.raw(risk.signal(10))
    assert len(await risk.validated()) == 1


class _Held:
    """The memory of requests; a command that stores its answer waits there, its transaction open."""

    def __init__(self, requests: Any) -> None:
        self.requests = requests
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def claim(self, *args: Any) -> Any:
        return await self.requests.claim(*args)

    async def remember(self, *args: Any) -> None:
        await self.requests.remember(*args)
        self.reached.set()
        await self.go_on.wait()


@pytest.fixture
async def halting(postgres_risk, monkeypatch: pytest.MonkeyPatch) -> tuple[_Held, asyncio.Task[bytes]]:
    """The first switch of strategy ema-1 is being set to HALTED; it isn't committed."""
    store = postgres_risk.store
    await store.prepare(BROKERS)
    async with store.unit("paper", "default"):
        pass  # the account has a row
    held = _Held(store._requests)
    monkeypatch.setattr(store, "_requests", held)
    request = pb.SetKillSwitchRequest(request_id="1", broker="paper", strategy_id="ema-1", reason="drill")
    scope = SwitchScope("paper", "ema-1")
    now = datetime.now(tz=UTC)
    halted = KillSwitch(scope, TradingState.HALTED, 1, "me", "drill", now)
    key = CommandKey("me", "SetKillSwitch", "1")
    setting = asyncio.create_task(
        store.set_kill_switch(
            key,
            request,
            scope,
            lambda _: (halted, switch_event(halted, derived_id("c"))),
            kill_switch_message,
        )
    )
    await held.reached.wait()
    return held, setting


async def test_a_locked_decision_that_waited_sees_a_strategys_first_kill_switch(
    postgres_risk, halting
) -> None:
    """The switch had no row when the decision began to wait for it."""
    held, setting = halting

    async def decide() -> TradingState | None:
        async with postgres_risk.store.unit("paper", "default") as unit:
            await unit.book([KEY], ())
            return unit.strategy_switches.get("ema-1")

    deciding = asyncio.create_task(decide())
    await asyncio.wait([deciding], timeout=0.2)
    assert not deciding.done()
    held.go_on.set()
    await setting
    assert await deciding is TradingState.HALTED


async def test_a_decision_that_waited_to_be_stored_is_made_again_with_a_strategys_first_kill_switch(
    postgres_risk, halting
) -> None:
    """The switch had no row when the statement that stores the decision began to wait for it."""
    held, setting = halting
    signal = postgres_risk.signal(10)
    deciding = asyncio.create_task(postgres_risk.raw(signal))
    await asyncio.wait([deciding], timeout=0.2)
    assert not deciding.done()
    held.go_on.set()
    await setting
    await deciding
    assert await postgres_risk.rejected() == [(signal.signal_id, "KILL_SWITCH")]
