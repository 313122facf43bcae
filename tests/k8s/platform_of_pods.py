"""The dev overlay's pods on podman, beside real PostgreSQL, Redis, Kafka and Jaeger that stand for its stores."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import redis
from expected_edges import STORES
from forwarding import Forwarding
from image import container_environment
from jaeger_server import JaegerServer
from kafka_server import KafkaServer, free_ports
from manifests import OVERLAYS, Manifest, namespace_of, of_kind, planted, pod_template, rendered, services
from played_pods import PlayedPods, answers, until
from policy_matrix import Edge
from sqlalchemy import make_url

from alphapanda.embedded.directory import DataDirectory
from alphapanda.embedded.postgres import EmbeddedPostgres
from alphapanda.embedded.redis import EmbeddedRedis

JOB_SECONDS: Final = 180.0
UP_SECONDS: Final = 400.0
LOOK_SECONDS: Final = 0.2
OTLP: Final = 4317
PORTS: Final = {name: int(port.partition("/")[2]) for name, port in STORES.items()} | {"jaeger": OTLP}


class PlatformOfPods:
    """Every workload of the dev overlay that runs our image, as it is in the overlay.

    Args:
        folder: where everything is kept; short, because sockets live in it.
        image: our image's name.

    Attributes:
        manifests: the overlay's.
        pods: its pods.
        jaeger: what receives traces.
        seen: the edges that were seen to be open.
    """

    def __init__(self, folder: Path, image: str) -> None:
        self.manifests = _all_traced(rendered("dev"))
        self.seen: set[Edge] = set()
        self.jaeger = JaegerServer(folder / "jaeger")
        self._folder = folder
        self._image = image
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._secrets = secrets_of(image)
        subnet = IPv4Network(f"10.89.{random.randrange(100, 250)}.0/24")
        self.pods = PlayedPods(self.manifests, image, self._secrets, tuple(PORTS), folder / "pods", subnet)

    @property
    def here(self) -> str:
        """The namespace."""
        return namespace_of(self.manifests)

    def start(self) -> None:
        """Starts stores, then the Jobs to their end, then all services and the pod for commands."""
        places = self._start_stores()
        self._stack.enter_context(Forwarding(self.pods.gateway, places))
        self._stack.callback(self.pods.close)
        self.pods.open()
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        self._stack.callback(watching.join)
        self._stack.callback(self._stopping.set)
        for name, job in of_kind(self.manifests, "Job").items():
            self.pods.play(job)
            until(
                JOB_SECONDS,
                lambda name=name: self.pods.ended(name) is not None,
                lambda name=name: self.pods.logs(name),
            )
            assert self.pods.ended(name) == 0, self.pods.logs(name)
        for workload in (*services(self.manifests).values(), of_kind(self.manifests, "Deployment")["cli"]):
            self.pods.play(workload)

    def stop(self) -> None:
        """Stops everything, last first."""
        self._stack.close()

    def answering(self, service: str) -> list[str]:
        """The kinds of a service's probes that are answered now."""
        (container,) = pod_template(services(self.manifests)[service])["spec"]["containers"]
        address = self.pods.addresses[service]
        kinds = ("startupProbe", "readinessProbe", "livenessProbe")
        return [kind for kind in kinds if answers(address, container[kind])]

    def tried(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command in the pod for commands, as `kubectl exec` would."""
        (container,) = self.pods.containers("cli")
        return self.pods.podman(
            "exec", "--interactive", container["Name"], "alphapanda", *arguments, given=given
        )

    def run(self, *arguments: str, given: str = "") -> str:
        """The same, where it must end well; returns what it prints."""
        done = self.tried(*arguments, given=given)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def asked(self, *arguments: str) -> dict[str, Any]:
        """The same, as JSON."""
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json"))
        return found

    def sign_in(self) -> None:
        """Signs the first administrator in."""
        password = self._secrets["auth"]["admin-password"]
        self.run("login", "--user", "admin", "--password-file", "-", given=f"{password}\n")

    def _start_stores(self) -> dict[int, int | Path]:
        runner = self._stack.enter_context(asyncio.Runner())
        directory = DataDirectory(self._folder / "d")
        directory.acquire(datetime.now(UTC))
        self._stack.callback(directory.release)
        postgres, cache = EmbeddedPostgres(self._folder / "d"), EmbeddedRedis(self._folder / "d")
        self._stack.callback(lambda: runner.run(postgres.stop()))
        self._stack.callback(lambda: runner.run(cache.stop()))
        database = make_url(runner.run(postgres.start()))
        socket = Path(unquote(urlsplit(runner.run(cache.start())).path))
        password = urlsplit(self._secrets["redis"]["url"]).password
        with redis.Redis(unix_socket_path=str(socket)) as client:
            client.config_set("requirepass", str(password))
        kafka, (client_port, controller) = self._folder / "kafka", free_ports(2)
        server = KafkaServer(
            kafka,
            listeners=f"PLAINTEXT://127.0.0.1:{client_port},CONTROLLER://127.0.0.1:{controller}",
            advertised_listeners=f"PLAINTEXT://kafka:{PORTS['kafka']}",
            controller_quorum_voters=f"1@127.0.0.1:{controller}",
        )
        self._stack.callback(server.stop)
        server.start()
        self._stack.callback(self.jaeger.stop)
        self.jaeger.start()
        return {
            PORTS["postgres"]: Path(str(database.query["host"])) / f".s.PGSQL.{database.query['port']}",
            PORTS["redis"]: socket,
            PORTS["kafka"]: client_port,
            PORTS["jaeger"]: int(self.jaeger.endpoint.rpartition(":")[2]),
        }

    def _watch(self) -> None:
        """Looks again and again who is connected to whom: what is open only for a moment stays visible for a minute."""
        names = {
            (address, 50051): name
            for name, address in self.pods.addresses.items()
            if address != self.pods.gateway
        }
        names |= {(self.pods.gateway, port): name for name, port in PORTS.items()}
        while not self._stopping.wait(LOOK_SECONDS):
            for name in list(self.pods.played):
                with suppress(OSError, KeyError):  # it begins, or has ended
                    for address, port in self.pods.opened(name):
                        target = names.get((address, port), f"{address}:{port}")
                        self.seen.add(Edge(f"{self.here}/{name}", f"{self.here}/{target}", f"TCP/{port}"))


def secrets_of(image: str) -> Mapping[str, Mapping[str, str]]:
    """The Secrets of the dev overlay, made as its page says: files by key, by the Secret's name."""
    command = ["podman", "run", "--rm", "--interactive", "--network=none", "--entrypoint=python", image, "-"]
    program = (OVERLAYS / "dev" / "make_secrets.py").read_text(encoding="utf-8")
    done = subprocess.run(
        command, env=container_environment(), input=program, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {one["metadata"]["name"]: one["stringData"] for one in json.loads(done.stdout)["items"]}


def _all_traced(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The same with every question and frame recorded as a span: which service has one to send is else left to chance."""
    (name,) = (one for one in of_kind(manifests, "ConfigMap") if one.startswith("settings"))
    traced, settings = planted(manifests, "ConfigMap", name)
    settings["data"] |= {
        "ALPHAPANDA_TELEMETRY__QUERY_RATIO": "1",
        "ALPHAPANDA_TELEMETRY__MARKET_DATA_RATIO": "1",
    }
    return traced
