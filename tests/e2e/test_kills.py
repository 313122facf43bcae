"""Kill -9 at each step an order takes, and at any moment of the demo: afterwards the books are those of the exchange."""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from evidence import Evidence, check_books, check_chains, check_envelopes, read_evidence
from recordings import walk
from running import IMPATIENT, START_SECONDS, Platform, until
from tests.span_tree import Spans, check_whole, span_collector
from tests.values import replace

from alphapanda.domain.order import FailureReason, OrderStatus
from panda.trading.v1.trading_pb2 import ListOrdersRequest

# What is found after a kill at each step, of the order that was on its way: its status, and its calls to the exchange.
FOUND = {
    "received": (None, 0),
    "decided": (None, 0),
    "stored": (None, 0),
    "submitting_committed": (OrderStatus.SUBMITTING, 0),
    "called": (OrderStatus.SUBMITTING, 1),
    "answered": (OrderStatus.SUBMITTING, 1),
    "committed": (OrderStatus.FILLED, 1),
}
NTH = 3
# Orders fill at once, so that each step is met in each order; held ones are tested in trading's room.
AT_ONCE = {**IMPATIENT, "ALPHAPANDA_PAPER_TRADING__FILL": "close"}
KILLED_AT = (sys.executable, str(Path(__file__).with_name("killed_at.py")))


@dataclass
class Aftermath:
    """Evidence right after each kill, that of the whole at its end, and all spans that came meanwhile."""

    killed: Mapping[str, Evidence]
    end: Evidence
    spans: Spans


@pytest.fixture(scope="module")
def aftermath() -> Iterator[Aftermath]:
    """One recording, traded through kills at every step, one after the other on one data directory."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder, span_collector() as (spans, endpoint):
        file = walk(Path(folder))
        traced = {**AT_ONCE, "ALPHAPANDA_TELEMETRY__OTLP_ENDPOINT": endpoint}
        feed = ("--feed", f"replay:{file}", "--instrument", "NSE:INFY")
        killed: dict[str, Evidence] = {}
        data_dir = Path(folder, "data")
        with Platform(data_dir, *feed, program=KILLED_AT, environment=traced) as doomed:
            for step in FOUND:
                if killed:
                    doomed.launch(step, str(NTH))
                else:
                    doomed.start(step, str(NTH))
                    doomed.run_strategy("restless")
                code = doomed.process.wait(START_SECONDS)
                assert code == -signal.SIGKILL, doomed.told()
                killed[step] = read_evidence(data_dir, leave_servers=True)
        with Platform(data_dir, *feed, environment=traced) as last:
            last.start()
            last.wait_for("recording.ended", 60)
            last.come_to_rest()
            last.stop()
            yield Aftermath(killed, read_evidence(data_dir), spans)


@pytest.mark.parametrize("step", FOUND)
def test_each_kill_meets_one_order_in_flight(aftermath, step):
    """The kill at a step finds one order on its way, in the very state of that step, placed no more than it says."""
    evidence = aftermath.killed[step]
    booked = {row["order_id"] for row in evidence.rows("fills")}
    ended = {
        row["order_id"]
        for row in evidence.rows("orders")
        if OrderStatus(row["status"]).is_final and not row["filled"]
    }
    orders = {str(row["signal_id"]): row for row in evidence.rows("orders")}
    in_flight = [
        signal_id
        for event in evidence.of("signal_validated")
        if (signal_id := event.signal_validated.signal_id) not in orders
        or orders[signal_id]["order_id"] not in booked | ended
    ]
    (signal_id,) = in_flight
    order = orders.get(signal_id)
    tags = {str(row["tag"]) for row in evidence.rows("intents") if str(row["signal_id"]) == signal_id}
    places = [row for row in evidence.rows("calls") if row["what"] == "place" and row["tag"] in tags]
    assert (order and OrderStatus(order["status"]), len(places)) == FOUND[step]


def test_the_books_are_those_of_the_exchange(aftermath):
    """After seven kills orders, the exchange's journal, fills and ledger agree, each signal has one verdict, each order one end."""
    check_books(aftermath.end)
    check_envelopes(aftermath.end)
    check_chains(aftermath.end)
    assert len(aftermath.end.rows("fills")) >= NTH * len(FOUND)


def test_each_order_is_one_whole_trace(aftermath):
    """In spite of the kills each order's spans make one tree, whose id is its correlation id: no parent is missing."""
    orders = aftermath.end.rows("orders")
    for order in orders:
        spans = aftermath.spans.of(order["correlation_id"])
        root = check_whole(spans).about
        assert root in {"marketdata: publish market.ticks", "risk: square off due"}
        assert {span.service for span in spans} >= {root.partition(":")[0], "risk", "trading"}
    assert any(span.attributes.get("alphapanda.resumed") for span in aftermath.spans.taken)


@pytest.mark.parametrize(
    "harm",
    [
        lambda rows: rows["calls"].append(next(row for row in rows["calls"] if row["what"] == "place")),
        lambda rows: rows["trades"].pop(),
        lambda rows: rows["fills"].pop(),
        lambda rows: rows["orders"].pop(),
        lambda rows: rows["verdicts"].pop(),
        lambda rows: rows["accounts"][0].update(cash=rows["accounts"][0]["cash"] + Decimal("0.01")),
        lambda rows: rows["transactions"].pop(),
        lambda rows: rows["risk_positions"].append(rows["fills"][0]),
    ],
    ids=["call twice", "trade", "fill", "order", "verdict", "paisa", "transaction", "position"],
)
def test_the_check_of_the_books_sees_harm(aftermath, harm):
    """A call too many, a row too few or a paisa of difference doesn't pass as true books."""
    harmed = replace(aftermath.end, tables=deepcopy(aftermath.end.tables))
    harm(harmed.tables)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        check_books(harmed)


def test_only_the_order_never_sent_is_lost(aftermath):
    """The one order killed between its commit and the call is FAILED(ABSENT), never sent again; all others were executed."""
    absent = [row for row in aftermath.end.rows("orders") if row["failure"] == FailureReason.ABSENT]
    (lost,) = absent
    assert lost["order_id"] in {
        row["order_id"]
        for row in aftermath.killed["submitting_committed"].rows("orders")
        if row["status"] == OrderStatus.SUBMITTING
    }
    unfilled = [row for row in aftermath.end.rows("orders") if row["status"] != OrderStatus.FILLED]
    assert unfilled == absent


def test_kills_at_any_moment_of_the_demo(tmp_path):
    """The demo, at twenty times its speed, killed at random moments and once in its start, ends with true books."""
    chance = random.Random(20)
    moments = [chance.uniform(0.5, 4.0) for _ in range(4)]
    with Platform(tmp_path / "data", "--demo", "--speed", "20", environment=IMPATIENT) as platform:
        for moment in moments:
            platform.start()
            time.sleep(moment)
            platform.kill()
        platform.launch()
        time.sleep(chance.uniform(1.0, 2.0))
        platform.kill()
        platform.start()
        enough = ListOrdersRequest(statuses=[OrderStatus.FILLED.value])
        until(lambda: len(platform.trading.ListOrders(enough).orders) >= 5, 60, "five fills")
        platform.come_to_rest()
        platform.stop()
        evidence = read_evidence(platform.data_dir)
    check_books(evidence)
    check_envelopes(evidence)
    check_chains(evidence)
    assert len(evidence.rows("fills")) >= 5
