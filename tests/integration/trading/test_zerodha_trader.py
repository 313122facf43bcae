"""Zerodha's trader alone against the stub exchange: terms, changes, exits that never sell more than is held."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.kite_exchange.control_routes import holdings
from zerodha_room import Desk, desk_at_the_stub

from alphapanda.domain.broker_order import BrokerOrder, BrokerOrderStatus
from alphapanda.domain.order import OrderType, Product, Validity
from alphapanda.domain.terms import AT_MARKET, Terms
from alphapanda.trading.traders.trader import (
    BrokerRefused,
    Cancellation,
    Modification,
    NoClearAnswer,
    NothingSent,
    Placement,
)


def limit(rupees: int, validity: Validity = Validity.DAY) -> Terms:
    return Terms(OrderType.LIMIT, validity, Decimal(rupees))


async def placed(desk: Desk, placement: Placement) -> BrokerOrder:
    """The order's state after it was placed."""
    await desk.trader.execute_order(placement)
    found = await desk.trader.look_up("default", placement.tag)
    assert found is not None
    return found


def modification(desk: Desk, placement: Placement, order: BrokerOrder, **changes: Any) -> Modification:
    wanted: dict[str, Any] = {"quantity": placement.quantity, "terms": placement.terms, **changes}
    return Modification(
        "default",
        placement.tag,
        order.broker_order_id,
        desk.instrument,
        placement.side,
        wanted["quantity"],
        placement.product,
        wanted["terms"],
    )


async def test_each_order_type_is_sent_with_what_it_needs_and_shown_as_it_was_asked_for() -> None:
    """A market order, which Zerodha shows as a LIMIT, has no terms of its own; a stop waits for its trigger."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        market = await placed(desk, desk.placement(0))
        assert (market.status, market.terms) == (BrokerOrderStatus.COMPLETE, None)
        resting = await placed(desk, desk.placement(1, terms=limit(720)))
        assert (resting.status, resting.terms) == (BrokerOrderStatus.OPEN, limit(720))
        stop = Terms(OrderType.SL, Validity.DAY, Decimal(715), Decimal(720))
        waiting = await placed(desk, desk.exit(2, terms=stop))
        assert (waiting.trigger_pending, waiting.terms, waiting.status) == (
            True, stop, BrokerOrderStatus.OPEN,
        )  # fmt: skip
        at_market = Terms(OrderType.SL_M, Validity.DAY, None, Decimal(780))
        assert (await placed(desk, desk.placement(3, terms=at_market))).terms == at_market
        missed = await placed(desk, desk.placement(4, terms=limit(700, Validity.IOC)))
        assert missed.status is BrokerOrderStatus.CANCELLED
        assert [str(order.protection) for order in desk.book()] == ["2", "0", "0", "2", "0"]


async def test_a_resting_order_is_modified_and_cancelled() -> None:
    """The answer has the new terms at once; a cancelled order has what it had filled."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        entry = desk.placement(0, terms=limit(720))
        order = await placed(desk, entry)
        changed = await desk.trader.modify_order(
            modification(desk, entry, order, quantity=15, terms=limit(730))
        )
        assert (changed.quantity, changed.terms) == (15, limit(730))
        gone = await desk.trader.cancel_order(Cancellation("default", entry.tag, order.broker_order_id))
        assert (gone.status, gone.message) == (BrokerOrderStatus.CANCELLED, "Cancelled by user")
        with pytest.raises(NoClearAnswer):  # no list knows these words: the order is looked up
            await desk.trader.cancel_order(Cancellation("default", entry.tag, ""))


async def test_a_changed_order_is_not_shown_as_it_was_before() -> None:
    """A book that is behind the answer to a modification doesn't take it back."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        entry = desk.placement(0, terms=limit(720))
        order = await placed(desk, entry)
        desk.fault("lost", method="GET", path="/orders", seconds=0)
        changed = await desk.trader.modify_order(modification(desk, entry, order, terms=limit(730)))
        assert (changed.quantity, changed.terms) == (10, limit(730))
        (stub_order,) = desk.book()
        stub_order.price = Decimal(720)  # the book is behind
        behind = await desk.trader.look_up("default", entry.tag)
        assert behind is not None
        assert (behind.quantity, behind.terms) == (0, None)
        stub_order.price = Decimal(730)
        now = await desk.trader.look_up("default", entry.tag)
        assert now is not None
        assert now.terms == limit(730)


async def test_what_lies_in_the_way_of_a_change_changes_nothing() -> None:
    """A refusal in known words is one; an answer that says nothing is unknown."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        entry = desk.placement(0, terms=limit(720))
        order = await placed(desk, entry)
        spent = "Maximum allowed order modifications exceeded."
        desk.fault("error", method="PUT", status=400, error_type="InputException", message=spent)
        with pytest.raises(BrokerRefused, match="modifications exceeded"):
            await desk.trader.modify_order(modification(desk, entry, order, quantity=20))
        desk.fault("html_done", method="DELETE")
        with pytest.raises(NoClearAnswer):
            await desk.trader.cancel_order(Cancellation("default", entry.tag, order.broker_order_id))
        found = await desk.trader.look_up("default", entry.tag)
        assert found is not None
        assert found.status is BrokerOrderStatus.CANCELLED


async def test_rule_7_no_end_is_told_before_all_trades_are_listed() -> None:
    """The book says COMPLETE, its trades come late: until then the order is open, and nothing is booked twice."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        desk.fault("partial", quantity=4)
        entry = desk.placement(0)
        first = await placed(desk, entry)
        assert [fill.quantity for fill in first.fills] == [4]
        desk.price(751)
        desk.price(752)
        trades = desk.stub.do(lambda exchange: exchange.desk.trades)
        kept = trades.pop()
        behind = await desk.trader.look_up("default", entry.tag)
        assert behind is not None
        assert (behind.status, [fill.quantity for fill in behind.fills]) == (BrokerOrderStatus.OPEN, [4, 4])
        trades.append(kept)
        whole = await desk.trader.look_up("default", entry.tag)
        assert whole is not None
        assert (whole.status, [fill.quantity for fill in whole.fills]) == (
            BrokerOrderStatus.COMPLETE, [4, 4, 2],
        )  # fmt: skip
        assert len({fill.fill_id for fill in whole.fills}) == 3
        assert all(fill.commission > 0 for fill in whole.fills)


async def test_rule_9_an_exit_is_no_more_than_the_broker_holds_less_working_exits() -> None:
    """What was sold by phone isn't sold again, and neither is what a resting stop may sell; nothing crosses zero."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        await placed(desk, desk.placement(0))
        desk.elsewhere("SELL", 4)
        stop = Terms(OrderType.SL, Validity.DAY, Decimal(715), Decimal(720))
        await placed(desk, desk.exit(1, quantity=2, terms=stop))
        cut = await placed(desk, desk.exit(2))
        assert (cut.quantity, cut.status) == (4, BrokerOrderStatus.COMPLETE)
        with pytest.raises(NothingSent, match="the 2 units that are held are on their way out"):
            await desk.trader.execute_order(desk.exit(3))
        assert desk.trader.not_ready_for("default") == ""
        desk.elsewhere("SELL", 2)
        nothing = await desk.trader.execute_order(desk.exit(4))
        assert (nothing.status, "holds nothing" in nothing.message) == (BrokerOrderStatus.REJECTED, True)
        assert len(desk.book()) == 5


async def test_rule_9_an_exit_waits_until_the_stop_that_covers_it_is_cancelled() -> None:
    """A resting stop and a second exit would sell the position twice; once the stop is gone the exit goes out."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        await placed(desk, desk.placement(0))
        stop = Terms(OrderType.SL, Validity.DAY, Decimal(715), Decimal(720))
        resting = await placed(desk, desk.exit(1, terms=stop))
        with pytest.raises(NothingSent, match="on their way out by other orders"):
            await desk.trader.execute_order(desk.exit(2))
        await desk.trader.cancel_order(Cancellation("default", desk.exit(1).tag, resting.broker_order_id))
        assert (await placed(desk, desk.exit(3))).status is BrokerOrderStatus.COMPLETE


async def test_rule_9_shares_of_the_demat_account_are_held_too() -> None:
    """A delivery sale counts holdings with today's sales of them."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        told = {"account": "AB1234", "instrument": "NSE:INFY", "quantity": "7"}
        desk.stub.do(lambda exchange: holdings(exchange, told))
        first = await placed(desk, desk.exit(0, quantity=5, product=Product.CNC))
        second = await placed(desk, desk.exit(1, quantity=5, product=Product.CNC))
        assert [order.quantity for order in (first, second)] == [5, 2]


async def test_rule_17_a_sale_without_authorisation_ends_with_an_alarm_and_is_never_sent_again() -> None:
    """HTTP 428: the exit is rejected in Zerodha's words, an alarm says who has to do what, and one request was sent."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        told = {"account": "AB1234", "instrument": "NSE:INFY", "quantity": "10", "unauthorised": True}
        desk.stub.do(lambda exchange: holdings(exchange, told))
        with capture_logs() as logs:
            found = await desk.trader.execute_order(desk.exit(product=Product.CNC))
        assert found.status is BrokerOrderStatus.REJECTED
        assert "authorisation at depository" in found.message
        [alarm] = [one for one in logs if one["event"] == "order.needs_authorisation"]
        assert alarm["alarm"] is True
        assert desk.book() == []
        assert await desk.trader.look_up("default", desk.exit().tag) is None


async def test_rule_9_what_is_held_and_what_works_is_told_by_the_brokers_own_books() -> None:
    """By product, for delivery with the demat account's shares; of working orders what has filled and what is left."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        told = {"account": "AB1234", "instrument": "NSE:INFY", "quantity": "7"}
        desk.stub.do(lambda exchange: holdings(exchange, told))
        await placed(desk, desk.placement(0))
        desk.elsewhere("SELL", 4)
        resting = desk.exit(1, quantity=6, terms=Terms(OrderType.LIMIT, limit_price=Decimal(760)))
        await desk.trader.execute_order(resting)
        wanted = [(desk.instrument, Product.MIS), (desk.instrument, Product.CNC)]
        standing = await desk.trader.standing("default", wanted)
        assert standing is not None
        assert standing.held == {("NSE:INFY", Product.MIS): 6, ("NSE:INFY", Product.CNC): 7}
        assert standing.working == {resting.tag: (0, 6)}
        assert await desk.trader.standing("nobody's", wanted) is None
        desk.fault("error", method="GET", path="/portfolio/positions", status=503)
        with pytest.raises(NoClearAnswer):
            await desk.trader.standing("default", wanted)


async def test_rule_9_no_exit_goes_out_before_positions_were_read() -> None:
    """It might open what is closed already: it waits, with an alarm after the third time, and goes out once they can be read."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        await placed(desk, desk.placement(0))
        desk.fault("error", method="GET", path="/portfolio/positions", status=503, times=3)
        with capture_logs() as logs:
            for number in range(3):
                with pytest.raises(NothingSent, match="positions have to be read"):
                    await desk.trader.execute_order(desk.exit(1 + number))
        assert [one["event"] for one in logs if one.get("alarm")] == ["order.exit_waits"]
        assert "positions" in desk.trader.not_ready_for("default")
        out = await placed(desk, desk.exit(4))
        assert out.status is BrokerOrderStatus.COMPLETE
        assert desk.trader.not_ready_for("default") == ""


async def test_two_orders_under_one_tag_are_an_alarm() -> None:
    """It can't come from here; the first one counts."""
    async with desk_at_the_stub() as desk:
        desk.price(750)
        order = await placed(desk, desk.placement(0))
        desk.elsewhere("BUY", 1, tag=desk.placement(0).tag)
        with capture_logs() as logs:
            found = await desk.trader.look_up("default", desk.placement(0).tag)
        assert found is not None
        assert (found.broker_order_id, [one["event"] for one in logs]) == (
            order.broker_order_id,
            ["order.tag_twice"],
        )


async def test_an_account_that_is_none_of_ours_gets_nothing() -> None:
    """Its orders end in words, nothing is asked."""
    async with desk_at_the_stub() as desk:
        refused = await desk.trader.execute_order(desk.placement(account="other", terms=AT_MARKET))
        assert "isn't one of those at Zerodha (default)" in refused.message
        with pytest.raises(NoClearAnswer):
            await desk.trader.look_up("other", "T")


async def test_rule_6_an_update_is_a_hint_that_names_an_order() -> None:
    """Nothing of it is believed but the tag: a fill, a cancellation and an order made elsewhere each make the order be read."""
    async with desk_at_the_stub() as desk:
        hints: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        desk.trader.follow(lambda account, tag: hints.put_nowait((account, tag)))
        await desk.trader.initialize()
        try:
            async with asyncio.timeout(30):
                while not desk.stub.do(lambda exchange: bool(exchange.ticker.connections)):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                desk.price(750)
                entry = desk.placement(0, terms=limit(720))
                order = await placed(desk, entry)
                desk.elsewhere("BUY", 1)
                desk.price(720)
                assert await hints.get() == ("default", entry.tag)
                other = desk.placement(1, terms=limit(700))
                order = await placed(desk, other)
                await desk.trader.cancel_order(Cancellation("default", other.tag, order.broker_order_id))
                assert await hints.get() == ("default", other.tag)
        finally:
            await desk.trader.shutdown()
        assert hints.empty()
