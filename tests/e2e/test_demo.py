"""The demo as a newcomer runs it: it trades within seconds, goes on where it stopped, and starts over when told to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from evidence import Row, check_books, read_evidence
from running import Platform, create_and_start

from alphapanda.strategy.demo import demo_requests
from panda.events.v1.control_pb2 import STRATEGY_STATE_RUNNING
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest
from panda.portfolio.v1.portfolio_pb2 import GetPortfolioRequest
from panda.strategy.v1.strategy_pb2 import ListStrategiesRequest

FIRST_FILL_SECONDS = 15.0


@pytest.fixture(scope="module")
def first_run() -> Iterator[tuple[Platform, list[dict[str, Any]]]]:
    """A demo that has run until its first fill and was stopped by Ctrl-C, and what it logged."""
    with (
        TemporaryDirectory(prefix="panda-") as folder,
        Platform(Path(folder, "data"), "--demo", "--speed", "1", prepared=False) as platform,
    ):
        platform.start()
        platform.wait_for("fill.first_reported", FIRST_FILL_SECONDS)
        platform.stop()
        yield platform, platform.log()


@pytest.fixture(scope="module")
def demo(first_run) -> Platform:
    """That demo; each test starts it and stops it again."""
    return first_run[0]


def market_time(platform: Platform) -> datetime:
    return platform.market.GetMarketStatus(GetMarketStatusRequest()).market_time.ToDatetime(UTC)


def strategies(platform: Platform) -> list[tuple[str, int, int]]:
    listed = platform.strategies.ListStrategies(ListStrategiesRequest()).strategies
    return [(one.strategy_id, one.revision, one.state) for one in listed]


def lines(rows: list[Row]) -> dict[str, Row]:
    return {str(row["entry_id"]): row for row in rows}


def test_the_first_fill_comes_within_seconds(first_run):
    """The demo's first fill comes within fifteen seconds of its being ready."""
    _, logged = first_run
    (first,) = (line for line in logged if line["event"] == "fill.first_reported")
    assert first["seconds_after_ready"] < FIRST_FILL_SECONDS
    fill = next(line for line in logged if line["event"] == "fill.reported")
    assert fill["broker"] == "paper"
    assert fill["strategy_id"].startswith("demo.")


def test_a_second_run_goes_on(demo):
    """A second run keeps every ledger line, has the same strategies once, and its market clock never goes back."""
    before = read_evidence(demo.data_dir)
    clock = max(frame.tick_frame.market_time.ToDatetime(UTC) for frame in before.of("tick_frame"))
    demo.start()
    assert market_time(demo) >= clock
    running = strategies(demo)
    assert len(running) == len({strategy_id for strategy_id, _, _ in running}) == len(demo_requests())
    changes = {event.strategy_changed.strategy_id for event in before.of("strategy_changed")}
    assert {strategy_id for strategy_id, _, _ in running} == changes
    revisions = {
        (event.strategy_changed.strategy_id, event.strategy_changed.revision)
        for event in before.of("strategy_changed")
    }
    assert {(strategy_id, revision) for strategy_id, revision, _ in running} <= revisions
    demo.come_to_rest()
    demo.stop()

    after = read_evidence(demo.data_dir)
    check_books(after)
    assert lines(before.rows("entries")).items() <= lines(after.rows("entries")).items()
    clocks = [
        (record.partition, after.events[dict(record.headers)["ce_id"].decode()].tick_frame.market_time)
        for record in after.records
        if record.topic == after.topic_map.topic("tick_frame")
    ]
    for partition in {partition for partition, _ in clocks}:
        of_shard = [time.ToNanoseconds() for shard, time in clocks if shard == partition]
        assert of_shard == sorted(of_shard)


def test_fresh_starts_over(demo):
    """With --fresh the account has its starting cash again, no fills, and the market's day begins anew."""
    demo.start()
    clock = market_time(demo)
    demo.stop()
    demo.start("--fresh")
    shown = demo.books.GetPortfolio(GetPortfolioRequest()).portfolio
    assert shown.cash.amount.value == shown.starting_cash.amount.value
    assert not shown.positions
    assert market_time(demo) < clock
    assert len(strategies(demo)) == len(demo_requests())
    demo.stop()


def test_an_earlier_versions_demo_goes_on_as_it_was(up):
    """A demo strategy that a data directory has with other parameters keeps them, and the demo runs."""
    platform = up()
    earlier, _ = create_and_start("demo.infy", quantity=1)
    earlier.request_id = "demo-create-demo.infy"
    platform.strategies.CreateStrategy(earlier)
    platform.stop()
    platform.start("--demo")
    listed = platform.strategies.ListStrategies(ListStrategiesRequest()).strategies
    assert len(listed) == len(demo_requests())
    (kept,) = [one for one in listed if one.strategy_id == "demo.infy"]
    assert (kept.quantity, kept.state) == (1, STRATEGY_STATE_RUNNING)
    platform.stop()
