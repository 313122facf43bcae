"""A group whose processes are gone falls behind on real Kafka: ops raises the alarm, and it ends when they are back."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import fork_server
import grpc
import pytest
from click.testing import CliRunner
from kafka_server import free_ports
from running import ALPHAPANDA, until

from alphapanda.cli import main
from alphapanda.eventlog.kafka.log import KafkaEventLog
from alphapanda.eventlog.kafka.options import KafkaOptions
from alphapanda.eventlog.port import Record
from panda.ops.v1.ops_pb2 import GetStatusRequest, GetStatusResponse
from panda.ops.v1.ops_pb2_grpc import OpsServiceStub

TOPIC = "paper.signals.raw"
JUNK = 30
ALLOWED = 20


class Mesh:
    """A Kafka of its own, a process with instruments and ops, and whatever else is started."""

    def __init__(self, stack: ExitStack, folder: Path, bootstrap: str, tables: str, redis_url: str) -> None:
        self._stack, self._folder, self._bootstrap = stack, folder, bootstrap
        self.port, self.figures_port, self._other_port = free_ports(3)
        self.environment = {
            **os.environ,
            "ALPHAPANDA_DATABASE__URL": tables,
            "ALPHAPANDA_REDIS__URL": redis_url,
            "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "ALPHAPANDA_MESH__INSTRUMENTS": f"127.0.0.1:{self.port}",
            "ALPHAPANDA_HEALTH_CHECKS__INTERVAL_SECONDS": "0.2",
            "ALPHAPANDA_HEALTH_CHECKS__GRACE_SECONDS": "0",
            "ALPHAPANDA_HEALTH_CHECKS__MAX_LAG": str(ALLOWED),
            "ALPHAPANDA_MONITORING__METRICS_INTERVAL_SECONDS": "0.2",
        }
        self.command("topics", "ensure")
        figures = {"ALPHAPANDA_MONITORING__PROMETHEUS_PORT": str(self.figures_port)}
        self.ops_process = self._serve(self.port, "instruments", "ops", **figures)
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{self.port}"))
        self._ops = OpsServiceStub(channel)
        until(lambda: '"event": "process.ready"' in self.said("instruments"), 60, "ops ready")

    def serve_risk(self) -> None:
        """Brings the group's first process."""
        self._serve(self._other_port, "risk")

    def _serve(self, port: int, *services: str, **more: str) -> fork_server.Process:
        with self._log_of(services[0]).open("wb") as out:
            process = fork_server.popen(
                [ALPHAPANDA[0], "serve", *services, "--port", str(port)],
                env=self.environment | more,
                stdout=out,
                stderr=out,
                cwd=self._folder,
            )
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.terminate)
        return process

    def _log_of(self, service: str) -> Path:
        return self._folder / f"{service}.log"

    def said(self, service: str) -> str:
        """What the process that begins with this service has logged."""
        return self._log_of(service).read_text()

    def alarms_logged(self) -> list[tuple[str, str, str, str]]:
        """The log lines of ops that are alarms: event, group, topic, broker."""
        lines = (json.loads(line) for line in self.said("instruments").splitlines() if '"alarm"' in line)
        return [(line["event"], line["group"], line["topic"], line["broker"]) for line in lines]

    def command(self, *arguments: str) -> str:
        """What a command prints."""
        done = CliRunner(env=self.environment).invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def status(self) -> GetStatusResponse:
        """What OpsService says."""
        return self._ops.GetStatus(GetStatusRequest(), timeout=10)

    def figure(self, name: str) -> float | None:
        """A figure of the group on the topic, as Prometheus reads it."""
        wanted = (f"{name}{{", 'group="risk.signals"', f'topic="{TOPIC}"', 'broker="paper"')
        with urllib.request.urlopen(f"http://127.0.0.1:{self.figures_port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if all(part in line for part in wanted)]
        return float(found[0].split()[-1]) if found else None

    def publish_junk(self) -> None:
        """Records that no consumer can read, of several keys."""

        async def publish() -> None:
            log = KafkaEventLog(KafkaOptions(bootstrap_servers=self._bootstrap, request_timeout_seconds=10))
            await log.start()
            try:
                await log.publish([Record(TOPIC, n % 3, b"key", b"\xffjunk") for n in range(JUNK)])
            finally:
                await log.stop()

        asyncio.run(publish())


@pytest.fixture
def mesh(start_kafka: Callable, tables: str, redis_url: str, tmp_path: Path) -> Iterator[Mesh]:
    """Nobody reads for any group."""
    server = start_kafka()
    with ExitStack() as stack:
        stack.callback(server.stop)
        yield Mesh(stack, tmp_path, server.bootstrap, tables, redis_url)


def test_a_group_that_nobody_reads_for_raises_an_alarm(mesh: Mesh) -> None:
    """GetStatus, `alphapanda status`, log and figures tell the group that is too far behind until it has caught up."""
    until(lambda: mesh.figure("alphapanda_group_lag") == 0, 20, "the group's lag as a figure")
    assert list(mesh.status().lag_alarms) == []
    mesh.publish_junk()
    [alarm] = until(lambda: list(mesh.status().lag_alarms), 20, "the alarm")
    assert (alarm.group, alarm.topic, alarm.broker) == ("risk.signals", TOPIC, "paper")
    assert (alarm.lag, alarm.allowed) == (JUNK, ALLOWED)
    until(lambda: mesh.figure("alphapanda_group_lag_alarm") == 1, 20, "the alarm as a figure")
    assert mesh.figure("alphapanda_group_lag") == JUNK
    said = " ".join(mesh.command("status", "--target", f"127.0.0.1:{mesh.port}").split())
    assert f"risk.signals is {JUNK} records behind on {TOPIC}; {ALLOWED} are allowed" in said
    began = ("group.fell_behind", "risk.signals", TOPIC, "paper")
    assert mesh.alarms_logged() == [began]

    mesh.serve_risk()
    until(lambda: not mesh.status().lag_alarms, 60, "the alarm's end")
    until(lambda: mesh.figure("alphapanda_group_lag_alarm") == 0, 20, "no alarm as a figure")
    until(lambda: mesh.figure("alphapanda_group_lag") == 0, 20, "no lag as a figure")
    assert mesh.alarms_logged() == [began, ("group.caught_up", "risk.signals", TOPIC, "paper")]
