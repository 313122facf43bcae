"""Manual orders and the servicer's questions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.type.decimal_pb2 import Decimal
from trading_room import NOON, Room, approved

from alphapanda.domain.errors import InvalidInput, UnknownName
from alphapanda.domain.verdict import Refused
from alphapanda.mesh.errors import FailedPrecondition, NotFound
from alphapanda.storage.requests import RequestReused
from alphapanda.trading.manual import verdict_event_id
from panda.common.v1 import common_pb2 as common
from panda.events.v1 import orders_pb2
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

Opened = Callable[..., AbstractAsyncContextManager[Room]]


class Risk:
    """A risk service that answers as told, and keeps what it was asked."""

    def __init__(self, **verdict: Any) -> None:
        self.verdict = verdict
        self.asked: list[risk.AuthorizeOrderRequest] = []
        self.heard = asyncio.Event()
        self.away = 0
        self.bugs: list[Exception] = []

    async def asked_for(self, orders: int) -> None:
        """Returns once that many questions came."""
        while len(self.asked) < orders:
            self.heard.clear()
            await self.heard.wait()

    async def AuthorizeOrder(  # noqa: N802 - the contract's name
        self, request: risk.AuthorizeOrderRequest
    ) -> risk.AuthorizeOrderResponse:
        self.asked.append(request)
        self.heard.set()
        if self.bugs:
            raise self.bugs.pop()
        if self.away:
            self.away -= 1
            no = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, no, no, "away")
        verdict = risk.Verdict(
            signal_id=request.intent_id,
            side=request.side,
            quantity=request.quantity,
            position_effect=common.POSITION_EFFECT_OPENS,
        )
        for name, value in self.verdict.items():
            setattr(verdict, name, value)
        return risk.AuthorizeOrderResponse(verdict=verdict)


def request(**changes: Any) -> trading.PlaceOrderRequest:
    made = trading.PlaceOrderRequest(request_id="r1", symbol="NSE:S1", side=common.SIDE_BUY, quantity=10)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


async def place(room: Room, **changes: Any) -> trading.Order:
    return (await room.api.PlaceOrder(request(**changes), None)).order


async def test_a_manual_order_is_vetted_and_filled(opened: Opened) -> None:
    """Risk is asked under the order's own signal id; the answer is the filled order under the manual strategy."""
    vetting = Risk(approved=True)
    async with opened(risk=vetting) as room:
        await room.open_for_trading()
        order = await place(room)
        assert order.state.status == common.ORDER_STATUS_FILLED
        assert (order.state.strategy_id, order.symbol, order.broker) == ("manual", "NSE:S1", "paper")
        (asked,) = vetting.asked
        assert asked.intent_id == order.state.signal_id
        assert asked.valid_until.ToDatetime(UTC) == NOON + timedelta(seconds=60)
        (event, *_) = await room.rows("SELECT value FROM trading.outbox ORDER BY seq")
        assert verdict_event_id(order.state.signal_id).encode() in bytes(event.value)


async def test_the_terms_of_an_order_reach_risk_and_the_broker(opened: Opened) -> None:
    """Type, validity, prices and protection go to risk and to the order; there the stop waits for its trigger."""
    vetting = Risk(approved=True)
    async with opened(risk=vetting) as room:
        await room.open_for_trading()
        prices = {"limit_price": Decimal(value="105.5"), "trigger_price": Decimal(value="105")}
        made = trading.PlaceOrderRequest(
            request_id="r1",
            symbol="NSE:S1",
            side=common.SIDE_BUY,
            quantity=10,
            order_type=common.ORDER_TYPE_SL,
            validity=common.VALIDITY_DAY,
            protection=common.Protection(stop_loss=Decimal(value="90")),
            **prices,
        )
        order = (await room.api.PlaceOrder(made, None)).order
        (asked,) = vetting.asked
        for terms in (asked, order.state):
            assert (terms.order_type, terms.validity) == (common.ORDER_TYPE_SL, common.VALIDITY_DAY)
            assert {name: getattr(terms, name) for name in prices} == prices
        assert asked.protection == order.protection == made.protection
        assert order.state.status == common.ORDER_STATUS_OPEN


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"order_type": common.ORDER_TYPE_LIMIT}, "limit_price"),
        ({"limit_price": Decimal(value="100")}, "limit_price"),
        ({"order_type": common.ORDER_TYPE_LIMIT, "limit_price": Decimal(value="100.001")}, "limit_price"),
        ({"protection": common.Protection(trail=Decimal(value="1"))}, "protection.trail"),
    ],
)
async def test_an_order_with_wrong_terms_is_refused(opened: Opened, changes, field) -> None:
    """Missing, foreign and odd prices are refused by field, before anything is stored."""
    async with opened(risk=Risk(approved=True)) as room:
        await room.open_for_trading()
        made = trading.PlaceOrderRequest(
            request_id="r1", symbol="NSE:S1", side=common.SIDE_BUY, quantity=10, **changes
        )
        with pytest.raises(InvalidInput) as refused:
            await room.api.PlaceOrder(made, None)
        assert refused.value.field == field
        assert await room.rows("SELECT 1 FROM trading.orders") == []


async def test_valid_until_ends_with_the_session(opened: Opened) -> None:
    """A manual order half a minute before the close is valid until the close."""
    vetting = Risk(approved=True)
    async with opened(risk=vetting) as room:
        await room.open_for_trading()
        instrument = room.api._instruments().require_symbol("NSE:S1", "symbol")
        close = room.api._calendar.session_at(NOON, instrument.session_segment).close.astimezone(UTC)
        await room.market_is(close - timedelta(seconds=30))
        await place(room)
        assert vetting.asked[0].valid_until.ToDatetime(UTC) == close


async def test_the_same_request_is_the_same_order(opened: Opened) -> None:
    """A request that comes again, at once or later, places nothing more; with another body it is refused."""
    async with opened(risk=Risk(approved=True)) as room:
        await room.open_for_trading()
        orders = await asyncio.gather(*(place(room) for _ in range(3)))
        orders.append(await place(room))
        assert len({order.state.order_id for order in orders}) == 1
        assert list((await room.calls()).values()) == [1]
        with pytest.raises(RequestReused):
            await place(room, quantity=11)


async def test_a_refusal_by_risk_is_an_answer(opened: Opened) -> None:
    """The order ends FAILED with RISK_REJECTED and risk's words, in one event and without a call."""
    async with opened(risk=Risk(reason="ORDER_QUANTITY", message="too many")) as room:
        await room.open_for_trading()
        order = await place(room)
        assert order.state.status == common.ORDER_STATUS_FAILED
        assert order.failure_reason == orders_pb2.FAILURE_REASON_RISK_REJECTED
        assert order.message == "ORDER_QUANTITY: too many"
        assert len(await room.rows("SELECT 1 FROM trading.outbox")) == 1
        assert not await room.calls()


async def test_risk_away_is_asked_again(opened: Opened) -> None:
    """While risk can't be reached the order waits as PENDING_RISK; then it goes on."""
    vetting = Risk(approved=True)
    vetting.away = 2
    async with opened(risk=vetting) as room:
        await room.open_for_trading()
        assert (await place(room)).state.status == common.ORDER_STATUS_FILLED
        assert len(vetting.asked) == 3


async def test_a_bug_leaves_no_order_without_a_verdict(opened: Opened) -> None:
    """What a bug, or a connection that was cut, ends is tried again: the order doesn't wait for the next start."""
    vetting = Risk(approved=True)
    vetting.bugs = [asyncpg.InternalClientError("cut in the middle of a call"), KeyError("a surprise")]
    async with opened(risk=vetting) as room:
        await room.open_for_trading()
        assert (await place(room)).state.status == common.ORDER_STATUS_FILLED
        assert len(vetting.asked) == 3


async def test_a_crash_between_verdict_and_row_heals_on_the_next_start(opened: Opened, tables: str) -> None:
    """An order left PENDING_RISK is asked for again, under the same id, when the room opens anew."""
    silent = Risk(approved=True)
    silent.away = 1_000_000
    async with opened(risk=silent) as room:
        await room.open_for_trading()
        waiting = asyncio.create_task(place(room))
        async with asyncio.timeout(30):
            while not silent.asked:  # noqa: ASYNC110 - the stand-in tells nobody
                await asyncio.sleep(0.01)
        waiting.cancel()
    vetting = Risk(approved=True)
    async with opened(risk=vetting) as room:
        await room.open_for_trading()
        await room.manual.start()
        assert (await place(room)).state.status == common.ORDER_STATUS_FILLED
        assert {asked.intent_id for asked in vetting.asked} == {silent.asked[0].intent_id}
        assert list((await room.calls()).values()) == [1]


async def test_the_published_verdict_resumes_a_waiting_order(opened: Opened) -> None:
    """A verdict that only comes by topic, as where the key had an open order, lets the order through or ends it."""
    vetting = Risk(waiting=True)
    async with opened(risk=vetting) as room:
        await room.open_for_trading()
        placing = [asyncio.create_task(place(room, request_id=name)) for name in ("r1", "r2")]
        await vetting.asked_for(2)
        one, two = (asked.intent_id for asked in vetting.asked)
        key = (await room.store.find_by_signal(one)).order.key
        await room.handle(approved(signal_id=one, key=key, correlation_id=one))
        await room.handle(Refused(two, two, key, 1, 0, "LATE", "no more", NOON, ()))
        ended = {order.state.signal_id: order for order in await asyncio.gather(*placing)}
        assert ended[one].state.status == common.ORDER_STATUS_FILLED
        assert ended[two].message == "LATE: no more"


async def test_what_can_not_be_ordered_is_refused_with_the_field(room: Room) -> None:
    """A wrong symbol names the nearest, a wrong quantity the lot and slices, a broker that is off says so."""
    with pytest.raises(UnknownName, match="did you mean 'NSE:S1"):
        await place(room, symbol="NSE:S1X")
    with pytest.raises(InvalidInput, match="quantity"):
        await place(room, quantity=1001)
    with pytest.raises(FailedPrecondition, match="off"):
        await place(room, broker="zerodha")
    with pytest.raises(UnknownName, match="broker"):
        await place(room, broker="zerodhaa")
    assert not await room.rows("SELECT 1 FROM trading.orders")


async def test_orders_are_found_and_listed(room: Room) -> None:
    """GetOrder and ListOrders show orders with their intents, newest first, page by page."""
    await room.handle(*(approved(number, number) for number in range(1, 6)))
    request = trading.ListOrdersRequest(page_size=2, broker="paper")
    seen = []
    while True:
        answer = await room.api.ListOrders(request, None)
        seen += answer.orders
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert [order.symbol for order in seen] == ["NSE:S5", "NSE:S4", "NSE:S3", "NSE:S2", "NSE:S1"]
    got = await room.api.GetOrder(trading.GetOrderRequest(order_id=seen[0].state.order_id), None)
    assert got.order == seen[0]
    assert got.order.intents[0].filled_quantity == 10
    assert got.order.created_at.ToDatetime(UTC) <= datetime.now(tz=UTC)
    with pytest.raises(NotFound):
        await room.api.GetOrder(
            trading.GetOrderRequest(order_id="00000000-0000-5000-8000-000000000000"), None
        )
    request.account = "other"
    with pytest.raises(InvalidInput, match="page_token"):
        await room.api.ListOrders(request, None)


async def test_an_order_for_an_account_that_isnt_known_is_refused(opened: Opened) -> None:
    """A mistyped account would open books of its own; who means it says so, and from then on it is known."""
    async with opened(risk=Risk(approved=True)) as room:
        await room.open_for_trading()
        with pytest.raises(UnknownName, match="'defualt' is not allowed; did you mean 'default'"):
            await place(room, request_id="typo", account="defualt")
        for request_id, more in (("first", {"even_if_unknown": True}), ("second", {})):
            placed = await place(room, request_id=request_id, account="mine", **more)
            assert placed.state.account == "mine"
