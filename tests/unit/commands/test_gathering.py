"""Asking the services about a chain of events: what one doesn't answer is named, what the others answer is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from alphapanda.commands.story.gathering import BEFORE_ORDER, Gathering
from alphapanda.contract.wire import timestamp
from panda.events.v1.events_pb2 import Event
from panda.events.v1.orders_pb2 import OrderState
from panda.events.v1.signals_pb2 import TradingSignal
from panda.ops.v1.ops_pb2 import LogRecord, SearchRecordsRequest, SearchRecordsResponse
from panda.portfolio.v1.portfolio_pb2 import (
    Fill,
    GetEquityCurveResponse,
    LedgerEntry,
    ListFillsResponse,
    ListLedgerEntriesResponse,
)
from panda.risk.v1.risk_pb2 import GetVerdictResponse, ListVerdictsResponse, Verdict
from panda.trading.v1.trading_pb2 import GetOrderResponse, ListOrdersResponse, Order

CHAIN = "6f1d2c3b-0000-5000-8000-000000000001"
SIGNAL = "6f1d2c3b-0000-5000-8000-000000000002"
ORDER_ID = "6f1d2c3b-0000-5000-8000-000000000003"
STORED = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
ORDER = Order(
    state=OrderState(order_id=ORDER_ID, signal_id=SIGNAL, strategy_id="ema.infy", filled_quantity=10),
    broker="paper",
    correlation_id=CHAIN,
    created_at=timestamp(STORED),
)


def failure(code: grpc.StatusCode, text: str = "") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), text)


class Stub:
    """A service: what each of its RPCs answers, given the request; anything else is NOT_FOUND."""

    def __init__(self, **answers: Callable[[Any], Any]) -> None:
        self.asked: list[Any] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        async def call(request: Any) -> Any:
            self.asked.append(request)
            if name not in self._answers:
                raise failure(grpc.StatusCode.NOT_FOUND)
            return self._answers[name](request)

        return call


class Away(Stub):
    """A service that can't be reached."""

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        async def call(_: Any) -> Any:
            raise failure(grpc.StatusCode.UNAVAILABLE, "connection refused")

        return call


class Services:
    """The stubs of a platform."""

    def __init__(self, trading: Stub, risk: Stub, portfolio: Stub, ops: Stub) -> None:
        self.trading, self.risk, self.portfolio, self.ops = trading, risk, portfolio, ops


def signal_record() -> LogRecord:
    event = Event(event_id=SIGNAL, correlation_id=CHAIN, trading_signal=TradingSignal(strategy_id="ema.infy"))
    event.occurred_at.CopyFrom(timestamp(STORED - timedelta(hours=2)))
    return LogRecord(topic="signals", event=event, appended_at=event.occurred_at)


def found_since(since: datetime) -> Callable[[SearchRecordsRequest], SearchRecordsResponse]:
    """A log whose signal is older than `since`: it is found by a search without a beginning, or an earlier one."""

    def search(request: SearchRecordsRequest) -> SearchRecordsResponse:
        late = request.HasField("since") and request.since.ToDatetime(UTC) >= since
        return SearchRecordsResponse(records=[] if late else [signal_record()], examined=1)

    return search


def searches(ops: Stub) -> list[SearchRecordsRequest]:
    """The searches of the log that were asked for."""
    return [one for one in ops.asked if isinstance(one, SearchRecordsRequest)]


def services(**more: Stub) -> Services:
    verdict = Verdict(signal_id=SIGNAL, correlation_id=CHAIN, approved=True)
    stubs: dict[str, Stub] = {
        "trading": Stub(
            GetOrder=lambda _: GetOrderResponse(order=ORDER),
            ListOrders=lambda _: ListOrdersResponse(orders=[ORDER]),
        ),
        "risk": Stub(
            GetVerdict=lambda _: GetVerdictResponse(verdict=verdict),
            ListVerdicts=lambda _: ListVerdictsResponse(verdicts=[verdict]),
        ),
        "portfolio": Stub(
            ListFills=lambda _: ListFillsResponse(fills=[Fill(fill_id="f", order_id=ORDER_ID)]),
            ListLedgerEntries=lambda _: ListLedgerEntriesResponse(entries=[LedgerEntry(fill_id="f")]),
            GetEquityCurve=lambda _: GetEquityCurveResponse(),
        ),
        "ops": Stub(SearchRecords=found_since(STORED)),
    }
    return Services(**(stubs | more))


async def gathered(known: Services) -> Gathering:
    gathering = Gathering(known)  # type: ignore[arg-type]
    correlation_id = await gathering.named(ORDER_ID)
    if correlation_id:
        await gathering.chain(correlation_id)
    return gathering


async def test_rows_and_records_of_a_chain_are_collected() -> None:
    """Order, verdict, fill, ledger entry and record, and nothing is missing."""
    facts = (await gathered(services())).facts
    assert [*facts.orders] == [ORDER_ID]
    assert [*facts.verdicts] == [SIGNAL]
    assert [*facts.fills] == ["f"]
    assert len(facts.entries) == len(facts.records) == 1
    assert facts.missing == []


@pytest.mark.parametrize(
    ("name", "kept"), [("risk", "orders"), ("portfolio", "verdicts"), ("ops", "entries")]
)
async def test_a_service_that_is_away_is_named_and_the_rest_is_told(name: str, kept: str) -> None:
    """The others' answers are there, and one sentence says which service gave none."""
    facts = (await gathered(services(**{name: Away()}))).facts
    assert len(getattr(facts, kept)) == 1
    assert facts.missing == [f"{name}: the server can't be reached: connection refused"]


async def test_where_nobody_answers_that_is_the_error() -> None:
    """With every service away the call's own error is raised, so that the command says how to start one."""
    away = services(trading=Away(), risk=Away(), portfolio=Away(), ops=Away())
    with pytest.raises(grpc.aio.AioRpcError, match="connection refused"):
        await gathered(away)


async def test_a_signal_that_waited_long_is_found_all_the_same() -> None:
    """The log is searched from shortly before the order; where its signal is older, from the beginning."""
    ops = Stub(SearchRecords=found_since(STORED - BEFORE_ORDER))
    facts = (await gathered(services(ops=ops))).facts
    assert [one.event.event_id for one in facts.records] == [SIGNAL]
    assert [request.HasField("since") for request in searches(ops) if not request.topics] == [True, False]


async def test_what_nobody_knows_has_no_chain() -> None:
    """Rows, log and frames are asked, and the answer is an empty correlation id."""
    nothing = Stub(ListOrders=lambda _: ListOrdersResponse(), ListVerdicts=lambda _: ListVerdictsResponse())
    ops = Stub(SearchRecords=lambda _: SearchRecordsResponse(examined=7))
    gathering = Gathering(services(trading=nothing, risk=nothing, ops=ops))  # type: ignore[arg-type]
    assert await gathering.named(ORDER_ID) == ""
    assert gathering.facts.examined == 14
    assert [bool(request.topics) for request in searches(ops)] == [False, True]
