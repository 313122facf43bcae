"""What status and doctor say of Zerodha."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import structlog

from alphapanda.app.clocks import wall_clock
from alphapanda.app.doctor_kite import (
    feed_findings,
    instruments_finding,
    kite_findings,
    session_findings,
)
from alphapanda.app.findings import Outcome
from alphapanda.app.kite_parts import rest_notices
from alphapanda.contract.wire import timestamp
from alphapanda.instruments.core import KITE_COLUMNS, DatedFacts
from alphapanda.instruments.dump import parse_instruments
from alphapanda.instruments.importing import import_read
from alphapanda.instruments.registry import InstrumentRegistry
from alphapanda.kite.limiter import CallKind
from alphapanda.kite.options import KiteOptions, OrderBudgets
from alphapanda.kite.rest import KiteRest
from alphapanda.kite.session import SessionFollower
from alphapanda.mesh.security import PLAINTEXT
from alphapanda.settings.model import Settings
from alphapanda.settings.sources import load_settings
from panda.marketdata.v1 import marketdata_pb2 as market
from panda.marketdata.v1.marketdata_pb2_grpc import (
    MarketDataServiceServicer,
    add_MarketDataServiceServicer_to_server,
)

KEYS = {"ALPHAPANDA_ZERODHA__API_KEY": "k", "ALPHAPANDA_ZERODHA__API_SECRET": "s"}  # pragma: allowlist secret

NOW = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)  # 09:30 in India


def settings_at(root: str, **more: str) -> Settings:
    """The settings with a key, and Kite at this address."""
    names = {f"ALPHAPANDA_ZERODHA__{name}": value for name, value in more.items()}
    return load_settings({**KEYS, "ALPHAPANDA_ZERODHA__API_ROOT": root, **names})


async def test_doctor_says_nothing_of_what_isnt_used() -> None:
    """Without a key and an account there is no line."""
    assert await kite_findings(load_settings({})) == []
    assert await session_findings(load_settings({}), "127.0.0.1:1", PLAINTEXT) == []
    assert await instruments_finding(load_settings({}), NOW) == []
    assert await feed_findings("127.0.0.1:1", PLAINTEXT) == []


async def test_doctor_knows_the_way_to_kite() -> None:
    """It says by which kind of address it goes, and from which of ours: that one belongs on the app's list."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    accounts, way = await kite_findings(settings_at(f"http://localhost:{port}"))
    assert accounts.reason == "1 account(s): default"
    assert way.reason == "localhost answers by IPv4 alone; calls leave this machine from 127.0.0.1"
    server.close()


async def test_doctor_warns_of_orders_by_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with both kinds of address orders from one that isn't on the list, unless IPv4 is forced."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    asked = loop.getaddrinfo

    async def both(host: str, port: int, **more: int):
        found = await asked(host, port, **{**more, "family": socket.AF_INET})
        return [*found, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))]

    monkeypatch.setattr(loop, "getaddrinfo", both)
    _, way = await kite_findings(settings_at(f"http://127.0.0.1:{port}", IPV4_ONLY="false"))
    assert (way.outcome, way.remedy.startswith("set zerodha.ipv4_only to true")) == (Outcome.WARN, True)
    server.close()


async def test_doctor_tells_who_isnt_there() -> None:
    """A Kite that can't be reached is a failure with what to do; a platform that can't be asked, a warning."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = settings_at(f"http://127.0.0.1:{port}")
    _, way = await kite_findings(settings)
    assert (way.outcome, way.remedy) == (Outcome.FAIL, "check the network, and zerodha.api_root")
    (session,) = await session_findings(settings, f"127.0.0.1:{port}", PLAINTEXT)
    assert (session.name, session.outcome) == ("session of default", Outcome.WARN)


async def test_status_tells_of_calls_that_fail_and_of_a_day_that_is_used_up() -> None:
    """A quiet account says nothing; failures, slow answers and the last quarter of the day's orders are told."""
    follower = SessionFollower("default", lambda: datetime.now(UTC))
    options = KiteOptions(budgets=OrderBudgets(per_day=8))
    day = datetime(2026, 12, 1, tzinfo=UTC).date()
    rest = KiteRest(
        options, follower, structlog.get_logger(), lambda: 0.0, lambda: datetime.now(UTC), lambda: day, 6
    )
    assert list(rest_notices(rest)) == []
    await rest.limiter.take(CallKind.EXIT)
    assert list(rest_notices(rest)) == [
        "account default: 1 of 8 order requests of the day are left, for exits"
    ]
    rest.figures.latency_seconds = 3.14
    assert "took 3.1 s" in next(rest_notices(rest))
    rest.figures.last_error = "Kite, account default, profile: no answer"
    assert next(rest_notices(rest)).endswith("no answer; since then no call was answered")
    rest.stop()


async def test_doctor_tells_of_when_the_instruments_are(tmp_path: Path) -> None:
    """None yet, today's, yesterday's after today's were made, and a file that is none: each says what to do."""
    registry = InstrumentRegistry(tmp_path / "instruments.sqlite")
    settings = load_settings({**KEYS, "ALPHAPANDA_INSTRUMENTS__FILE": str(registry.file)})
    (none,) = await instruments_finding(settings, NOW)
    assert (none.outcome, "kite login" in none.remedy) == (Outcome.WARN, True)
    row = "408065,1594,INFY,INFOSYS,0,,0,0.1,1,EQ,NSE,NSE"
    found = parse_instruments("a", f"{','.join(KITE_COLUMNS)}\n{row}\n", NOW.date(), DatedFacts())
    import_read(registry, (), found, Path("zerodha"), NOW.date(), at=NOW)
    (today,) = await instruments_finding(settings, NOW + timedelta(hours=3))
    assert (today.outcome, today.reason) == (
        Outcome.OK, "1 of Zerodha's, imported Mon 30 Nov 09:30 IST, 3 hours ago"
    )  # fmt: skip
    (old,) = await instruments_finding(settings, NOW + timedelta(hours=24))
    assert (old.outcome, old.reason.endswith("24 hours ago: there is a newer list")) == (Outcome.WARN, True)
    registry.close()
    registry.file.write_bytes(b"no registry at all" * 100)
    (broken,) = await instruments_finding(settings, NOW)
    assert broken.outcome is Outcome.FAIL


class Market(MarketDataServiceServicer):
    """Answers with a feed's status."""

    def __init__(self) -> None:
        self.live: market.LiveFeedStatus | None = None

    async def GetMarketStatus(self, request, context):  # noqa: N802 - the contract's name
        return market.GetMarketStatusResponse(live=self.live)


async def test_doctor_tells_how_old_the_newest_message_of_the_feed_is() -> None:
    """A feed that isn't live has no line; what it waits for, and silence, are warnings."""
    servicer, server = Market(), grpc.aio.server()
    add_MarketDataServiceServicer_to_server(servicer, server)
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    assert await feed_findings(target, PLAINTEXT) == []
    told = []
    for problem, seconds, instruments in [
        ("", 0.2, 4),
        ("", 60, 4),
        ("", None, 4),
        ("", None, 0),
        ("no session", 1, 4),
    ]:
        at = None if seconds is None else timestamp(wall_clock() - timedelta(seconds=seconds))
        connections = [market.FeedConnection(), market.FeedConnection(last_message_at=at)]
        servicer.live = market.LiveFeedStatus(
            problem=problem, connections=connections, instruments=instruments
        )
        (one,) = await feed_findings(target, PLAINTEXT)
        told.append((one.outcome, one.reason))
    await server.stop(None)
    assert [outcome for outcome, _ in told] == [
        Outcome.OK,
        Outcome.WARN,
        Outcome.WARN,
        Outcome.OK,
        Outcome.WARN,
    ]
    assert told[0][1].startswith("4 instruments; the newest message came ")
    assert told[1][1].startswith("4 instruments: nothing came for 6")
    assert told[4][1] == "4 instruments: no session"
