"""TLS and mTLS on real sockets: who connects, who doesn't and why, and certificates that are replaced while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
import pytest
import structlog
from typing_extensions import override

from alphapanda.commands.finding import Target, trouble_of
from alphapanda.domain.errors import InvalidInput
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.dev_certificates import Pair, new_authority, new_certificate
from alphapanda.mesh.handshake import Trouble, diagnose
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.mesh.server import MeshServer
from alphapanda.mesh.server_security import ServerSecurity
from alphapanda.mesh.tls import TlsFiles, TlsMaterial
from panda.instruments.v1 import instruments_pb2, instruments_pb2_grpc

INSTRUMENTS = "panda.instruments.v1.InstrumentService"
NOW = datetime.now(UTC)
HOSTS = ("localhost", "127.0.0.1")
ASKED = instruments_pb2.ListInstrumentsRequest()


class Instruments(instruments_pb2_grpc.InstrumentServiceServicer):
    """Answers."""

    @override
    async def ListInstruments(self, request, context):
        return instruments_pb2.ListInstrumentsResponse()


class Folder:
    """A folder of certificates of one authority."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self.authority = new_authority(NOW - timedelta(days=60), 3650)
        self.ca = path / "ca.pem"
        self.ca.write_bytes(self.authority.certificate)

    def write(self, name: str, pair: Pair) -> TlsFiles:
        files = TlsFiles(self.path / f"{name}.pem", self.path / f"{name}.key", self.ca)
        files.key.write_bytes(pair.key)
        files.certificate.write_bytes(pair.certificate)
        return files

    def make(self, name: str, *, hosts=HOSTS, days: int = 1, begins: datetime = NOW) -> TlsFiles:
        return self.write(name, new_certificate(self.authority, name, begins, days, hosts=hosts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Folder:
    made = Folder(tmp_path_factory.mktemp("certs"))
    made.make("server")
    made.make("client")
    return made


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Folder:
    """Certificates of another authority."""
    made = Folder(tmp_path_factory.mktemp("stranger"))
    made.make("server")
    made.make("client")
    return made


def of(folder: Folder, name: str) -> TlsFiles:
    return TlsFiles(folder.path / f"{name}.pem", folder.path / f"{name}.key", folder.ca)


class Served:
    """Servers that are stopped at the end, and what a client sees of them."""

    def __init__(self) -> None:
        self._servers: list[MeshServer] = []

    async def start(self, security: ServerSecurity) -> str:
        registration = partial(instruments_pb2_grpc.add_InstrumentServiceServicer_to_server, Instruments())
        server = MeshServer("127.0.0.1", 0, [registration], structlog.get_logger(), security=security)
        self._servers.append(server)
        return f"127.0.0.1:{await server.start()}"

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(0)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    yield made
    await made.stop()


def security(files: TlsFiles, *, mutual: bool = False, age: float = 3600.0) -> ServerSecurity:
    return ServerSecurity(TlsMaterial(files), client_certificates=mutual, connection_age_seconds=age)


async def outcome(target: str, channel_security: ChannelSecurity) -> grpc.StatusCode:
    async with open_channel(target, [INSTRUMENTS], security=channel_security) as channel:
        try:
            await instruments_pb2_grpc.InstrumentServiceStub(channel).ListInstruments(ASKED, timeout=3)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def test_who_connects_and_what_is_said_to_who_does_not(
    served, folder: Folder, stranger: Folder
) -> None:
    """TLS and mTLS servers, and one without, against each kind of client: the status, and the reason in one sentence."""
    plain = await served.start(ServerSecurity())
    tls = await served.start(security(of(folder, "server")))
    mutual = await served.start(security(of(folder, "server"), mutual=True))
    named = await served.start(security(folder.make("named", hosts=("panda.example",))))
    trusting = ChannelSecurity(TlsMaterial(TlsFiles(ca=folder.ca)))
    own = ChannelSecurity(TlsMaterial(of(folder, "client")))
    foreign = ChannelSecurity(
        TlsMaterial(TlsFiles(stranger.path / "client.pem", stranger.path / "client.key", folder.ca))
    )
    elsewhere = ChannelSecurity(TlsMaterial(TlsFiles(ca=stranger.ca)))
    by_name = ChannelSecurity(TlsMaterial(TlsFiles(ca=folder.ca)), "panda.example")
    cases = [
        (plain, PLAINTEXT, Trouble.NONE, ""),
        (tls, trusting, Trouble.NONE, ""),
        (mutual, own, Trouble.NONE, ""),
        (named, by_name, Trouble.NONE, ""),
        (tls, PLAINTEXT, Trouble.PLAINTEXT_TO_TLS, "--ca FILE"),
        (mutual, PLAINTEXT, Trouble.PLAINTEXT_TO_TLS, "--ca FILE"),
        (plain, trusting, Trouble.TLS_TO_PLAINTEXT, "doesn't speak TLS: leave out --ca"),
        (tls, elsewhere, Trouble.UNKNOWN_AUTHORITY, "Alpha Panda development CA, which isn't trusted here"),
        (mutual, trusting, Trouble.CERTIFICATE_WANTED, "--cert and --cert-key"),
        (mutual, foreign, Trouble.CERTIFICATE_REFUSED, "refuses the client certificate"),
        (named, trusting, Trouble.WRONG_NAME, "is for panda.example, not for 127.0.0.1"),
    ]
    for target, channel_security, trouble, said in cases:
        found, sentence = await asyncio.to_thread(
            diagnose, target, channel_security.tls, channel_security.server_name
        )
        assert (found, said in sentence) == (trouble, True), sentence
        expected = grpc.StatusCode.OK if trouble is Trouble.NONE else grpc.StatusCode.UNAVAILABLE
        assert await outcome(target, channel_security) is expected, sentence


async def test_a_refusal_at_one_address_of_a_name_does_not_hide_the_reason_at_another(
    served, folder: Folder, stranger: Folder
) -> None:
    """`localhost` is ::1, too: gRPC tells of the last address alone, where nobody listens, and the command asks by itself."""
    address = await served.start(security(of(folder, "server")))
    target = Target(address, security=ChannelSecurity(TlsMaterial(TlsFiles(ca=stranger.ca))))
    refused = "last error: UNKNOWN: ipv6:%5B::1%5D:1: Failed to connect to remote host: Connection refused"
    said = await asyncio.to_thread(trouble_of, target, address, refused)
    assert said is not None
    assert "isn't trusted here" in said
    assert await asyncio.to_thread(trouble_of, target, "127.0.0.1:1", refused) is None


async def test_a_certificate_that_expires_while_it_runs_is_said_with_its_date(served, folder: Folder) -> None:
    """A server whose certificate has expired is refused by its clients, and the reason names the day."""
    files = folder.make("old", begins=NOW - timedelta(days=30), days=10)
    material = TlsMaterial(files, now=lambda: NOW - timedelta(days=25))
    target = await served.start(ServerSecurity(material))
    trusting = ChannelSecurity(TlsMaterial(TlsFiles(ca=folder.ca)))
    found, sentence = await asyncio.to_thread(diagnose, target, trusting.tls)
    assert found is Trouble.EXPIRED
    assert f"expired on {NOW - timedelta(days=20):%d %b %Y}" in sentence
    assert await outcome(target, trusting) is grpc.StatusCode.UNAVAILABLE


async def test_certificates_are_replaced_without_a_restart(
    served, folder: Folder, stranger: Folder, monkeypatch
) -> None:
    """A new authority's certificates take the place of the old: a channel made before goes on, old clients are refused."""
    monkeypatch.setattr("alphapanda.mesh.tls.LOOK_SECONDS", 0.0)
    place = Folder(folder.path / "rotated")
    server_files, client_files = place.make("server"), place.make("client")
    target = await served.start(security(server_files, mutual=True, age=0.5))
    before = ChannelSecurity(TlsMaterial(client_files))
    stale = ChannelSecurity(
        TlsMaterial(TlsFiles(of(folder, "client").certificate, of(folder, "client").key, place.ca))
    )
    async with open_channel(target, [INSTRUMENTS], security=before) as channel:
        stub = instruments_pb2_grpc.InstrumentServiceStub(channel)
        await stub.ListInstruments(ASKED)
        for name in ("server", "client"):
            for ending in ("key", "pem"):
                (place.path / f"{name}.{ending}").write_bytes(
                    (stranger.path / f"{name}.{ending}").read_bytes()
                )
        place.ca.write_bytes(stranger.ca.read_bytes())
        await asyncio.sleep(0.7)  # the old connection ends, and calls go on over a new one
        await stub.ListInstruments(ASKED, timeout=5)
    assert await outcome(target, stale) is grpc.StatusCode.UNAVAILABLE
    assert await outcome(target, ChannelSecurity(TlsMaterial(of(stranger, "client")))) is grpc.StatusCode.OK


async def test_garbage_leaves_the_old_certificate_in_use(served, folder: Folder, monkeypatch) -> None:
    """A replacement that can't be used holds nobody up: connections go on with the certificate before, and it is said."""
    monkeypatch.setattr("alphapanda.mesh.tls.LOOK_SECONDS", 0.0)
    files = folder.make("torn")
    demanded = security(files)
    target = await served.start(demanded)
    files.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\ngarbage")
    trusting = ChannelSecurity(TlsMaterial(TlsFiles(ca=folder.ca)))
    assert await outcome(target, trusting) is grpc.StatusCode.OK
    assert "tls.certificate" in demanded.tls.problem


def test_a_server_beyond_loopback_needs_authentication_too(folder: Folder) -> None:
    """TLS alone lets everybody in who can reach the port."""
    with pytest.raises(InvalidInput, match="authentication"):
        MeshServer("0.0.0.0", 0, [], structlog.get_logger(), security=security(of(folder, "server")))
