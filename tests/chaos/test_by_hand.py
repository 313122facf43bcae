"""`make mesh ARGS=--secure` as a person tries it: processes are killed by hand while orders flow, and what comes back is looked at.

Every service shows its certificate, and callers have tokens; the other tests here are on a mesh without.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import asyncpg
import fork_server
import grpc
import psutil
import pytest
from evidence import Evidence, gather_evidence
from kafka_server import free_ports, missing_for_kafka
from mesh_by_hand import SETTINGS
from running import create_and_start, until
from secured import Secured
from sqlalchemy import make_url
from story import prove

from alphapanda.contract.topics import TopicMap
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from panda.ops.v1.ops_pb2 import SERVICE_STATE_SERVING, GetStatusRequest
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub
from panda.strategy.v1.strategy_pb2 import ListStrategiesRequest, StopStrategyRequest
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

pytestmark = pytest.mark.timeout(400)  # processes and real time: a busy machine needs longer

PROGRAM = str(Path(sys.executable).with_name("alphapanda"))
SERVICES = ("instruments", "marketdata", "strategy", "risk", "trading", "portfolio", "auth")
SYMBOLS = ("NSE:INFY", "NSE:TCS", "NSE:RELIANCE", "NSE:HDFCBANK", "NSE:MARUTI", "NSE:BHARTIARTL")
KILLED = ("trading", "risk", "auth", "kafka", "postgresql", "redis")
SERVING = "SERVICE_STATE_SERVING"


class ByHand:
    """The process of `make mesh`, on ports of its own; its services are forked (mesh_by_hand.py)."""

    def __init__(self, folder: Path) -> None:
        ops, *ports = free_ports(1 + len(SERVICES))
        self.target = f"127.0.0.1:{ops}"
        self.ports = dict(zip(SERVICES, ports, strict=True))
        self._folder, self._out = folder, folder / "out.log"
        self._secured = Secured(folder / "mesh" / "certs")
        environment = os.environ | {
            "ALPHAPANDA_ACTIVE_BROKERS": "paper",
            "ALPHAPANDA_API__PORT": str(ops),
            "ALPHAPANDA_KAFKA__SESSION_TIMEOUT_SECONDS": "3",
            **{f"ALPHAPANDA_MESH__{name.upper()}": f"127.0.0.1:{port}" for name, port in self.ports.items()},
        }
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("mesh_by_hand.py")), "--secure", "--folder", str(folder / "mesh")],
                env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self._out.read_text()

    def pid(self, name: str) -> int:
        """Of a service's or store's last process, as it was printed."""
        return int(re.findall(rf"^ *{name} .*pid (\d+)$", self.said(), re.MULTILINE)[-1])

    def channel(self, target: str) -> grpc.Channel:
        """A channel of a client with a certificate and a token."""
        security = self._secured.channel()
        shown = security.tls.contents
        encrypted = grpc.ssl_channel_credentials(shown.ca, shown.key, shown.certificate)
        token = grpc.access_token_call_credentials(security.token())
        return grpc.secure_channel(target, grpc.composite_channel_credentials(encrypted, token))

    def states(self) -> dict[str, str]:
        """What `alphapanda status` says of each service."""
        token = self._folder / "token"
        token.write_text(self._secured.channel().token())
        named = {"--ca": "ca.pem", "--cert": "client.pem", "--cert-key": "client.key"}
        given = [each for name, file in named.items() for each in (name, str(self._secured.folder / file))]
        done = fork_server.run(
            [PROGRAM, "status", "--json", "--target", self.target, *given, "--token-file", str(token)],
            cwd=self._folder,
        )
        if done.returncode:
            return {}
        return {one["service"]: one["state"] for one in json.loads(done.stdout)["services"]}

    def all_serve(self) -> bool:
        """Whether `alphapanda status` says that every service is at work; asked once the mesh itself says so."""
        with self.channel(self.target) as channel:
            try:
                told = OpsServiceStub(channel).GetStatus(GetStatusRequest(), timeout=2.0).services
            except grpc.RpcError:
                return False
        if any(one.state != SERVICE_STATE_SERVING for one in told):
            return False
        states = self.states()
        return states.keys() >= set(SERVICES) and set(states.values()) == {SERVING}

    def settings(self) -> dict[str, str]:
        """Where services were told that their stores are."""
        told: dict[str, str] = json.loads((self._folder / "mesh" / SETTINGS).read_text())
        return told

    def count(self, what: str) -> int:
        """How many rows: `count("portfolio.fills")`."""

        async def counted() -> int:
            url = make_url(self.settings()["ALPHAPANDA_DATABASE__URL"]).set(drivername="postgresql")
            connection = await asyncpg.connect(url.render_as_string(hide_password=False))
            try:
                return int(await connection.fetchval(f"SELECT count(*) FROM {what}"))
            finally:
                await connection.close()

        return asyncio.run(counted())

    def rests(self) -> bool:
        """Whether nothing is in work: a fill that is booked was published, and what is reserved waits for its end."""
        unpublished = [
            f"{schema}.outbox WHERE published_at IS NULL" for schema in ("risk", "trading", "portfolio")
        ]
        unbooked = "trading.fills WHERE fill_id NOT IN (SELECT fill_id FROM portfolio.fills)"
        work = (*unpublished, unbooked, "risk.positions WHERE open_signal_id IS NOT NULL")
        return not any(self.count(what) for what in work)

    def evidence(self) -> Evidence:
        """What topics and tables hold now."""
        found = Evidence(TopicMap(("paper",)))

        async def read() -> None:
            settings = self.settings()
            log = KafkaEventLog(
                KafkaOptions(bootstrap_servers=settings["ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"])
            )
            await log.start()
            try:
                await gather_evidence(found, settings["ALPHAPANDA_DATABASE__URL"], log)
            finally:
                await log.stop()

        asyncio.run(read())
        return found

    def stop(self) -> None:
        """Ctrl-C; everything it started ends with it."""
        children = (
            psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        )
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(90)
        left = psutil.wait_procs(children, timeout=5)[1]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert not left, f"left running: {left}"


@pytest.fixture
def by_hand(require_or_skip: Callable[[str], NoReturn]) -> Iterator[ByHand]:
    if (reason := missing_for_kafka()) is not None:
        require_or_skip(reason)
    with tempfile.TemporaryDirectory(prefix="panda-") as folder:
        mesh = ByHand(Path(folder))
        try:
            yield mesh
        finally:
            mesh.stop()


def test_what_is_killed_by_hand_comes_back(by_hand: ByHand):
    """Services and stores, killed while orders flow, are back by themselves as `alphapanda status` says; the ledger balances."""
    until(lambda: "Kill any of them" in by_hand.said() or by_hand.process.poll() is not None, 90, "make mesh")
    until(by_hand.all_serve, 60, "every service serving")
    with grpc.insecure_channel(by_hand.target) as channel, pytest.raises(grpc.RpcError):
        OpsServiceStub(channel).GetStatus(GetStatusRequest(), timeout=2.0)
    with by_hand.channel(f"127.0.0.1:{by_hand.ports['strategy']}") as channel:
        strategies = StrategyServiceStub(channel)
        create, start = create_and_start(
            "by-hand", symbols=SYMBOLS, quantity=10, parameters={"fast": "1", "slow": "2"}
        )
        strategies.CreateStrategy(create)
        strategies.StartStrategy(start)
        booked = 0
        for name in KILLED:
            until(
                lambda booked=booked: by_hand.count("portfolio.fills") > booked + 2,
                60,
                f"fills before the end of {name}",
            )
            killed = by_hand.pid(name)
            os.kill(killed, signal.SIGKILL)
            until(lambda name=name, killed=killed: by_hand.pid(name) != killed, 30, f"a new {name}")
            until(by_hand.all_serve, 60, f"every service serving again after {name}")
            booked = by_hand.count("portfolio.fills")
        until(lambda: by_hand.count("portfolio.fills") > booked, 60, "fills after the last kill")
        running = strategies.ListStrategies(ListStrategiesRequest(state="STRATEGY_STATE_RUNNING")).strategies
        for one in running:
            request = StopStrategyRequest(request_id=f"stop-{one.strategy_id}", strategy_id=one.strategy_id)
            strategies.StopStrategy(request)
    until(lambda: by_hand.rests() and by_hand.rests(), 60, "rest")
    time.sleep(1.0)  # a signal made just before the stop is on its way to risk, where no table knows of it
    until(by_hand.rests, 60, "rest")
    assert prove(by_hand.evidence()).fills > booked
