"""Checks what Zerodha needs: the extra, a way to Kite by IPv4, today's instruments; on a running platform who is signed in, and the feed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import grpc

from alphapanda.app.clocks import IST, wall_clock
from alphapanda.app.findings import Finding, fail, found, ok, warn
from alphapanda.app.instruments import registry_of
from alphapanda.app.kite_accounts import BROKER_SESSION_SERVICE, kite_accounts
from alphapanda.app.zerodha import require_extra
from alphapanda.contract.wire import moment
from alphapanda.domain.errors import InvalidInput
from alphapanda.instruments.daily import is_due
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.security import ChannelSecurity
from alphapanda.settings.model import Settings
from panda.auth.v1.broker_session_pb2 import (
    BROKER_SESSION_STATE_LIVE,
    GetBrokerSessionRequest,
    GetBrokerSessionResponse,
)
from panda.auth.v1.broker_session_pb2_grpc import BrokerSessionServiceStub
from panda.marketdata.v1.marketdata_pb2 import GetMarketStatusRequest, LiveFeedStatus
from panda.marketdata.v1.marketdata_pb2_grpc import MarketDataServiceStub

ANSWER_SECONDS: Final = 3.0
SIGN_IN: Final = "sign in: `alphapanda kite login`; a session lasts until 06:00 IST"
NOTHING_CAME_SECONDS: Final = 10.0
"""Kite sends something every second or two, if only a heartbeat."""
MARKET_DATA_SERVICE: Final = "panda.marketdata.v1.MarketDataService"
_PORTS: Final = {"http": 80, "https": 443}


async def kite_findings(settings: Settings) -> list[Finding]:
    """Checks what a start needs for Zerodha; nothing where it isn't used. Nobody signs in, and nothing is ordered."""
    accounts = kite_accounts(settings)
    if not accounts:
        return []
    try:
        require_extra(settings)
    except InvalidInput:
        return [fail("zerodha", "the package kiteconnect is missing", "install alphapanda[zerodha]")]
    return [
        ok("zerodha", f"{len(accounts)} account(s): {', '.join(accounts)}"),
        *await found("way to Kite", lambda: _way(settings), "check the network, and zerodha.api_root", 6.0),
    ]


async def session_findings(settings: Settings, target: str, security: ChannelSecurity) -> list[Finding]:
    """Asks a running platform who is signed in to each account; nothing where Zerodha isn't used.

    Args:
        settings: all settings.
        target: host:port of BrokerSessionService.
        security: how to connect.
    """
    findings = []
    for account in kite_accounts(settings):
        name = f"session of {account}"
        request = GetBrokerSessionRequest(account=account)
        try:
            async with open_channel(target, [BROKER_SESSION_SERVICE], security=security) as channel:
                answer = await BrokerSessionServiceStub(channel).GetBrokerSession(
                    request, timeout=ANSWER_SECONDS
                )
        except grpc.aio.AioRpcError as error:
            why = error.details() or error.code().name
            remedy = "start the platform anew with these settings, in the mesh `alphapanda serve auth`"
            findings.append(warn(name, f"nobody can say ({why})", remedy))
        else:
            findings.append(_of_session(name, answer))
    return findings


def _of_session(name: str, answer: GetBrokerSessionResponse) -> Finding:
    session = answer.session
    if session.state != BROKER_SESSION_STATE_LIVE:
        return warn(name, session.ended_because, SIGN_IN)
    until = moment(session.valid_until).astimezone(IST)
    return ok(name, f"{session.broker_user_id} is signed in until {until:%a %d %b %H:%M} IST")


async def instruments_finding(settings: Settings, now: datetime) -> list[Finding]:
    """Says of when Zerodha's instruments are; nothing where Zerodha isn't used.

    Args:
        settings: all settings.
        now: wall time, aware.
    """
    if not kite_accounts(settings):
        return []
    name, remedy = "instruments", f"{SIGN_IN}; a running platform then imports the list of the day by itself"
    registry = registry_of(settings)
    try:
        last = await asyncio.to_thread(registry.last_of, "zerodha")
    except InvalidInput as error:
        return [fail(name, str(error), "move the file away; the next import makes a new one")]
    finally:
        registry.close()
    if last is None:
        return [warn(name, "no list of Zerodha's was imported yet: only the shipped ones are known", remedy)]
    hours = (now - last.at).total_seconds() / 3600
    reason = f"{last.listed:,} of Zerodha's, imported {last.at.astimezone(IST):%a %d %b %H:%M} IST, {hours:.0f} hours ago"
    return [warn(name, f"{reason}: there is a newer list", remedy) if is_due(last, now) else ok(name, reason)]


async def feed_findings(target: str, security: ChannelSecurity) -> list[Finding]:
    """Asks a running platform how its live feed is; nothing where its feed isn't live.

    Args:
        target: host:port of MarketDataService.
        security: how to connect.
    """
    try:
        async with open_channel(target, [MARKET_DATA_SERVICE], security=security) as channel:
            answer = await MarketDataServiceStub(channel).GetMarketStatus(
                GetMarketStatusRequest(), timeout=ANSWER_SECONDS
            )
    except grpc.aio.AioRpcError:
        return []  # the service's own line says so
    return [_of_feed(answer.live, wall_clock())] if answer.HasField("live") else []


def _of_feed(live: LiveFeedStatus, now: datetime) -> Finding:
    streamed = f"{live.instruments:,} instruments"
    if live.problem:
        return warn("live feed", f"{streamed}: {live.problem}", "`alphapanda status` shows when it is over")
    newest = [moment(one.last_message_at) for one in live.connections if one.HasField("last_message_at")]
    if not live.instruments:
        return ok("live feed", "nothing is streamed: no strategy, position or watcher needs a price")
    if not newest:
        return warn(
            "live feed", f"{streamed}: no message came yet", "`alphapanda status` says what it waits for"
        )
    age = max((now - max(newest)).total_seconds(), 0.0)
    if age > NOTHING_CAME_SECONDS:
        return warn(
            "live feed",
            f"{streamed}: nothing came for {age:.0f} s",
            "look at the network; it connects again by itself",
        )
    return ok("live feed", f"{streamed}; the newest message came {age:.1f} s ago")


async def _way(settings: Settings) -> list[Finding]:
    """Whether somebody answers at api_root, by which kind of address, and from which address of ours."""
    zerodha = settings.zerodha
    root = urlsplit(zerodha.api_root)
    host, port = root.hostname or "", root.port or _PORTS[root.scheme]
    kinds = await _kinds(host, port)
    if zerodha.ipv4_only and socket.AF_INET not in kinds:
        reason = f"{host} has no IPv4 address, and zerodha.ipv4_only is set"
        return [
            fail(
                "way to Kite",
                reason,
                "set zerodha.ipv4_only to false, with your IPv6 address on the app's list",
            )
        ]
    family = socket.AF_INET if zerodha.ipv4_only else socket.AF_UNSPEC
    async with asyncio.timeout(zerodha.connect_timeout_seconds):
        _, writer = await asyncio.open_connection(host, port, family=family)
    ours = str(writer.get_extra_info("sockname")[0])
    writer.close()
    by = "IPv4 alone" if zerodha.ipv4_only else "IPv4 or IPv6"
    reason = f"{host} answers by {by}; calls leave this machine from {ours}"
    if not zerodha.ipv4_only and socket.AF_INET6 in kinds:
        remedy = "set zerodha.ipv4_only to true, unless your IPv6 address is on the app's list, too"
        return [
            warn(
                "way to Kite",
                f"{reason}: orders may come from an address that isn't on the app's list",
                remedy,
            )
        ]
    return [ok("way to Kite", reason)]


async def _kinds(host: str, port: int) -> Sequence[int]:
    loop = asyncio.get_running_loop()
    return [one[0] for one in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
