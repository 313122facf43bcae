"""`make mesh`: real Kafka, PostgreSQL and Redis as local processes, and every service a process of its own against them.

Everything is kept in one folder (.tools/mesh) and stopped by its own handle at Ctrl-C. Whatever ends before, a store or a
service, is started again. The demo's strategies are created and started where they aren't there yet, so that it trades.
Prints what to try.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent / "kafka"))

import grpc
from kafka_server import KafkaDidNotStart, KafkaServer, missing_for_kafka
from rich.console import Console
from secured import Secured

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.errors import EmbeddedStartFailed
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.mesh.channel import open_channel
from alphapanda.mesh.security import PLAINTEXT, ChannelSecurity
from alphapanda.settings.sources import load_settings
from alphapanda.strategy.demo import demo_requests
from panda.strategy.v1.strategy_pb2_grpc import StrategyServiceStub

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = str(Path(sys.executable).with_name("alphapanda"))
SERVICES = ("instruments", "portfolio", "trading", "risk", "strategy", "marketdata", "ops")
STRATEGY_SERVICE = "panda.strategy.v1.StrategyService"
PAUSE_SECONDS = 0.2
WATCH_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
TRY = (
    "watch",
    "status",
    "strategies",
    "orders place buy NSE:INFY 10",
    "strategies change demo.infy -p fast=10",
    "orders square-off --broker paper",
)


# As it stands: no line is broken, coloured or read as markup.
say = Console(soft_wrap=True, highlight=False, markup=False).print


class Process(Protocol):
    """A started program, as subprocess.Popen shows it."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status once it has ended.

        Raises:
            subprocess.TimeoutExpired: it takes longer than `timeout` seconds.
        """

    def send_signal(self, number: int, /) -> None:
        """Signals it while it runs."""

    def kill(self) -> None:
        """Ends it."""


class Store(Protocol):
    """A server of this machine's own."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""

    async def start(self) -> str:
        """Starts it on the data and the address that it had before; returns where it is."""


class Kafka:
    """Kafka as a store.

    Args:
        server: its process, not started.
    """

    def __init__(self, server: KafkaServer) -> None:
        self._server = server

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._server.pid

    async def start(self) -> str:
        """Starts it; `host:port`.

        Raises:
            KafkaDidNotStart: then nothing is left running.
        """
        return await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        """Stops it."""
        await asyncio.to_thread(self._server.stop)


class Mesh:
    """Kafka, PostgreSQL, Redis and one process a service.

    Args:
        folder: where everything is kept.
        secure: whether services and clients show certificates, and callers sign in.
    """

    def __init__(self, folder: Path, *, secure: bool = False) -> None:
        self.folder = folder
        self.secure: Secured | None = None
        self._is_secure = secure
        self.environment: dict[str, str] = {}
        self.processes: dict[str, Process] = {}
        self._stores: Mapping[str, Store] = {}
        self._stack = AsyncExitStack()

    @property
    def services(self) -> Sequence[str]:
        """The services, in the order in which they start."""
        return ("auth", *SERVICES) if self._is_secure else SERVICES

    async def start(self, services: Sequence[str] | None = None) -> None:
        """Starts the three stores, prepares them, then the services (None: all), in this order."""
        directory = DataDirectory(self.folder)
        directory.acquire(datetime.now(UTC))
        self._stack.callback(directory.release)
        kafka = Kafka(self.kafka_server(self.folder / "kafka"))
        bootstrap = await kafka.start()
        self._stack.push_async_callback(kafka.stop)
        postgres, redis = EmbeddedPostgres(self.folder), EmbeddedRedis(self.folder)
        self._stack.push_async_callback(redis.stop)
        self._stack.push_async_callback(postgres.stop)
        database_url, redis_url = await asyncio.gather(postgres.start(), redis.start())
        self._stores = {"kafka": kafka, "postgresql": postgres, "redis": redis}
        self.environment = {
            **os.environ,
            "ALPHAPANDA_DATABASE__URL": database_url,
            "ALPHAPANDA_REDIS__URL": redis_url,
            "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        }
        if self._is_secure:
            self.secure = Secured(self.folder / "certs")
            self.secure.prepare()
            self.environment |= self.secure.environment()
        self.run("db", "upgrade")
        self.run("topics", "ensure")
        self._stack.callback(self.stop_services)
        for service in self.services if services is None else services:
            self.start_service(service)

    def kafka_server(self, folder: Path) -> KafkaServer:
        """Kafka's process: anybody may do everything there."""
        return KafkaServer(folder)

    def run(self, *arguments: str) -> None:
        """Runs a command of ours to its end."""
        if code := self.popen([PROGRAM, *arguments], self.environment).wait():
            raise subprocess.CalledProcessError(code, arguments)

    def start_service(self, service: str) -> None:
        """Starts a service's process; its log goes to a file."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{service}.log").open("ab") as log:
            self.processes[service] = self.popen(
                [PROGRAM, "serve", service], self.environment | self.of_service(service), log
            )

    def popen(
        self, arguments: Sequence[str], environment: Mapping[str, str], out: IO[bytes] | None = None
    ) -> Process:
        """Starts a program of ours in a session of its own; what it says goes to a file, or (None) where ours goes."""
        return subprocess.Popen(arguments, env=environment, stdout=out, stderr=out, start_new_session=True)

    def of_service(self, service: str) -> Mapping[str, str]:
        """Settings of one service's process."""
        return {} if self.secure is None else self.secure.of_service(service)

    async def keep_running(self) -> None:
        """Starts again what ended, as who runs a mesh in earnest does; at once, then more and more patiently.

        Kafka and PostgreSQL come back with their data, Redis empty, since it holds only what can be rebuilt; each where
        it was, so that nobody has to be told.
        """
        async with asyncio.TaskGroup() as group:
            for name in self.pids():
                group.create_task(self._keep_running(name))

    async def _keep_running(self, name: str) -> None:
        pause = 0.0
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._pid(name) is not None:
                pause = max(pause - WATCH_SECONDS, 0.0)
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause + 1.0, LONGEST_PAUSE_SECONDS)
            try:
                if name in self._stores:
                    await _to_its_end(self._stores[name].start())
                else:
                    self.start_service(name)
            except (KafkaDidNotStart, EmbeddedStartFailed) as error:
                say(f"{name} ended, and didn't start again: {error}")
            else:
                say(f"{name} ended; started again, pid {self._pid(name)}")

    def pids(self) -> dict[str, int | None]:
        """The process of each store and service; None where it has ended."""
        return {name: self._pid(name) for name in (*self._stores, *self.processes)}

    def _pid(self, name: str) -> int | None:
        if name in self._stores:
            return self._stores[name].pid
        process = self.processes[name]
        return process.pid if process.poll() is None else None

    def stop_services(self) -> None:
        """Asks every service to end, and waits; one that doesn't within 25 s is killed."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def stop(self) -> None:
        """Stops everything, last first."""
        await self._stack.aclose()


async def _to_its_end(start: Awaitable[object]) -> None:
    """Awaits a start also where it is cancelled meanwhile: half a start would leave behind what nobody stops."""
    task = asyncio.ensure_future(start)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def seed_demo(
    environment: Mapping[str, str], patience: float = 60.0, security: ChannelSecurity = PLAINTEXT
) -> None:
    """Creates and starts the demo's strategies at the mesh's StrategyService; what is there stays as it is.

    Args:
        environment: names the mesh, as its processes have it.
        patience: seconds that the service may take to answer.
        security: how to connect to it.
    """
    target = load_settings(environment, dotenv=Path(".env")).mesh.strategy
    until = asyncio.get_running_loop().time() + patience
    async with open_channel(target, [STRATEGY_SERVICE], security=security) as channel:
        stub = StrategyServiceStub(channel)
        for create, start in demo_requests():
            try:
                await _patiently(partial(stub.CreateStrategy, create), until)
            except grpc.aio.AioRpcError as refusal:
                if refusal.code() is not grpc.StatusCode.ALREADY_EXISTS:
                    raise
            await _patiently(partial(stub.StartStrategy, start), until)


async def _patiently(call: Callable[[], Awaitable[object]], until: float) -> None:
    while True:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            away = error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
            if not away or asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


async def main(make: Callable[..., Mesh] = Mesh) -> int:
    """Runs until Ctrl-C.

    Args:
        make: makes the mesh, from what Mesh takes.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".tools" / "mesh", help="where everything is kept"
    )
    parser.add_argument(
        "--secure", action="store_true", help="mTLS between all, and authentication: callers sign in"
    )
    arguments = parser.parse_args()
    if missing := missing_for_kafka():
        Console(stderr=True, soft_wrap=True).print(missing, highlight=False, markup=False)
        return 1
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    mesh = make(arguments.folder, secure=arguments.secure)
    say(f"starting Kafka, PostgreSQL, Redis and {len(mesh.services)} services …")
    try:
        await mesh.start()
        say("starting the demo's strategies …")
        await seed_demo(
            mesh.environment, security=PLAINTEXT if mesh.secure is None else mesh.secure.channel()
        )
        say(f"up; logs in {mesh.folder / 'logs'}. Try in another terminal, without --target:")
        for line in () if mesh.secure is None else mesh.secure.told():
            say(f"  {line}")
        for line in TRY:
            say(f"  .venv/bin/alphapanda {line}")
        for name, pid in mesh.pids().items():
            say(f"  {name:12} pid {pid}")
        say("Kill any of them (kill -9 PID), stores too: it is started again, and nothing is lost.")
        keeping = asyncio.create_task(mesh.keep_running())
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait([keeping, told], return_when=asyncio.FIRST_COMPLETED)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
    finally:
        await mesh.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
