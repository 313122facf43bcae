"""`alphapanda up --demo-zerodha` as a newcomer runs it, and what becomes of it when what it stands on is taken away."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import psutil
import pytest
from running import Platform, until

from alphapanda.commands.zerodha_demo import press_login
from panda.auth.v1 import broker_session_pb2 as sessions
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub
from panda.common.v1.common_pb2 import PRODUCT_MIS, SIDE_BUY, Product
from panda.instruments.v1.instruments_pb2 import ListInstrumentsRequest
from panda.instruments.v1.instruments_pb2_grpc import InstrumentServiceStub
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest
from panda.portfolio.v1.portfolio_pb2 import ListPositionsRequest
from panda.risk.v1.risk_pb2 import ArmLiveAccountRequest, DisarmLiveAccountRequest, GetVerdictRequest
from panda.trading.v1.trading_pb2 import PlaceOrderRequest, SquareOffRequest

SECONDS = 80.0


@pytest.fixture(scope="module")
def demo() -> Iterator[Platform]:
    """A demo whose exchange has few instruments."""
    with (
        TemporaryDirectory(prefix="panda-") as folder,
        Platform(Path(folder, "data"), "--demo-zerodha", environment={"KITE_STUB_ROWS": "600"}) as platform,
    ):
        platform.start()
        yield platform
        platform.stop()
        assert exchanges_of(platform) == []


def exchanges_of(platform: Platform) -> list[psutil.Process]:
    """The processes of its exchange."""
    assert platform.process is not None
    mark = "tests.kite_exchange"
    if not psutil.pid_exists(platform.process.pid):
        return []
    found = psutil.Process(platform.process.pid).children(recursive=True)
    return [process for process in found if mark in process.cmdline()]


def instruments(platform: Platform) -> int:
    """How many it knows, 400 at most; a start on an old directory has them from before, and imports none."""
    stub = InstrumentServiceStub(platform.channel)
    return len(stub.ListInstruments(ListInstrumentsRequest(page_size=400)).instruments)


def ticks(platform: Platform) -> int:
    return int(platform.market.GetMarketStatus(GetMarketStatusRequest()).ticks)


def streams_on(platform: Platform) -> None:
    """Ticks arrive after this."""
    before = ticks(platform)
    until(lambda: ticks(platform) > before, SECONDS, "a tick")


def tell(platform: Platform, what: str, **told: object) -> None:
    """Tells the exchange what goes wrong."""
    url = platform.wait_for("demo.zerodha_signed_in", SECONDS)["url"]
    urlopen(Request(f"{url}/stub/{what}", json.dumps(told).encode()), timeout=5).close()


def newest(platform: Platform) -> sessions.BrokerSession:
    asked = sessions.GetBrokerSessionRequest(broker="zerodha")
    return broker_sessions(platform).GetBrokerSession(asked).session


def broker_sessions(platform: Platform) -> BrokerSessionServiceStub:
    return BrokerSessionServiceStub(platform.channel)


def test_it_signs_in_loads_instruments_and_streams(demo: Platform) -> None:
    """The session lives, the exchange's instruments are known, its ticks are in frames that say that they aren't the real market's, and are traded on paper."""
    demo.wait_for("demo.zerodha_signed_in", SECONDS)
    assert newest(demo).state == sessions.BROKER_SESSION_STATE_LIVE
    until(lambda: instruments(demo) > 300, SECONDS, "the exchange's instruments")
    status = demo.market.GetMarketStatus(GetMarketStatusRequest())
    assert (status.feed, status.open, status.simulated) == ("kite", True, True)
    assert demo.wait_for("account.armed", SECONDS)["broker"] == "zerodha"
    until(
        lambda: {"paper", "zerodha"} <= {one["broker"] for one in demo.logged("fill.reported")},
        60.0,
        "fills at both brokers",
    )


def test_a_disarmed_account_only_reduces_until_a_person_arms_it(demo: Platform) -> None:
    """Entries are refused with the command that arms, exits pass until nothing is held; armed again, it trades."""
    until(lambda: held_here(demo), 60.0, "a position at Zerodha")
    symbol = next(iter(held_here(demo))).partition(" ")[0]
    demo.risk.DisarmLiveAccount(
        DisarmLiveAccountRequest(request_id=str(uuid4()), broker="zerodha", reason="a test")
    )
    refused = demo.trading.PlaceOrder(
        PlaceOrderRequest(
            request_id=str(uuid4()),
            broker="zerodha",
            symbol=symbol,
            side=SIDE_BUY,
            quantity=1,
            product=PRODUCT_MIS,
        ),
        timeout=60,
    ).order
    verdict = demo.risk.GetVerdict(GetVerdictRequest(signal_id=refused.state.signal_id)).verdict
    [arming] = [rule for rule in verdict.rules if rule.rule == "arming"]
    assert "alphapanda live arm --broker zerodha" in arming.message
    assert not refused.state.filled_quantity

    for _ in range(20):  # an entry that was under way may fill after the first one
        demo.trading.SquareOff(
            SquareOffRequest(request_id=str(uuid4()), broker="zerodha", reason="a test"), timeout=60
        )
        sleep(3)
        if not held_here(demo):
            break
    assert held_here(demo) == {}
    demo.risk.ArmLiveAccount(
        ArmLiveAccountRequest(request_id=str(uuid4()), broker="zerodha", reason="a test")
    )
    before = len(fills_at_zerodha(demo))
    until(lambda: len(fills_at_zerodha(demo)) > before, 120.0, "a fill at Zerodha")


def test_a_cut_socket_heals(demo: Platform) -> None:
    """After its socket is cut, ticks arrive again by themselves."""
    tell(demo, "ticker", cut=True)
    streams_on(demo)


def test_an_ended_session_asks_for_a_person_and_heals_by_a_login(demo: Platform) -> None:
    """A session that was ended elsewhere is told with what to do; a new login is enough."""
    tell(demo, "session")
    until(lambda: newest(demo).state != sessions.BROKER_SESSION_STATE_LIVE, SECONDS, "the end of the session")
    assert "ended there, or by a login elsewhere" in newest(demo).ended_because
    begun = broker_sessions(demo).BeginBrokerLogin(sessions.BeginBrokerLoginRequest(request_id="begin"))
    redirect = press_login(begun.login_url)
    broker_sessions(demo).CompleteBrokerLogin(
        sessions.CompleteBrokerLoginRequest(
            request_id="complete", state=redirect.state, request_token=redirect.request_token
        )
    )
    streams_on(demo)


def test_a_kill_in_mid_order_leaves_both_sides_equal(demo: Platform) -> None:
    """The platform is killed while an order that Zerodha has waits for its answer; after a restart each holds what the other does."""
    url = demo.wait_for("demo.zerodha_signed_in", SECONDS)["url"]
    late = [{"kind": "slow", "method": "POST", "path": "/orders/*", "seconds": 20.0}]
    urlopen(Request(f"{url}/stub/faults", json.dumps(late).encode()), timeout=5).close()
    until(lambda: asked(url, "state")["faults_met"], 60.0, "an order that waits for its answer")
    demo.kill()
    demo.start()
    demo.wait_for("demo.zerodha_signed_in", SECONDS)
    until(lambda: fills_at_zerodha(demo), 60.0, "an order at Zerodha after the restart")
    until(lambda: held_here(demo) == held_there(demo), 60.0, "both sides to hold the same")


def asked(url: str, what: str) -> dict[str, Any]:
    """What the exchange says of itself."""
    with urlopen(f"{url}/stub/{what}", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def fills_at_zerodha(platform: Platform) -> list[dict[str, Any]]:
    return [one for one in platform.logged("fill.reported") if one["broker"] == "zerodha"]


def held_here(platform: Platform) -> dict[str, int]:
    """Units that the platform holds at Zerodha, of all strategies, by symbol and product."""
    held: Counter[str] = Counter()
    for one in platform.books.ListPositions(ListPositionsRequest(broker="zerodha")).positions:
        held[f"{one.symbol} {Product.Name(one.product).removeprefix('PRODUCT_')}"] += one.quantity
    return {name: units for name, units in held.items() if units}


def held_there(platform: Platform) -> dict[str, int]:
    """Units that its exchange holds."""
    url = platform.wait_for("demo.zerodha_signed_in", SECONDS)["url"]
    return {name.partition(" ")[2]: units for name, units in asked(url, "positions").items()}


def test_a_killed_exchange_is_started_again(demo: Platform) -> None:
    """An exchange that was killed is there again, somebody is signed in to it, and its ticks arrive."""
    (exchange,) = exchanges_of(demo)
    exchange.kill()
    demo.wait_for("demo.zerodha_ended", SECONDS)
    until(lambda: len(exchanges_of(demo)) == 1, SECONDS, "another exchange")
    until(
        lambda: len(demo.logged("demo.zerodha_signed_in")) == 2,
        SECONDS,
        "a login",
    )
    streams_on(demo)
