"""What a day leaves on the topics: whole envelopes, unbroken causes, and for each broker exactly its own."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from evidence import Evidence, chain, check_books, check_chains, check_envelopes, read_evidence
from recordings import walk
from running import Platform

from alphapanda.app.embedded import Embedded
from alphapanda.app.up_options import UpOptions
from alphapanda.settings.sources import load_settings
from alphapanda.trading.traders.brokers import BROKERS
from alphapanda.trading.traders.paper import registration
from panda.common.v1.common_pb2 import PRODUCT_CNC, SIDE_BUY
from panda.trading.v1.trading_pb2 import PlaceOrderRequest

FLOW = (
    "tick_frame",
    "trading_signal",
    "signal_validated",
    "signal_rejected",
    "order_submitted",
    "order_filled",
    "order_failed",
)
PER_BROKER = FLOW[1:]


@pytest.fixture(scope="module")
def afternoon() -> Iterator[Evidence]:
    """From half past two until almost half past three: a strategy that holds a position at 15:00, then two manual orders."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        file = walk(Path(folder), begins="14:30", bars=54, last="15:26")
        feed = ("--feed", f"replay:{file}", "--instrument", "NSE:INFY")
        at_close = {"ALPHAPANDA_PAPER_TRADING__FILL": "close"}  # after the last bar there is no next open
        with Platform(Path(folder, "data"), *feed, environment=at_close) as platform:
            platform.start()
            platform.run_strategy("held")
            platform.wait_for("recording.ended", 60)
            for number, quantity in enumerate((1, 100_001)):
                platform.trading.PlaceOrder(
                    PlaceOrderRequest(
                        request_id=f"manual-{number}",
                        symbol="NSE:INFY",
                        side=SIDE_BUY,
                        quantity=quantity,
                        product=PRODUCT_CNC,
                    )
                )
            platform.come_to_rest()
            platform.stop()
            yield read_evidence(platform.data_dir)


def test_each_envelope_is_whole(afternoon):
    """Each record of every topic is valid, stands under its key and partition, and its headers agree with its envelope."""
    assert {event.WhichOneof("payload") for event in afternoon.events.values()} >= {*FLOW, "strategy_changed"}
    check_envelopes(afternoon)
    assert afternoon.dead_letters == []


def test_causes_lead_back_to_a_frame_or_a_command(afternoon):
    """From each event its causes lead back, under one correlation id, to a frame, or to a person's command."""
    check_chains(afternoon)
    fills = [
        event for event in afternoon.of("order_filled") if event.order_filled.order.strategy_id == "held"
    ]
    assert fills
    for fill in fills:
        payloads = [link.WhichOneof("payload") for link in chain(afternoon, fill)]
        assert payloads == ["order_filled", "signal_validated", "trading_signal", "tick_frame"]


def test_a_square_off_is_caused_by_the_frame_of_the_cut_off(afternoon):
    """The position held at 15:00 is squared off by a signal of risk's, whose chain ends in the frame of 15:00."""
    (demand,) = [event for event in afternoon.of("trading_signal") if event.source == "risk"]
    (fill,) = [
        event for event in afternoon.of("order_filled") if event.correlation_id == demand.correlation_id
    ]
    links = chain(afternoon, fill)
    assert demand in links
    frame = links[-1].tick_frame
    assert frame.market_time.ToDatetime(UTC) == datetime(2025, 3, 10, 9, 30, tzinfo=UTC)
    assert fill.order_filled.traded_at == frame.market_time


def test_the_correlation_id_is_in_every_row(afternoon):
    """Verdict, order and booked fill of a chain carry its correlation id, and a frame's is its own."""
    for fill in afternoon.of("order_filled"):
        state, correlation_id = fill.order_filled.order, fill.correlation_id
        (order,) = [row for row in afternoon.rows("orders") if str(row["order_id"]) == state.order_id]
        (verdict,) = [row for row in afternoon.rows("verdicts") if str(row["signal_id"]) == state.signal_id]
        (booked,) = [
            row for row in afternoon.rows("fills") if str(row["fill_id"]) == fill.order_filled.fill_id
        ]
        assert {row["correlation_id"] for row in (order, verdict, booked)} == {correlation_id}
    for frame in afternoon.of("tick_frame"):
        assert frame.correlation_id == frame.event_id


def test_a_persons_order_is_caused_by_its_command(afternoon):
    """The fill of a manual order leads back to its verdict, and that to the command's signal."""
    (fill,) = [
        event for event in afternoon.of("order_filled") if event.order_filled.order.strategy_id == "manual"
    ]
    links = chain(afternoon, fill)
    assert [link.WhichOneof("payload") for link in links] == ["order_filled", "signal_validated"]
    assert links[-1].causation_id == links[-1].signal_validated.signal_id == fill.order_filled.order.signal_id


def test_an_afternoon_ends_with_true_books(afternoon):
    """Orders, the exchange's journal, fills and ledger agree; after the cut-off MIS is flat and its entries are refused."""
    check_books(afternoon)
    (held,) = afternoon.rows("positions")
    assert (held["strategy_id"], held["quantity"]) == ("manual", 1)
    reasons = Counter(event.signal_rejected.reason for event in afternoon.of("signal_rejected"))
    assert reasons.keys() == {"MARKET_HOURS", "ORDER_QUANTITY"}
    assert reasons["ORDER_QUANTITY"] == 1


# -- two paper brokers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_brokers() -> Iterator[Evidence]:
    """One strategy on both of two paper brokers, one on paper alone, over the same recording."""
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        asyncio.run(_trade_on_two(Path(folder)))
        yield read_evidence(Path(folder, "data"), ("paper", "papertwo"))


# From a file, so that both run before the recording begins.
TWO_STRATEGIES = """\
strategies:
  - {strategy_id: both, strategy_type: ema_cross, parameters: {fast: 3, slow: 6}, symbols: ["NSE:INFY"],
     quantity: 10, brokers: [papertwo]}
  - {strategy_id: single, strategy_type: ema_cross, parameters: {fast: 2, slow: 5}, symbols: ["NSE:INFY"], quantity: 7}
"""


async def _trade_on_two(folder: Path) -> None:
    (folder / "strategies.yaml").write_text(TWO_STRATEGIES, encoding="utf-8")
    settings = load_settings(
        {},
        api={"port": 0},
        active_brokers=("paper", "papertwo"),
        strategy={"yaml": folder / "strategies.yaml"},
    )
    options = UpOptions(
        data_dir=folder / "data",
        feed=f"replay:{walk(folder, bars=120, last='11:30')}",
        instrument="NSE:INFY",
        brokers=(*BROKERS, registration("papertwo")),
    )
    embedded = Embedded(settings, options)
    await embedded.start()
    try:
        # A recording moves in lockstep: when it has ended, nothing is in work.
        await asyncio.wait_for(embedded.feeding.publisher.finished.wait(), 60)
    finally:
        await embedded.stop()


def test_each_topic_holds_exactly_its_broker(two_brokers):
    """The topics of papertwo hold the strategy that opted in and nobody else, those of paper both strategies."""
    check_envelopes(two_brokers)
    found: dict[str, set[str]] = {"paper": set(), "papertwo": set()}
    for event in two_brokers.of(*PER_BROKER):
        payload = getattr(event, event.WhichOneof("payload"))
        found[event.broker].add(getattr(payload, "order", payload).strategy_id)
    assert found == {"paper": {"both", "single"}, "papertwo": {"both"}}
    assert {event.broker for event in two_brokers.of("tick_frame", "strategy_changed")} == {""}


def test_one_decision_is_one_signal_at_each_broker(two_brokers):
    """What the strategy on both decides is a signal of its own id at each broker, the same but for that."""
    wanted: dict[str, set[tuple[Any, ...]]] = {"paper": set(), "papertwo": set()}
    ids = set()
    for event in two_brokers.of("trading_signal"):
        signal = event.trading_signal
        if signal.strategy_id == "both":
            ids.add(event.event_id)
            wanted[event.broker].add((event.causation_id, signal.target_position, signal.config_revision))
    assert wanted["paper"] == wanted["papertwo"]
    assert len(wanted["paper"]) >= 3
    assert len(ids) == 2 * len(wanted["paper"])


def test_two_brokers_have_separate_books(two_brokers):
    """Each broker's account has fills, ledger and cash of its own, and each agrees with the exchange."""
    check_books(two_brokers)
    check_chains(two_brokers)
    fills = Counter((row["broker"], row["strategy_id"]) for row in two_brokers.rows("fills"))
    assert fills["paper", "both"] == fills["papertwo", "both"] >= 3
    assert fills["paper", "single"] >= 3
    assert fills.keys() == {("paper", "both"), ("paper", "single"), ("papertwo", "both")}
    assert {row["broker"] for row in two_brokers.rows("accounts")} == {"paper", "papertwo"}


def test_frames_follow_each_other(afternoon):
    """Frames are in order per shard, without a gap."""
    sequences: dict[int, list[int]] = {}
    for record in afternoon.records:
        event = afternoon.events[dict(record.headers)["ce_id"].decode()]
        if event.WhichOneof("payload") == "tick_frame":
            sequences.setdefault(event.tick_frame.shard, []).append(event.tick_frame.sequence)
    assert sequences
    for of_shard in sequences.values():
        assert of_shard == list(range(1, len(of_shard) + 1))
