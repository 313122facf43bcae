from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from tests.values import replace

from alphapanda.contract.wire import signal_from
from alphapanda.domain.ids import output_id
from alphapanda.domain.order import OrderStatus, PositionEffect, Product, Side
from alphapanda.domain.signal import MANUAL, PositionKey
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved, Refused
from alphapanda.resilience.failures import TransientFailure
from alphapanda.risk.decision_spans import DecisionSpans
from alphapanda.risk.square_off_timer import SquareOffTimer
from alphapanda.telemetry import spans
from alphapanda.telemetry.figures import Outcome, Stage
from alphapanda.telemetry.tracing import Span, Tracer

KEY = PositionKey("paper", "default", "ema-1", "NSE:INFY", Product.MIS)
CAUSE = "0b6f1f3e-94c8-5f3f-9d51-7f4a3a1d7d10"


async def _hold(risk, quantity: int) -> None:
    """Buys or sells the position into being."""
    await risk.raw(risk.signal(quantity))
    [*_, order] = await risk.validated()
    await risk.told(order, order.quantity, OrderStatus.FILLED, 2)
    assert await risk.position() == quantity


async def test_a_duplicate_never_decides_again(risk) -> None:
    """The same raw signal, in the batch or in a later one, has one verdict and one event, whatever has changed."""
    signal = risk.signal(10)
    await risk.raw(signal, signal)
    await risk.strategy(2, running=False)
    await risk.raw(signal)
    [event] = await risk.published()
    assert event.event_id == output_id("risk", signal.signal_id, "verdict")
    assert (event.correlation_id, event.causation_id) == (signal.correlation_id, signal.signal_id)
    verdict = await risk.store.verdict(signal.signal_id)
    assert isinstance(verdict, Approved)
    assert (verdict.side, verdict.quantity, verdict.effect) == (Side.BUY, 10, PositionEffect.OPENS)
    [published] = await risk.validated()
    assert published == verdict
    assert [call.args for call in risk.figures.absorbed.call_args_list] == [("risk", "paper", 1)] * 2
    [counted] = risk.figures.decided.call_args_list
    assert counted.args == ("paper", Outcome.APPROVED, "")
    [timed] = risk.figures.passed.call_args_list
    assert timed.args[:2] == (Stage.SIGNAL_TO_VERDICT, "paper")
    assert timed.args[3] == signal.correlation_id


async def test_an_order_event_that_comes_again_is_absorbed(risk) -> None:
    """Each revision moves the position once; the later ones are counted as duplicates."""
    await risk.raw(risk.signal(10))
    [order] = await risk.validated()
    for _ in range(3):
        await risk.told(order, 10, OrderStatus.FILLED, 2)
    assert await risk.position() == 10
    assert [call.args for call in risk.figures.absorbed.call_args_list] == [("risk", "paper", 1)] * 2


async def test_an_order_that_was_modified_to_more_units_fills_them(risk) -> None:
    """A stop follows its position: its row takes the new quantity over, and a fill of all of it is booked."""
    await _hold(risk, 10)
    await risk.raw(risk.signal(4))
    [*_, stop] = await risk.validated()
    await risk.told(stop, 0, OrderStatus.OPEN, 1)
    more = replace(stop, quantity=10)
    await risk.told(more, 0, OrderStatus.OPEN, 2)
    await risk.told(more, 10, OrderStatus.FILLED, 3)
    assert await risk.position() == 0


async def test_a_batch_is_decided_in_order(risk) -> None:
    """Targets of one batch: the first becomes an order, the last waits, the one between is superseded; others go on."""
    first, between, last = risk.signal(10), risk.signal(-10), risk.signal(20)
    other = risk.signal(7, replace(KEY, strategy_id="ema-2"))
    await risk.strategy(1, strategy_id="ema-2")
    await risk.raw(first, between, other, last)
    assert [order.signal_id for order in await risk.validated()] == [first.signal_id, other.signal_id]
    assert await risk.rejected() == [(between.signal_id, "SUPERSEDED")]
    assert await risk.store.verdict(last.signal_id) == last
    await risk.raw(between, last)
    assert len(await risk.published()) == 3


@pytest.mark.parametrize(
    ("filled", "status", "decided"),
    [
        (10, OrderStatus.FILLED, (Side.SELL, 20, PositionEffect.FLIPS)),
        (4, OrderStatus.CANCELLED, (Side.SELL, 14, PositionEffect.FLIPS)),
        (0, OrderStatus.REJECTED, (Side.SELL, 10, PositionEffect.OPENS)),
    ],
)
async def test_the_waiting_target_is_decided_with_the_terminal_event(
    risk, filled: int, status: OrderStatus, decided: tuple[Side, int, PositionEffect]
) -> None:
    """Whatever became of the open order, the target that waited is measured from what is held then."""
    first, waiting = risk.signal(10), risk.signal(-10)
    await risk.raw(first, waiting)
    [order] = await risk.validated()
    await risk.told(order, 0, OrderStatus.OPEN, 1)
    assert len(await risk.published()) == 1
    await risk.told(order, filled, status, 3)
    _, verdict = await risk.validated()
    assert verdict.signal_id == waiting.signal_id
    assert (verdict.side, verdict.quantity, verdict.effect) == decided
    await risk.told(order, filled, status, 3)
    await risk.told(order, 0, OrderStatus.OPEN, 1)
    assert await risk.position() == filled
    assert len(await risk.published()) == 2


@pytest.mark.parametrize("late_first", [False, True])
async def test_a_fill_after_the_orders_end_moves_the_position(risk, late_first: bool) -> None:
    """Whichever of the two comes first, once: the end frees the key, and the next target is measured from what is held."""
    await risk.raw(risk.signal(10))
    [order] = await risk.validated()
    await risk.told(order, 0, OrderStatus.OPEN, 1)
    events = [(4, 2, False), (9, 3, True)]
    for filled, revision, late in reversed(events) if late_first else events:
        await risk.told(order, filled, OrderStatus.CANCELLED, revision, late=late)
    await risk.told(order, 9, OrderStatus.CANCELLED, 3, late=True)
    assert await risk.position() == 9
    await risk.raw(risk.signal(0))
    leaving = (await risk.validated())[-1]
    assert (leaving.side, leaving.quantity, leaving.effect) == (Side.SELL, 9, PositionEffect.REDUCES)


async def test_rules_are_stored_with_the_verdict(risk) -> None:
    """A refusal is found again as it was published, with every rule."""
    signal = risk.signal(6_000)
    await risk.raw(signal)
    verdict = await risk.store.verdict(signal.signal_id)
    assert isinstance(verdict, Refused)
    assert verdict.reason == "ORDER_QUANTITY"
    assert {rule.rule: rule.limit for rule in verdict.rules}["order_quantity"] == "<= 5000"
    [event] = await risk.published()
    assert event.signal_rejected.message == verdict.message
    assert len(event.signal_rejected.rules) == len(verdict.rules)


async def test_a_stopped_strategy_exits(risk) -> None:
    """Its opening is refused and its exit passes."""
    await _hold(risk, 10)
    await risk.strategy(2, running=False)
    opening, leaving = risk.signal(20), risk.signal(0)
    await risk.raw(opening, leaving)
    assert await risk.rejected() == [(opening.signal_id, "STRATEGY_STATE")]
    assert (await risk.validated())[-1].signal_id == leaving.signal_id


async def test_a_revision_not_told_of_yet_is_waited_for(risk) -> None:
    """The batch fails transiently and leaves nothing behind; once the control topic tells, it passes."""
    known, ahead = risk.signal(10), risk.signal(5, replace(KEY, strategy_id="new"))
    with pytest.raises(TransientFailure, match="'new'"):
        await risk.raw(known, ahead)
    assert await risk.published() == []
    await risk.strategy(1, strategy_id="new")
    await risk.raw(known, ahead)
    assert len(await risk.validated()) == 2


async def test_a_revision_never_told_of_is_refused_in_the_end(risk) -> None:
    """After the patience its entries are refused instead of stopping the partition for ever."""
    ahead = risk.signal(5, replace(KEY, strategy_id="new"))
    with pytest.raises(TransientFailure):
        await risk.raw(ahead)
    risk.monotonic = 10.0
    await risk.raw(ahead)
    assert await risk.rejected() == [(ahead.signal_id, "STRATEGY_STATE")]


async def test_without_the_price_cache_only_exits_pass(risk) -> None:
    """A cache that can't be reached is an unknown market: the opening is refused, the exit passes."""
    await _hold(risk, 10)
    risk.market.away = True
    opening, leaving = risk.signal(20), risk.signal(0)
    await risk.raw(opening, leaving)
    assert await risk.rejected() == [(opening.signal_id, "MARKET_HOURS")]
    last = (await risk.validated())[-1]
    assert (last.signal_id, last.decided_at) == (leaving.signal_id, None)


async def test_accounts_are_apart(risk) -> None:
    """A batch of two accounts and two brokers is decided for each on its own."""
    keys = [KEY, replace(KEY, account="other"), replace(KEY, broker="zerodha")]
    await risk.raw(*(risk.signal(10, key) for key in keys))
    assert {order.key for order in await risk.validated()} == set(keys)


async def test_concurrent_batches_of_an_account_follow_each_other(postgres_risk) -> None:
    """Two batches for one key at once: one order is let through, the other target waits or is superseded; accounts don't block."""
    risk = postgres_risk
    signals = [risk.signal(target) for target in (10, 20, 30, 40)]
    others = [risk.signal(5, replace(KEY, account=f"a{n}")) for n in range(4)]
    await asyncio.gather(*(risk.raw(signal) for signal in (*signals, *others)))
    orders = [order for order in await risk.validated() if order.key == KEY]
    assert len(orders) == 1
    assert len(await risk.validated()) == 5
    assert [reason for _, reason in await risk.rejected()] == ["SUPERSEDED"] * 2


async def test_an_account_that_is_locked_waits_and_others_go_on(postgres_risk) -> None:
    """The lock is the account's: a held unit stops its account's decisions and nobody else's."""
    risk = postgres_risk
    async with risk.store.unit("paper", "default"):
        waiting = asyncio.create_task(risk.raw(risk.signal(10)))
        await risk.raw(risk.signal(10, replace(KEY, account="other")))
        assert not waiting.done()
    await waiting
    assert len(await risk.validated()) == 2


async def test_a_failing_unit_leaves_nothing(risk) -> None:
    """What was saved before an error is rolled back with it."""
    signal = risk.signal(10)

    async def fails() -> None:
        async with risk.store.unit("paper", "default") as unit:
            book = await unit.book([KEY], [signal.signal_id])
            market = await risk.market.view((408065,))
            verdicts = book.judge(signal, risk.decisions.inputs.of(market, unit, "paper"))
            await unit.save(book, verdicts, [])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fails()
    assert await risk.store.verdict(signal.signal_id) is None
    await risk.raw(signal)
    assert len(await risk.validated()) == 1


async def test_an_explicit_order_is_authorised_once(risk) -> None:
    """The same intent gets the same verdict, and one reservation; a second order under the key is refused meanwhile."""
    key = replace(KEY, strategy_id=MANUAL)
    one = replace(risk.signal(0, key, 0), target=None, side=Side.BUY, quantity=5)
    two = replace(risk.signal(0, key, 0), target=None, side=Side.BUY, quantity=5)
    first, again = await risk.decisions.authorize(one), await risk.decisions.authorize(one)
    assert isinstance(first, Approved)
    assert first == again
    refused = await risk.decisions.authorize(two)
    assert isinstance(refused, Refused)
    assert refused.reason == "OPEN_ORDER"
    assert len(await risk.published()) == 2


@pytest.fixture
def traced() -> list[Span]:
    """The spans that the timer records."""
    return []


@pytest.fixture
def timer(risk, traced) -> SquareOffTimer:
    """A timer for paper's positions."""
    recorded = DecisionSpans(Tracer("risk", traced.append, "sqlite"))
    return SquareOffTimer(risk.decisions, risk.store, ["paper"], lambda _: CAUSE, spans=recorded)


async def test_the_timer_squares_off_at_the_cut_off(risk, timer, traced) -> None:
    """At 15:00 each MIS position gets one signal on the raw topic, and one span, however often the timer looks, which it needn't before; judged, it is an exit."""
    await _hold(risk, -10)
    assert not timer.skips(risk.market.now)
    assert await timer.fire_due() == []
    risk.market.now = risk.market.now.replace(hour=14, minute=59, second=59)
    assert timer.skips(risk.market.now)
    assert await timer.fire_due() == []
    risk.market.now += timedelta(seconds=1)
    assert not timer.skips(risk.market.now)
    [signal] = await timer.fire_due()
    await asyncio.gather(timer.fire_due(), timer.fire_due())
    assert [span.name for span in traced] == [spans.SQUARE_OFF_DUE]
    events = [event for event in await risk.published() if event.HasField("trading_signal")]
    assert [event.event_id for event in events] == [signal.signal_id]
    assert (events[0].source, events[0].causation_id) == ("risk", CAUSE)
    assert signal_from(events[0]).terms == AT_MARKET
    await risk.strategy(2, running=False)
    await risk.raw(signal)
    order = (await risk.validated())[-1]
    assert (order.signal_id, order.side, order.quantity) == (signal.signal_id, Side.BUY, 10)
    assert await timer.fire_due() == []
    await risk.told(order, 10, OrderStatus.FILLED, 2)
    assert await risk.position() == 0


async def test_a_missed_square_off_comes_the_next_day(risk, timer) -> None:
    """A position of an earlier day is squared off when the next session has opened, though the timer looked before."""
    await _hold(risk, 10)
    risk.market.now = risk.market.now.replace(day=5, hour=9, minute=0)
    assert await timer.fire_due() == []
    risk.market.now = risk.market.now.replace(hour=9, minute=15)
    assert len(await timer.fire_due()) == 1


async def test_rule_14_a_live_position_that_stays_after_the_cut_off_is_an_alarm(risk) -> None:
    """Two and five minutes later, each once; flat by then, or at paper, there is none."""
    await _hold(risk, 10)
    risk.decisions.inputs.live = frozenset({"paper"})  # the broker whose orders risk takes here
    timer = SquareOffTimer(risk.decisions, risk.store, ["paper"], lambda _: CAUSE)
    alarms = []
    with capture_logs() as logs:
        for minute in (0, 1, 2, 3, 5, 6):
            risk.market.now = risk.market.now.replace(hour=15, minute=minute)
            await timer.fire_due()
            alarms.append([one["minutes"] for one in logs if one["event"] == "square_off.overdue"])
    assert alarms == [[], [], [2], [2], [2, 5], [2, 5]]


async def test_rule_14_without_market_time_the_live_cut_off_is_an_alarm(risk) -> None:
    """By the wall clock, at the cut-off and two and five minutes later: nothing is squared off before market time is known."""
    await _hold(risk, 10)
    day, wall = risk.market.now, []
    risk.market.now = None
    risk.decisions.inputs.live = frozenset({"paper"})
    timer = SquareOffTimer(
        risk.decisions, risk.store, ["paper"], lambda _: CAUSE, wall_clock=lambda: wall[-1]
    )
    with capture_logs() as logs:
        for hour, minute in ((14, 59), (15, 0), (15, 1), (15, 2), (15, 6)):
            wall.append(day.replace(hour=hour, minute=minute))
            assert await timer.fire_due() == []
    alarms = [one for one in logs if one["event"] == "square_off.overdue"]
    assert [one["minutes"] for one in alarms] == [0, 2, 5]
    assert all("market time is unknown" in one["message"] for one in alarms)


async def test_the_timer_runs_by_itself(risk) -> None:
    """Started, it fires without being asked; stopped, it is at rest."""
    await _hold(risk, 10)
    risk.market.now = risk.market.now.replace(hour=15)
    timer = SquareOffTimer(risk.decisions, risk.store, ["paper"], lambda _: CAUSE, interval_seconds=0.01)
    await timer.rounds.start()
    async with asyncio.timeout(20):
        while not any(  # noqa: ASYNC110 - the database has no event
            event.HasField("trading_signal") for event in await risk.published()
        ):
            await asyncio.sleep(0.01)
    assert timer.rounds.serving
    await timer.rounds.stop()
