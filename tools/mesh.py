"""`make mesh`: real Kafka, PostgreSQL and Redis as local processes, and every service a process of its own against them.

Everything is kept in one folder (.tools/mesh) and stopped by its own handle at Ctrl-C. The demo's strategies are created
and started where they aren't there yet, so that it trades. Prints what to try.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "kafka"))

import grpc
from kafka_server import KafkaServer, missing_for_kafka

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis
from alphapanda.mesh.channel import open_channel
from alphapanda.settings_sources import load_settings
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


class Mesh:
    """Kafka, PostgreSQL, Redis and one process a service.

    Args:
        folder: where everything is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = AsyncExitStack()

    async def start(self, services: Sequence[str] = SERVICES) -> None:
        """Starts the three stores, prepares them, then the services, in this order."""
        directory = DataDirectory(self.folder)
        directory.acquire(datetime.now(UTC))
        self._stack.callback(directory.release)
        kafka = KafkaServer(self.folder / "kafka")
        bootstrap = await asyncio.to_thread(kafka.start)
        self._stack.callback(kafka.stop)
        postgres, redis = EmbeddedPostgres(self.folder), EmbeddedRedis(self.folder)
        self._stack.push_async_callback(redis.stop)
        self._stack.push_async_callback(postgres.stop)
        database_url, redis_url = await asyncio.gather(postgres.start(), redis.start())
        self.environment = {
            **os.environ,
            "ALPHAPANDA_DATABASE__URL": database_url,
            "ALPHAPANDA_REDIS__URL": redis_url,
            "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        }
        self.run("db", "upgrade")
        self.run("topics", "ensure")
        self._stack.callback(self.stop_services)
        for service in services:
            self.start_service(service)

    def run(self, *arguments: str) -> None:
        """Runs a command of ours to its end."""
        subprocess.run([PROGRAM, *arguments], env=self.environment, check=True)

    def start_service(self, service: str) -> None:
        """Starts a service's process; its log goes to a file."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [PROGRAM, "serve", service],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def keep_running(self) -> None:
        """Starts again what ended, as who runs a mesh in earnest does; at once, then more and more patiently."""
        pauses = dict.fromkeys(self.processes, 0.0)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for service, process in list(self.processes.items()):
                if process.poll() is None:
                    pauses[service] = max(pauses[service] - WATCH_SECONDS, 0.0)
                    continue
                await asyncio.sleep(pauses[service])
                pauses[service] = min(2 * pauses[service] + 1.0, LONGEST_PAUSE_SECONDS)
                self.start_service(service)
                print(
                    f"{service} ended ({process.returncode}); started again, pid {self.processes[service].pid}",
                    flush=True,
                )

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


async def seed_demo(environment: Mapping[str, str], patience: float = 60.0) -> None:
    """Creates and starts the demo's strategies at the mesh's StrategyService; what is there stays as it is.

    Args:
        environment: names the mesh, as its processes have it.
        patience: seconds that the service may take to answer.
    """
    target = load_settings(environment, dotenv=Path(".env")).mesh.strategy
    until = asyncio.get_running_loop().time() + patience
    async with open_channel(target, [STRATEGY_SERVICE]) as channel:
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


async def main() -> int:
    """Runs until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".tools" / "mesh", help="where everything is kept"
    )
    arguments = parser.parse_args()
    if missing := missing_for_kafka():
        print(missing, file=sys.stderr)
        return 1
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    mesh = Mesh(arguments.folder)
    print("starting Kafka, PostgreSQL, Redis and seven services …")
    try:
        await mesh.start()
        print("starting the demo's strategies …")
        await seed_demo(mesh.environment)
        print(f"up; logs in {mesh.folder / 'logs'}. Try in another terminal, without --target:")
        for line in TRY:
            print(f"  .venv/bin/alphapanda {line}")
        for service, process in mesh.processes.items():
            print(f"  {service:12} pid {process.pid}")
        print("Kill any of them (kill -9 PID): it is started again, and nothing is lost.", flush=True)
        keeping = asyncio.create_task(mesh.keep_running())
        await stopping.wait()
        keeping.cancel()
        await asyncio.wait([keeping])
    finally:
        await mesh.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
