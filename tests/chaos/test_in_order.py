"""The check of the order by key: what it lets pass, and what it finds."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from evidence import TABLES, Evidence
from in_order import check_order

from alphapanda.contract.topics import TopicMap
from alphapanda.contract.wire import signal_event, verdict_event
from alphapanda.domain.order import Product, Side
from alphapanda.domain.signal import MANUAL, PositionKey, Signal
from alphapanda.domain.terms import AT_MARKET
from alphapanda.domain.verdict import Approved
from alphapanda.eventlog.decode import to_record
from alphapanda.eventlog.port import StoredRecord
from alphapanda.trading.manual import verdict_event_id
from panda.common.v1 import common_pb2 as common
from panda.events.v1.events_pb2 import Event
from panda.risk.v1 import risk_pb2 as risk
from panda.trading.v1 import trading_pb2 as trading

sys.path.append(str(Path(__file__).parents[1] / "integration" / "trading"))

from trading_room import NOON, Room, approved, open_room

TOPICS = TopicMap(("paper",))


class RiskThatComesBack:
    """Can't be asked about the first order until it was asked about the second; keeps the order of its verdicts."""

    def __init__(self) -> None:
        self.decided: list[str] = []
        self.asked = asyncio.Event()
        self._first = ""

    async def AuthorizeOrder(  # noqa: N802 - the contract's name
        self, request: risk.AuthorizeOrderRequest
    ) -> risk.AuthorizeOrderResponse:
        self._first = self._first or request.intent_id
        self.asked.set()
        if request.intent_id == self._first and not self.decided:
            no = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, no, no, "away")
        self.decided.append(request.intent_id)
        verdict = risk.Verdict(
            signal_id=request.intent_id,
            approved=True,
            side=request.side,
            quantity=request.quantity,
            position_effect=common.POSITION_EFFECT_OPENS,
        )
        return risk.AuthorizeOrderResponse(verdict=verdict)


def told(evidence: Evidence, event: Event) -> None:
    """Adds an event to the log."""
    record = to_record(event, TOPICS)
    evidence.events[event.event_id] = event
    evidence.records.append(
        StoredRecord(
            record.topic,
            record.partition,
            len(evidence.records),
            record.key,
            record.value,
            record.headers,
            0,
        )
    )


def verdict_told(evidence: Evidence, verdict: Approved) -> None:
    """Adds a verdict to the log; a strategy's after its signal."""
    if verdict.key.strategy_id != MANUAL:
        told(evidence, signal_event(signal_of(verdict), "strategy", NOON))
    event_id = verdict_event_id(verdict.signal_id)
    told(evidence, verdict_event(verdict, event_id, verdict.signal_id, "risk", NOON))


def signal_of(verdict: Approved) -> Signal:
    return Signal(
        signal_id=verdict.signal_id,
        correlation_id=verdict.correlation_id,
        causation_id=verdict.correlation_id,
        key=verdict.key,
        instrument_token=verdict.instrument_token,
        config_revision=1,
        target=10,
        side=None,
        quantity=None,
        terms=AT_MARKET,
        market_time=NOON,
        valid_until=verdict.valid_until,
    )


async def read(room: Room, evidence: Evidence) -> None:
    """Adds what trading stored: its rows, and its events in the order in which they go to the log."""
    evidence.tables = {
        "orders": [row._asdict() for row in await room.rows(TABLES["orders"])],
        "fills": [],
    }
    for row in await room.rows("SELECT value FROM trading.outbox ORDER BY seq"):
        told(evidence, Event.FromString(row.value))


async def one_after_the_other(room: Room) -> Evidence:
    """Two orders of a strategy under one key."""
    evidence = Evidence(TOPICS)
    for number in (1, 2):
        verdict = approved(number)
        verdict_told(evidence, verdict)
        await room.handle(verdict)
        await room.ended(verdict)
    await read(room, evidence)
    return evidence


async def test_a_persons_later_order_may_be_decided_first(tables: str, redis_url: str):
    """Of two orders placed while risk is away the second is decided first: rows as placed, all else as decided, all well."""
    vetting = RiskThatComesBack()
    async with open_room(tables, redis_url, risk=vetting) as room:
        await room.open_for_trading()

        async def place(name: str) -> trading.Order:
            request = trading.PlaceOrderRequest(
                request_id=name, symbol="NSE:S1", side=common.SIDE_BUY, quantity=10
            )
            return (await room.api.PlaceOrder(request, None)).order

        first = asyncio.create_task(place("r1"))
        await vetting.asked.wait()
        second = await place("r2")
        placed = [(await first).state.signal_id, second.state.signal_id]
        assert vetting.decided == placed[::-1]
        evidence = Evidence(TOPICS)
        verdict_told(evidence, approved(1))  # a check of no signal at all proves nothing
        key = PositionKey("paper", "default", MANUAL, "NSE:S1", Product.MIS)
        for signal_id in vetting.decided:
            verdict_told(
                evidence,
                approved(signal_id=signal_id, key=key, correlation_id=signal_id, side=Side.BUY),
            )
        await read(room, evidence)

    assert [str(row["signal_id"]) for row in evidence.rows("orders")] == placed
    check_order(evidence)

    # What happened to them still has to follow the verdicts.
    turned = replace(evidence, records=turned_around(evidence, "order_filled"))
    with pytest.raises(AssertionError, match=r"order_filled of b'manual:"):
        check_order(turned)


def turned_around(evidence: Evidence, payload: str) -> list[StoredRecord]:
    """The log with the records of a payload the other way round."""
    topics = TOPICS.topics(payload)
    backwards = iter([record for record in evidence.records if record.topic in topics][::-1])
    return [next(backwards) if record.topic in topics else record for record in evidence.records]


async def test_a_strategys_order_that_overtakes_is_found(tables: str, redis_url: str):
    """Rows, verdicts or events of a strategy's key in another order than its signals are found, each."""
    async with open_room(tables, redis_url) as room:
        await room.open_for_trading()
        evidence = await one_after_the_other(room)
    check_order(evidence)

    rows: list[dict[str, Any]] = evidence.rows("orders")
    with pytest.raises(AssertionError, match=r"rows of b'crossing:1'"):
        check_order(replace(evidence, tables=evidence.tables | {"orders": rows[::-1]}))
    for payload, what in (("signal_validated", "verdicts"), ("order_submitted", "order_submitted")):
        with pytest.raises(AssertionError, match=rf"{what} of b'crossing:1'"):
            check_order(replace(evidence, records=turned_around(evidence, payload)))
