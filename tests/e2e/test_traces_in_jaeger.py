"""One trace from tick to ledger in a real Jaeger: asked for by its order, through a kill -9, a redelivery and a person's order."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest
from evidence import Evidence, read_evidence
from jaeger_server import JaegerServer, missing_for_jaeger
from recordings import walk
from running import START_SECONDS, Platform, until
from seen_in_jaeger import SeenTrace
from test_kills import AT_ONCE, KILLED_AT
from trace_demo import Asking, tell
from waterfall import page, tree

from alphapanda.contract.topics import TopicMap
from alphapanda.domain import ids
from alphapanda.embedded.directory import DataDirectory
from alphapanda.eventlog.port import Record, StoredRecord
from alphapanda.eventlog.sqlite.log import SqliteEventLog
from alphapanda.telemetry import spans
from alphapanda.telemetry.tracing import TRACEPARENT
from panda.common.v1.common_pb2 import SIDE_BUY
from panda.trading.v1.trading_pb2 import PlaceOrderRequest

TOPICS = TopicMap(("paper",))
FRAMES = TOPICS.topic("tick_frame")
RAW, VALIDATED, FILLED, SNAPSHOTS = (
    TOPICS.topic(payload, "paper")
    for payload in ("trading_signal", "signal_validated", "order_filled", "portfolio_snapshot")
)
BOOKED = f"{spans.PROCESS} {FILLED}"
NTH = 6
"""The order in whose broker call the first process is killed; by then the first one's spans have been sent."""
CALLERS_TRACE, CALLERS_SPAN = f"{2**100:032x}", f"{2**40:016x}"
NOBODYS = "6f1d2c3b-0000-5000-8000-000000000001"
SENT_SECONDS = 20.0


@dataclass
class Traded:
    """A platform that has ended, what it left, and the Jaeger that has its traces."""

    jaeger: JaegerServer
    killed: Evidence
    end: Evidence
    lines: list[dict[str, Any]]
    redelivered: str
    manual: str

    def orders(self) -> list[dict[str, Any]]:
        """Filled orders of the strategy, oldest first, that the killed process didn't know: it may have died with some spans."""
        before = {row["order_id"] for row in self.killed.rows("orders")}
        rows = [row for row in self.end.rows("orders") if row["filled"] and row["strategy_id"] != "manual"]
        return [row for row in rows if row["order_id"] not in before]

    def in_flight(self) -> dict[str, Any]:
        """The order that was on its way at the kill."""
        (row,) = [row for row in self.killed.rows("orders") if not row["filled"]]
        return next(one for one in self.end.rows("orders") if one["order_id"] == row["order_id"])

    def trace(self, correlation_id: str, last: str = BOOKED, times: int = 1) -> SeenTrace:
        """The trace of a chain, once spans of this name have arrived so many times: by default the booking's."""

        def whole() -> SeenTrace | None:
            seen = SeenTrace(self.jaeger.trace(ids.trace_id(correlation_id)))
            booked = last != BOOKED or seen.named(last, "portfolio")
            return seen if booked and len(seen.named(last)) >= times else None

        found: SeenTrace = until(whole, SENT_SECONDS, f"{times} x {last!r} in the trace of {correlation_id}")
        return found


def publish_again(data_dir: Path, record: StoredRecord) -> None:
    """Puts a record on the log a second time, as a producer does that wasn't told of its success."""

    async def publish() -> None:
        log = SqliteEventLog(directory.layout.event_log / "events.sqlite")
        await log.start()
        await log.publish([Record(record.topic, record.partition, record.key, record.value, record.headers)])
        await log.stop()

    directory = DataDirectory(data_dir)
    directory.acquire(datetime.now(tz=UTC))
    try:
        asyncio.run(publish())
    finally:
        directory.release()


@pytest.fixture(scope="module")
def jaeger(require_or_skip: Callable[[str], NoReturn]) -> Iterator[JaegerServer]:
    """A Jaeger of this module's own."""
    if missing := missing_for_jaeger():
        require_or_skip(missing)
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        server = JaegerServer(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def traded(jaeger: JaegerServer) -> Iterator[Traded]:
    """A recording traded through a kill in a broker's call; a signal delivered twice; at the end a person's order."""
    environment = {**AT_ONCE, **jaeger.environment}
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        data_dir = Path(folder, "data")
        feed = ("--feed", f"replay:{walk(Path(folder), bars=90, last='12:00')}", "--instrument", "NSE:INFY")
        with Platform(data_dir, *feed, program=KILLED_AT, environment=environment) as doomed:
            doomed.start("called", str(NTH))
            doomed.run_strategy("restless")
            assert doomed.process is not None
            assert doomed.process.wait(START_SECONDS) == -signal.SIGKILL, doomed.told()
            killed = read_evidence(data_dir, leave_servers=True)
        done = {str(row["signal_id"]) for row in killed.rows("orders") if row["filled"]}
        again = next(one for one in killed.records if one.topic == RAW and _event_id(one) in done)
        publish_again(data_dir, again)
        with Platform(data_dir, *feed, environment=environment) as last:
            last.start()
            last.wait_for("recording.ended", 60)
            placed = last.trading.PlaceOrder(
                PlaceOrderRequest(request_id="by hand", symbol="NSE:INFY", side=SIDE_BUY, quantity=1),
                metadata=((TRACEPARENT, f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"),),
            )
            last.come_to_rest()
            last.stop()
            end, lines = read_evidence(data_dir), last.log()
        yield Traded(jaeger, killed, end, lines, _event_id(again), placed.order.state.order_id)


def _event_id(record: StoredRecord) -> str:
    return dict(record.headers)["ce_id"].decode()


def _correlated(traced: Traded, column: str, value: str) -> str:
    (row,) = [row for row in traced.end.rows("orders") if str(row[column]) == value]
    return str(row["correlation_id"])


def check_whole(trace: SeenTrace) -> None:
    """One tree: a single root, and no span whose parent is missing."""
    assert trace.orphans() == [], trace.told()
    assert len(trace.roots()) == 1, trace.told()


def test_an_order_is_found_by_its_id_and_nothing_by_another(traded: Traded) -> None:
    """The search by attribute filters: the order's own trace, and none for an id that nobody has."""
    order = traded.orders()[-1]
    traded.trace(order["correlation_id"])
    found = traded.jaeger.search("trading", {spans.ORDER_ID: str(order["order_id"])})
    assert found == [ids.trace_id(order["correlation_id"])]
    assert traded.jaeger.search("trading", {spans.ORDER_ID: NOBODYS}) == []


def test_an_order_is_one_tree_from_tick_to_ledger(traded: Traded) -> None:
    """Each span hangs under what caused it: the fill's booking leads back over order, verdict and signal to the frame."""
    trace = traded.trace(traded.orders()[-1]["correlation_id"])
    check_whole(trace)
    assert {one.service for one in trace.spans} >= set(spans.SERVICES)
    assert trace.above(trace.one(f"{spans.PROCESS} {FILLED}", "portfolio")) == [
        f"portfolio: process {FILLED}",
        f"trading: publish {FILLED}",
        f"trading: process {VALIDATED}",
        f"risk: publish {VALIDATED}",
        f"risk: process {RAW}",
        f"strategy: publish {RAW}",
        f"strategy: process {FRAMES}",
        f"marketdata: publish {FRAMES}",
    ]
    call = trace.one(f"{spans.EXECUTE_ORDER} paper", "trading")
    assert trace.above(call)[1] == f"trading: process {VALIDATED}"
    assert call.kind == "client"


def test_kinds_and_links_are_as_designed(traded: Traded) -> None:
    """Who publishes is a producer, who processes a consumer that links to its parent; the decision links to its frame."""
    trace = traded.trace(traded.orders()[-1]["correlation_id"])
    for span in trace.spans:
        if span.name.startswith(f"{spans.PUBLISH} "):
            assert span.kind == "producer", span
        if span.name.startswith(f"{spans.PROCESS} "):
            assert span.kind == "consumer", span
            assert (span.trace_id, span.parent) in span.links, f"{span}\n{trace.told()}"


def test_tick_signal_order_fill_and_ledger_follow_each_other(traded: Traded) -> None:
    """The spans begin in the order of an order's life, and none ends before it begins."""
    trace = traded.trace(traded.orders()[-1]["correlation_id"])
    line = [
        trace.one(f"{spans.PUBLISH} {FRAMES}", "marketdata"),
        trace.one(f"{spans.PUBLISH} {RAW}", "strategy"),
        trace.one(f"{spans.PROCESS} {RAW}", "risk"),
        trace.one(f"{spans.PROCESS} {VALIDATED}", "trading"),
        trace.one(f"{spans.EXECUTE_ORDER} paper", "trading"),
        trace.one(f"{spans.PUBLISH} {FILLED}", "trading"),
        trace.one(f"{spans.PROCESS} {FILLED}", "portfolio"),
    ]
    assert [one.began for one in line] == sorted(one.began for one in line), trace.told()
    assert all(one.ended >= one.began for one in trace.spans)


def test_spans_say_what_was_decided(traded: Traded) -> None:
    """Verdict, order, signal, strategy, broker and fill are attributes, by the names that `telemetry.spans` gives them."""
    order = traded.orders()[-1]
    trace = traded.trace(order["correlation_id"])
    judged = trace.one(f"{spans.PROCESS} {RAW}", "risk").attributes
    assert judged[spans.VERDICT] == "APPROVED"
    assert judged[spans.SIGNAL_ID] == str(order["signal_id"])
    driven = trace.one(f"{spans.PROCESS} {VALIDATED}", "trading").attributes
    assert driven[spans.ORDER_ID] == str(order["order_id"])
    assert driven[spans.STRATEGY_ID] == "restless"
    assert driven[spans.BROKER] == "paper"
    booked = trace.one(f"{spans.PROCESS} {FILLED}", "portfolio").attributes
    assert booked[spans.FILL_ID] in {str(row["fill_id"]) for row in traded.end.rows("fills")}
    messages = [one for one in trace.spans if one.kind in ("producer", "consumer")]
    assert {one.attributes[spans.MESSAGING_CONVERSATION_ID] for one in messages} == {order["correlation_id"]}


def test_the_trace_is_the_correlation_id_everywhere(traded: Traded) -> None:
    """Trace, rows, log lines and headers of an order have the same 128 bits."""
    order = traded.orders()[-1]
    correlation_id, trace_id = order["correlation_id"], ids.trace_id(order["correlation_id"])
    chain = [
        record
        for record in traded.end.records
        if record.topic != FRAMES and traded.end.events[_event_id(record)].correlation_id == correlation_id
    ]
    assert {one.topic for one in chain} >= {RAW, VALIDATED, FILLED}
    for record in chain:
        traceparent = dict(record.headers)[TRACEPARENT].decode()
        assert traceparent.split("-")[1] == trace_id, record
    for table in ("verdicts", "fills"):
        rows = [row for row in traded.end.rows(table) if row["correlation_id"] == correlation_id]
        assert len(rows) == 1, table
    lines = [line for line in traded.lines if line.get("correlation_id") == correlation_id]
    assert {line["event"] for line in lines} >= {"fill.booked"}
    assert {line["trace_id"] for line in lines} == {trace_id}


def test_a_signal_delivered_twice_adds_to_its_trace(traded: Traded) -> None:
    """The second delivery is one more span of the old trace, under what published it, and says that nothing was decided."""
    delivered = f"{spans.PROCESS} {RAW}"
    trace = traded.trace(_correlated(traded, "signal_id", traded.redelivered), delivered, times=2)
    check_whole(trace)
    deliveries = trace.named(delivered, "risk")
    assert {one.parent for one in deliveries} == {deliveries[0].parent}
    assert spans.REDELIVERED not in deliveries[0].attributes
    assert deliveries[-1].attributes[spans.REDELIVERED] is True
    assert len(trace.named(f"{spans.EXECUTE_ORDER} paper")) == 1


def test_an_order_that_a_kill_met_is_one_whole_trace(traded: Traded) -> None:
    """What the killed process had no time to send is recorded by the one that goes on: no parent is missing."""
    order = traded.in_flight()
    trace = traded.trace(order["correlation_id"])
    check_whole(trace)
    assert {one.service for one in trace.spans} >= set(spans.SERVICES)
    assert (
        trace.above(trace.one(f"{spans.PROCESS} {FILLED}", "portfolio"))[-1]
        == f"marketdata: publish {FRAMES}"
    )


def test_a_persons_order_goes_on_in_the_callers_trace(traded: Traded) -> None:
    """The caller's traceparent gives the trace and the correlation id; the command's span hangs under the caller's."""
    correlation_id = _correlated(traded, "order_id", traded.manual)
    assert ids.trace_id(correlation_id) == CALLERS_TRACE
    trace = traded.trace(correlation_id)
    server = trace.one("panda.trading.v1.TradingService/PlaceOrder", "trading")
    assert (server.kind, server.parent) == ("server", CALLERS_SPAN)
    assert trace.orphans() == [server], trace.told()
    line = trace.above(trace.one(f"{spans.PROCESS} {FILLED}", "portfolio"))
    assert line[-1] == "trading: panda.trading.v1.TradingService/PlaceOrder"
    assert trace.named(spans.DECIDE_SIGNAL, "risk")


def test_callers_and_callees_are_the_meshs_edges(traded: Traded) -> None:
    """Jaeger's dependencies are the arrows of the flow, and no others."""
    for order in traded.orders():
        traded.trace(order["correlation_id"])
    edges: Mapping[tuple[str, str], int] = until(traded.jaeger.dependencies, SENT_SECONDS, "dependencies")
    flow = {("marketdata", "strategy"), ("strategy", "risk"), ("risk", "trading"), ("trading", "risk")}
    between = {(caller, callee) for caller, callee in edges if caller != callee}
    assert between == flow | {("trading", "portfolio")}, edges
    assert edges["trading", "portfolio"] >= len(traded.orders())


def test_no_trace_but_those_of_orders(traded: Traded) -> None:
    """A frame that led to no signal leaves nothing: market data has a span for each traced chain and no more."""
    signals = {event.correlation_id for event in traded.end.of("trading_signal")}
    frames = traded.jaeger.search("marketdata", {spans.MESSAGING_DESTINATION: FRAMES}, limit=1_000)
    without = set(frames) - {ids.trace_id(one) for one in signals}
    ticks = len(traded.end.of("tick_frame"))
    assert len(without) <= max(2, ticks // 100), f"{len(without)} of {ticks} frames"


def test_the_page_shows_the_same_tree(traded: Traded) -> None:
    """The waterfall has a line for each span, in the tree's order, and fetches nothing."""
    seen = traded.trace(traded.orders()[-1]["correlation_id"]).spans
    (root,) = tree(seen)
    assert (root.span.service, root.missing) == ("marketdata", "")
    made = page(seen, "An order.")
    assert made.count("<details") == len(seen)
    assert (
        made.index(f"publish {FRAMES}") < made.index(f"process {VALIDATED}") < made.index(f"process {FILLED}")
    )
    assert "<script" not in made
    assert "http" not in made.replace("http-equiv", "")


def test_what_the_demo_prints_can_be_asked(
    traded: Traded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make trace-demo` prints curl lines that find the trace by its id and by the order's, and writes its page."""
    row = traded.orders()[-1]
    order = {"state": {"orderId": str(row["order_id"]), "strategyId": "restless"}, "symbol": "NSE:INFY"}
    tell(order, traded.trace(row["correlation_id"]).spans, traded.jaeger, Asking({"PATH": ""}), tmp_path)
    told = capsys.readouterr().out
    trace_id = ids.trace_id(row["correlation_id"])
    for words in (shlex.split(line) for line in told.splitlines() if line.startswith("  curl ")):
        pairs = [after.partition("=")[::2] for word, after in pairwise(words) if word == "--data-urlencode"]
        url = next(word for word in words if word.startswith("http"))
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(pairs)}") as answer:
            assert [one["traceID"] for one in json.load(answer)["data"]] == [trace_id]
    assert told.count("  curl ") == 2
    assert trace_id in (tmp_path / f"trace-{trace_id}.html").read_text()
