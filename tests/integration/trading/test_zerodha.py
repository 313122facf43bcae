"""Orders at Zerodha, end to end: the room on a real PostgreSQL and Redis, the stub exchange over real HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs
from tests.kite_exchange.exchange import APP
from tests.values import replace
from trading_room import NOON, terminal
from zerodha_room import UNHURRIED, Live, Opened, at_the_stub, market_is

from alphapanda.domain import ids
from alphapanda.domain.order import FailureReason, OrderStatus, OrderType
from alphapanda.domain.terms import Terms
from alphapanda.trading.core.order_change import ChangeKind, ChangeRequest
from alphapanda.trading.escalations import Escalations
from alphapanda.trading.foreign import ForeignTrades
from alphapanda.trading.inquiry import Inquiry, LookUps

UNLISTED = "The moon is in the wrong house for orders."
WRONG_ADDRESS = "IP (192.0.2.7) is not allowed to place orders for this app. Update allowed IPs on the Kite developer console."


def tags(live: Live) -> list[str | None]:
    return [order.tag for order in live.book()]


async def test_a_market_order_is_placed_once_found_by_its_tag_and_filled_by_trade_ids(opened: Opened) -> None:
    """It carries its intent's tag and a market protection; its fills have the exchange's trade ids, prices and charges."""
    async with at_the_stub(opened) as live:
        verdict = live.signal()
        await live.room.handle(verdict)
        order = await live.room.ended(verdict)
        (placed,) = live.book()
        assert order.status is OrderStatus.FILLED
        assert (placed.tag, str(placed.protection), placed.filled) == (order.intents[0].tag, "2", 10)
        assert order.intents[0].broker_order_id == placed.order_id
        assert order.average_price == placed.average
        assert order.charges > 0
        assert len(terminal(await live.room.events(verdict))) == 1
        assert live.held() == 10


async def test_a_freeze_quantity_is_learned_from_the_refusal_that_names_it(opened: Opened) -> None:
    """The refused order never was; it goes out in slices of what the refusal names, each under its own tag, and so does the next."""
    async with at_the_stub(opened) as live:
        most = "higher than the maximum quantity of 4 (4 lots) allowed by the exchanges."
        words = f"The order quantity 10 (10 lots) is {most}"
        live.fault("error", status=400, error_type="InputException", message=words)
        verdict, later = live.signal(0), live.signal(1)
        for one in (verdict, later):
            await live.room.handle(one)
            order = await live.room.ended(one)
            assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
        assert [order.quantity for order in live.book()] == [4, 4, 2, 4, 4, 2]
        assert len(set(tags(live))) == 6


@pytest.mark.parametrize("kind", ["timed_out", "lost", "html_done", "cut", "not_json"])
async def test_rule_1_an_answer_that_says_nothing_final_is_looked_up_and_never_sent_again(
    opened: Opened, kind: str
) -> None:
    """The order was taken, whatever the answer says (an HTTP 400 in words of a time-out among them): it is found, once."""
    async with at_the_stub(opened) as live:
        live.fault(kind, seconds=0.1)
        verdict = live.signal()
        await live.room.handle(verdict)
        order = await live.room.ended(verdict)
        assert (order.status, order.filled) == (OrderStatus.FILLED, 10)
        assert tags(live) == [order.intents[0].tag]


async def test_rule_1_a_429_and_a_listed_refusal_are_final(opened: Opened) -> None:
    """An entry that certainly wasn't placed ends, and nobody looks for it."""
    async with at_the_stub(opened) as live:
        live.fault("error", status=429, error_type="NetworkException", message="Too many requests")
        busy = live.signal(0)
        await live.room.handle(busy)
        order = await live.room.ended(busy)
        assert (order.status, order.failure) == (OrderStatus.REJECTED, FailureReason.BROKER_NOT_READY)
        poor = "Insufficient funds. Required margin is 7 but available margin is 5."
        await asyncio.sleep(1.1)  # the pause after an order that didn't get through
        live.fault("error", status=400, error_type="MarginException", message=poor)
        refused = live.signal(1)
        await live.room.handle(refused)
        order = await live.room.ended(refused)
        assert (order.status, order.failure) == (OrderStatus.REJECTED, FailureReason.INSUFFICIENT_FUNDS)
        assert live.book() == []


async def test_rule_2_an_order_that_shows_late_is_adopted(opened: Opened) -> None:
    """Nothing is concluded from its absence before the horizon; once the book shows it, it is what it is there."""
    async with at_the_stub(opened) as live:
        live.fault("html_done", hidden=120.0)
        verdict = live.signal()
        await live.room.handle(verdict)
        await live.order_when(verdict, lambda order: order.status is OrderStatus.UNKNOWN)
        await asyncio.sleep(0.6)
        assert (await live.room.order(verdict)).status is OrderStatus.UNKNOWN
        live.stub.do(lambda exchange: exchange.clock.advance(121))
        order = await live.room.ended(verdict)
        assert (order.status, tags(live)) == (OrderStatus.FILLED, [order.intents[0].tag])


async def test_rule_2_an_entry_counts_as_absent_after_the_horizon_and_enough_answered_look_ups(
    opened: Opened,
) -> None:
    """Look-ups that fail don't count; the entry is never sent again."""
    async with at_the_stub(opened, least_look_ups=3) as live:
        live.fault("reset")
        live.fault("error", method="GET", path="/orders", status=503, times=4)
        verdict = live.signal()
        await live.room.handle(verdict)
        await live.order_when(verdict, lambda order: order.status is OrderStatus.UNKNOWN)
        live.horizon_passes()
        order = await live.room.ended(verdict)
        assert (order.status, order.failure) == (OrderStatus.FAILED, FailureReason.ABSENT)
        assert live.book() == []
        asked = live.stub.do(
            lambda exchange: [kind for method, _, kind in exchange.script.met if method == "GET"]
        )
        assert len(asked) == 4


async def test_rule_2_what_is_unknown_at_the_days_end_stays_so_until_a_person_ends_it(opened: Opened) -> None:
    """The next day's book says nothing of it: its key stays busy, with an alarm; cancelling it ends it, and sends nothing again."""
    async with at_the_stub(opened, least_look_ups=1) as live:
        live.fault("reset")
        verdict = live.signal()
        await live.room.handle(verdict)
        unknown = await live.order_when(verdict, lambda order: order.status is OrderStatus.UNKNOWN)
        await live.room.executor.stop()
        live.horizon_passes()
        tomorrow = dataclasses.replace(
            live.room.context, wall_clock=lambda: datetime.now(UTC) + timedelta(days=1)
        )
        look_ups = LookUps(live.room.executor.driver.drive, lambda: 1e9, 1.0)
        inquiry = Inquiry(tomorrow, UNHURRIED, look_ups)
        look_ups.deadline(unknown.intents[0].intent_id, -1.0)
        with capture_logs() as logs:
            for _ in range(3):
                order, ended = await inquiry.look_up(unknown, unknown.intents[0])
                assert (order.status, ended) == (OrderStatus.UNKNOWN, False)
        assert [one["event"] for one in logs if one.get("alarm")] == ["order.unresolved"]
        async with live.room.store.transaction() as transaction:
            await transaction.changes.add(
                [ChangeRequest(ids.derived_id("change"), order.order_id, ChangeKind.CANCEL, "a person")]
            )
        order, ended = await inquiry.look_up(unknown, unknown.intents[0])
        assert (order.status, order.failure, ended) == (OrderStatus.FAILED, FailureReason.ABSENT, True)
        assert live.book() == []


async def test_rule_4_a_wrong_source_address_halts_entries_at_once(opened: Opened) -> None:
    """It is known by its words, whatever its class; the next entry isn't even tried; a sent order ends the halt."""
    async with at_the_stub(opened) as live:
        await opened_position(live)
        live.fault("error", status=403, error_type="GeneralException", message=WRONG_ADDRESS)
        for number in (1, 2):
            verdict = live.signal(number)
            await live.room.handle(verdict)
            order = await live.room.ended(verdict)
            assert order.failure is FailureReason.BROKER_NOT_READY
            assert "192.0.2.7" in order.message
        assert "entries are halted" in live.trader.problem
        assert len(live.book()) == 1
        closing = live.exit(3)
        await live.room.handle(closing)
        assert (await live.room.ended(closing)).status is OrderStatus.FILLED
        assert (live.trader.problem, live.held()) == ("", 0)


async def test_rule_4_equal_unlisted_refusals_in_a_row_halt_entries(opened: Opened) -> None:
    """Each of them is looked up, because it may have been placed all the same; the next entry isn't tried."""
    async with at_the_stub(opened, halt_after=2, least_look_ups=1) as live:
        live.fault("error", status=400, error_type="InputException", message=UNLISTED, times=9)
        unknown = [live.signal(number) for number in range(2)]
        for verdict in unknown:
            await live.room.handle(verdict)
            await live.order_when(verdict, lambda order: order.status is OrderStatus.UNKNOWN)
            live.horizon_passes()
            assert (await live.room.ended(verdict)).failure is FailureReason.ABSENT
        third = live.signal(3)
        await live.room.handle(third)
        order = await live.room.ended(third)
        assert (order.failure, UNLISTED in order.message) == (FailureReason.BROKER_NOT_READY, True)
        assert len(live.stub.do(lambda exchange: exchange.script.met)) == 2
        live.stub.do(lambda exchange: exchange.script.clear())
        await live.signed_in(2)  # a person has seen why
        fourth = live.signal(4)
        await live.room.handle(fourth)
        assert (await live.room.ended(fourth)).status is OrderStatus.FILLED


async def test_rule_12_an_exit_needs_no_price_of_ours(opened: Opened) -> None:
    """Without any price here a protected market order is sent, whose price the exchange makes."""
    async with at_the_stub(opened) as live:
        await opened_position(live)
        await live.room.redis.flushall()
        verdict = live.exit()
        await live.room.handle(verdict)
        assert (await live.room.ended(verdict)).status is OrderStatus.FILLED
        assert live.held() == 0


async def test_rule_13_while_the_session_is_dead_entries_end_and_exits_wait(opened: Opened) -> None:
    """Nobody has to send the exit again: it goes out after the next sign-in, once."""
    async with at_the_stub(opened) as live:
        await opened_position(live)
        live.stub.do(lambda exchange: exchange.sessions.end(APP.api_key))
        closing, entry = live.exit(1), live.signal(2)
        with capture_logs() as logs:
            await live.room.handle(closing)
            await live.order_when(closing, lambda order: order.status is OrderStatus.PENDING_SUBMIT)
            await live.room.handle(entry)
            order = await live.room.ended(entry)
        assert "order.waits_for_broker" in [one["event"] for one in logs if one.get("alarm")]
        assert (order.failure, "kite login" in order.message) == (FailureReason.BROKER_NOT_READY, True)
        assert (await live.room.order(closing)).status is OrderStatus.PENDING_SUBMIT
        await live.signed_in(2)
        order = await live.room.ended(closing)
        assert (order.status, live.held(), len(live.book())) == (OrderStatus.FILLED, 0, 2)


async def test_a_restart_follows_fourteen_working_orders_without_sending_any_again(opened: Opened) -> None:
    """Another process finds each by its tag, and what they trade meanwhile is booked once."""
    async with at_the_stub(opened) as live:
        resting = [
            live.signal(
                number,
                quantity=number,
                terms=Terms(OrderType.LIMIT, limit_price=Decimal(730)),
                key=replace(live.signal().key, strategy_id=f"s{number}"),
            )
            for number in range(1, 15)
        ]
        for verdict in resting:
            await live.room.handle(verdict)
            await live.order_when(verdict, lambda order: order.status is OrderStatus.OPEN)
        await live.room.executor.stop()
        live.price(Decimal(730))
        await live.room.executor.start()
        for verdict in resting:
            order = await live.room.ended(verdict)
            assert (order.status, order.filled) == (OrderStatus.FILLED, order.quantity)
        assert (len(live.book()), len(set(tags(live)))) == (14, 14)
        assert sum((await positions(live)).values()) == live.held() == sum(range(1, 15))


async def opened_position(live: Live) -> None:
    """Buys what an exit can sell."""
    verdict = live.signal()
    await live.room.handle(verdict)
    assert (await live.room.ended(verdict)).status is OrderStatus.FILLED


async def test_rule_9_what_is_traded_elsewhere_is_booked_once_and_changes_our_position(
    opened: Opened,
) -> None:
    """A sale by phone closes a strategy's position, and what a person bought for himself is nobody's; ours isn't booked twice."""
    async with at_the_stub(opened) as live:
        await opened_position(live)
        foreign = ForeignTrades(live.room.context)
        await foreign.look()
        assert await positions(live) == {"crossing": 10}
        live.desk.elsewhere("SELL", 4)
        live.desk.elsewhere("BUY", 7, product="CNC")
        for _ in range(2):
            await foreign.look()
        await ForeignTrades(live.room.context).look()  # another process
        assert await positions(live) == {"crossing": 6, "foreign": 7}
        closing = live.exit()
        await live.room.handle(closing)
        order = await live.room.ended(closing)
        assert (order.filled, live.held()) == (6, 0)


async def test_rule_9_the_brokers_own_square_off_is_booked_over_the_strategies(opened: Opened) -> None:
    """One trade closes the positions of two strategies: the larger one first, none below zero."""
    async with at_the_stub(opened) as live:
        await opened_position(live)
        other = live.signal(1, quantity=15)
        other = replace(other, key=replace(other.key, strategy_id="second"))
        await live.room.handle(other)
        assert (await live.room.ended(other)).status is OrderStatus.FILLED
        live.stub.do(lambda exchange: exchange.desk.square_off(APP.user_id))
        await ForeignTrades(live.room.context).look()
        assert (await positions(live), live.held()) == ({}, 0)
        rows = await live.room.rows("SELECT strategy_id, quantity FROM trading.orders WHERE side = 2")
        assert sorted((row.strategy_id, row.quantity) for row in rows) == [("crossing", 10), ("second", 15)]


async def test_a_foreign_trade_waits_for_ours_to_be_booked(opened: Opened) -> None:
    """Whose position it changes is known only once our own trades are in the books."""
    async with at_the_stub(opened) as live:
        live.fault("html_done")
        live.fault("error", method="GET", path="/orders", status=503)
        verdict = live.signal()
        await live.room.handle(verdict)
        await live.order_when(verdict, lambda order: order.status is OrderStatus.UNKNOWN)
        await live.room.executor.stop()
        live.desk.elsewhere("SELL", 10)
        foreign = ForeignTrades(live.room.context)
        await foreign.look()
        assert await positions(live) == {}
        await live.room.executor.start()
        assert (await live.room.ended(verdict)).status is OrderStatus.FILLED
        await foreign.look()
        assert (await positions(live), live.held()) == ({}, 0)


async def positions(live: Live) -> dict[str, int]:
    """What trading holds, by strategy."""
    rows = await live.room.rows("SELECT strategy_id, quantity FROM trading.positions WHERE quantity <> 0")
    return {row.strategy_id: row.quantity for row in rows}


async def test_rule_12_an_exit_that_rests_is_escalated_to_the_circuit_and_then_it_is_locked(
    opened: Opened,
) -> None:
    """Its limit follows the price down until somebody buys; at the circuit nothing is left to try, which is an alarm."""
    async with at_the_stub(opened) as live:
        await opened_position(live)
        escalations = Escalations(live.room.context, 5.0)
        live.fault("partial", quantity=0)  # nobody buys
        closing = live.exit()
        await live.room.handle(closing)
        await live.order_when(closing, lambda order: order.status is OrderStatus.OPEN)
        limits = [live.book()[1].price]
        with capture_logs() as logs:
            for _ in range(6):
                await escalations.look()
                live.boot["seconds"] += 6
                limits.append(live.book()[1].price)
        assert limits == sorted(limits, reverse=True)
        low = live.stub.do(lambda exchange: exchange.market.by_key("NSE:INFY").circuit[0])
        assert limits[-1] == low
        assert [one["event"] for one in logs if one.get("alarm")] == ["order.locked"]
        live.book()[1].at_each_price = None
        live.price(low)
        order = await live.room.ended(closing)
        assert (order.status, live.held(), live.book()[1].modifications <= 3) == (OrderStatus.FILLED, 0, True)
        await escalations.look()


async def test_rule_13_an_exit_that_waited_for_too_long_is_for_a_person(opened: Opened) -> None:
    """The session was dead for an hour: what was asked for then isn't sent by itself now; a shorter wait is reduced to the position."""
    async with at_the_stub(opened) as live:
        await opened_position(live)
        live.stub.do(lambda exchange: exchange.sessions.end(APP.api_key))
        closing, larger = live.exit(1), live.exit(2, quantity=25, valid_until=NOON + timedelta(minutes=50))
        larger = replace(larger, key=replace(larger.key, strategy_id="second"))
        for one in (closing, larger):
            await live.room.handle(one)
            await live.order_when(one, lambda order: order.status is OrderStatus.PENDING_SUBMIT)
        await market_is(live.room, live.instrument, NOON + timedelta(hours=1))
        await live.signed_in(2)
        order = await live.room.ended(closing)
        assert (order.failure, "for a person" in order.message) == (FailureReason.EXPIRED, True)
        order = await live.room.ended(larger)
        assert (order.failure, live.held()) == (FailureReason.NOTHING_TO_EXIT, 10)
