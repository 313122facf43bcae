from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from watched_day import portfolio, position, stamp, status, strategies

from alphapanda.commands.live.picture import picture
from alphapanda.commands.live.sections import shares
from alphapanda.commands.live.view import View
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusResponse, LiveFeedStatus
from panda.ops.v1.ops_pb2 import (
    SERVICE_STATE_NOT_SERVING,
    SERVICE_STATE_SERVING,
    ConsumerStatus,
    GetStatusResponse,
    LagAlarm,
    ServerStatus,
    ServiceStatus,
)
from panda.trading.v1.trading_pb2 import WatchOrdersResponse


def drawn(view: View, width: int = 80, height: int | None = 24, now: float = 30.0) -> list[str]:
    """The picture's lines."""
    console = Console(record=True, width=width, file=StringIO(), color_system=None)
    console.print(picture(view, now=now, width=width, height=height))
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50), (100, 40), (80, 16)])
def test_everything_is_on_a_terminal_of_any_size(view, width, height):
    """Clock, account, pace, strategies, positions, orders and services fill the terminal and overflow nowhere."""
    lines = drawn(view, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in (
        "paper/default  ● NSE open until 15:30  Mon 23 Nov 2026 09:18:00  simulated",
        "equity 999,987.50   day -12.50   net -12.50   cash 900,000.00",
        "lag 0   outbox 0   ● trading",
        "ema.infy ",
        "NSE:INFY       +25  1,500.50  1,500.00      -12.50  ema.infy",
        "buy         25  NSE:INFY  1,500.50  filled",
        "failed: no price yet",
        "NSE:ITC  rsi.itc   2 lots are too many",
        "serving",
    ):
        assert part in text, f"{part!r} is not in\n{text}"
    assert lines[-1] == "Ctrl-C ends it"


@pytest.mark.parametrize(("width", "height"), [(40, 10), (30, 7), (200, 9)])
def test_a_small_terminal_shows_the_head_and_the_last_line(view, width, height):
    """Where few rows are left the first sections are shown; clock and last line always."""
    lines = drawn(view, width, height)
    assert len(lines) == height
    assert lines[0].startswith("paper/default  ● NSE open")
    assert lines[-1] == "Ctrl-C ends it"


def test_side_by_side_where_it_fits(view):
    """At 160 columns orders stand beside strategies, at 80 below positions."""
    assert any("strategy" in line and "order" in line for line in drawn(view, 160, 50))
    assert not any(line.startswith("strategy") and "price" in line for line in drawn(view, 80, 24))


def test_what_does_not_fit_is_counted(view):
    """Forty strategies and positions on 24 rows share them, and each says how many there are; running ones come first."""
    names = [f"s{number:02}" for number in range(40)]
    view.fold("strategies", strategies("stopped.first", *names), 3.0)
    view.fold("portfolio", portfolio(4, *(position(name, "NSE:INFY", 1) for name in names)), 3.0)
    lines = drawn(view)
    assert len(lines) == 24
    assert any(line.startswith("strategy (5 of 41)") for line in lines)
    assert any(line.startswith("position (5 of 40)") for line in lines)
    assert not any(line.startswith("stopped.first") for line in lines)


def test_a_service_that_does_not_serve_is_named_with_its_error(view):
    """On a small terminal the services are one line: those that serve are counted, the others named."""
    said = status(100)
    said.services[3].CopyFrom(
        ServiceStatus(service="risk", state=SERVICE_STATE_NOT_SERVING, last_error="the database is away")
    )
    view.fold("services", said, 2.0)
    (line,) = [line for line in drawn(view) if line.startswith("services")]
    assert line == "services  ● 5 serving  ● risk not serving: the database is away"


def test_a_platform_that_went_away_leaves_its_last_picture_and_says_so(view):
    """The last line says what doesn't answer and for how long; the rest stays as it was last heard of."""
    for source in view.sources:
        view.lost(source, "nothing answers on 127.0.0.1:50051", 10.0)
    lines = drawn(view, now=22.4)
    assert lines[-1] == "nothing answers on 127.0.0.1:50051 (for 12 s, trying again)"
    assert any("filled" in line for line in lines)


def test_errors_are_the_last_line(view):
    """An error of this process, or a source that doesn't answer, takes the last line."""
    view.failed("feed_failed: no such file")
    assert drawn(view)[-1] == "feed_failed: no such file"
    view.lost("orders", "no answer", 3.0)
    assert drawn(view)[-1] == "orders: no answer"


def test_before_anything_was_heard_it_says_that_it_connects():
    """Before a source's first answer its part says "connecting", never that there is nothing."""
    text = "\n".join(drawn(View(["market"]), height=40))
    assert text.count("connecting") >= 6
    for part in ("no orders yet", "nothing is held", "nothing was refused", "no strategies", "not known"):
        assert part not in text


def test_what_was_heard_and_is_empty_says_so():
    """After an answer without orders there are none."""
    view = View(["orders"])
    view.fold("orders", WatchOrdersResponse(revision=1), 1.0)
    assert "no orders yet" in "\n".join(drawn(view))


def test_an_alarm_is_the_last_line(view):
    """A group too far behind takes the last line; of several the first is shown and the others are counted."""
    status = GetStatusResponse(
        services=[
            ServiceStatus(
                service="risk", state=1, consumers=[ConsumerStatus(consumer="risk.signals", parked=2)]
            )
        ],
        lag_alarms=[LagAlarm(group="portfolio.fills", topic="paper.orders.filled", lag=5000, allowed=1000)],
    )
    view.fold("services", status, 1.0)
    assert drawn(view, width=120)[-1] == (
        "ALARM (1 of 2) portfolio.fills is 5,000 records behind on paper.orders.filled; 1,000 are allowed"
    )


@pytest.mark.parametrize(
    ("market", "said"),
    [
        ({}, "simulated"),
        ({"speed": 1, "speed_reached": 1}, "simulated"),
        ({"speed": 1, "speed_reached": 0.4}, "simulated 1x, only 0.4x reached"),
        ({"speed": 60, "speed_reached": 59}, "simulated 60x"),
        ({"speed": 60, "speed_reached": 16}, "simulated 60x, only 16x reached"),
        ({"speed_reached": 220.4}, "simulated 220x"),
    ],
)
def test_a_pace_is_shown_and_what_of_it_is_missed(view, market, said):
    """The title has a feed's speed where it isn't the market's own, and how much of it is reached where it falls behind."""
    view.fold("market", GetMarketStatusResponse(exchange="NSE", simulated=True, **market), 1.0)
    assert drawn(view)[0].endswith(said)


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({"instruments": 2048}, "kite  2,048 streamed"),
        ({"instruments": 9, "problem": "nobody has signed in"}, "kite  nobody has signed in"),
    ],
)
def test_a_live_feed_says_what_it_streams_or_why_it_does_not(view, live, said):
    """Who looks at the screen sees without asking that a person has to sign in."""
    status = GetMarketStatusResponse(exchange="NSE", feed="kite", live=LiveFeedStatus(**live))
    view.fold("market", status, 1.0)
    assert drawn(view)[0].endswith(said)


def test_once_is_as_high_as_it_needs(view):
    """Without a height the picture takes no more rows than it fills."""
    lines = drawn(view, 100, None)
    assert len(lines) < 40
    assert any(line.startswith("portfolio") for line in lines)


@pytest.mark.parametrize(
    ("wanted", "room", "given"),
    [([1, 1], 5, [1, 1]), ([9, 9, 1], 7, [3, 3, 1]), ([4, 4], 1, [1, 0]), ([2, 2], -3, [0, 0]), ([], 3, [])],
)
def test_rows_are_shared_turn_by_turn(wanted, room, given):
    """Nobody gets more than wanted, all together never more than there is."""
    assert shares(wanted, room) == given


def test_a_server_that_ended_is_said_until_a_minute_after_it_serves_again(view):
    """The last line says what ended PostgreSQL while it is being started again, and for a minute that it was."""

    def told(state: int, restarts: int, at: float) -> None:
        answer = status(0)
        answer.servers.append(
            ServerStatus(
                server="PostgreSQL",
                state=state,
                restarts=restarts,
                last_error="it was killed by signal 9",
                last_error_at=stamp(1),
            )
        )
        view.fold("services", answer, at)

    told(SERVICE_STATE_NOT_SERVING, 0, 30.0)
    assert drawn(view, 120)[-1].startswith("PostgreSQL does not serve: it was killed by signal 9 (")
    told(SERVICE_STATE_SERVING, 1, 31.0)
    again = "PostgreSQL serves again, was restarted once, last because it was killed by signal 9 ("
    assert drawn(view, 120, now=90.0)[-1].startswith(again)
    assert drawn(view, 120, now=92.0)[-1] == "Ctrl-C ends it"
