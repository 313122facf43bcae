"""A real Apache Kafka as a local process, one node, for the tests and `make mesh`. `make kafka` fetches its jars.

Data, configuration and output live in one folder; a restart goes on with all three, on the same port.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

JARS = (Path(__file__).resolve().parents[2] / ".tools" / "kafka" / "libs").resolve()
CLASSES = JARS.with_name("classes.jsa")
"""Kafka's classes as a JVM has them in memory. Without it, or with another JVM's, they are read from the jars."""

# Below those that the system hands to outgoing connections (from 32768 on Linux): one of these may be taken before the
# process it was meant for has come to bind it.
PORTS = range(20_000, 32_000)

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_WRITE_SECONDS = 180.0
_MEMORY = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_LOGGING = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def missing_for_kafka() -> str | None:
    """What has to be done before Kafka can run here, None where nothing is missing."""
    if shutil.which("java") is None:
        return "NO KAFKA: install Java 17 or later and Maven, then run `make kafka`"
    if not any(JARS.glob("kafka_*.jar")):
        return "NO KAFKA: run `make kafka` (it needs Java and Maven)"
    return None


class KafkaDidNotStart(Exception):
    """It ended, or didn't answer in time; the message holds the end of its output."""


@dataclass(frozen=True, slots=True)
class Guard:
    """How clients have to come: by SASL_PLAINTEXT, or by SASL_SSL where there is a certificate.

    Attributes:
        passwords: by user, each good for PLAIN and SCRAM alike.
        certificate: PEM file with the broker's key and certificate.
    """

    passwords: Mapping[str, str] = field(repr=False)
    certificate: Path | None = None

    @property
    def protocol(self) -> str:
        """As Kafka calls it."""
        return "SASL_SSL" if self.certificate else "SASL_PLAINTEXT"

    def properties(self) -> dict[str, str]:
        """Lines of server.properties."""
        module = "org.apache.kafka.common.security"
        user, password = next(iter(self.passwords.items()))
        users = " ".join(f'user_{name}="{secret}"' for name, secret in self.passwords.items())
        own = f'username="{user}" password="{password}"'
        listener = f"listener.name.{self.protocol.lower()}"
        properties = {
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{self.protocol}:{self.protocol}",
            "security.inter.broker.protocol": self.protocol,
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            f"{listener}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {own} {users};",
        }
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            properties[f"{listener}.{mechanism}.sasl.jaas.config"] = (
                f"{module}.scram.ScramLoginModule required;"
            )
        if self.certificate:
            properties |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.certificate),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.certificate),
            }
        return properties

    def scram(self) -> list[str]:
        """Arguments of Kafka's `format` that let the users in."""
        return [
            part
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for name, password in self.passwords.items()
            for part in ("--add-scram", f"{mechanism}=[name={name},password={password}]")
        ]


class KafkaServer:
    """One broker that is its own controller, on loopback ports.

    Args:
        folder: where its data lives; made where it isn't there.
        guard: how clients have to come; None: anybody may, in plaintext.
        keep_classes: whether to write CLASSES when it stops.
        settings: lines of server.properties, over those it starts with.
    """

    def __init__(
        self, folder: Path, guard: Guard | None = None, *, keep_classes: bool = False, **settings: str
    ) -> None:
        self._folder = folder
        self._stop_seconds = _WRITE_SECONDS if keep_classes else _STOP_SECONDS
        self._keep_classes = keep_classes
        self._guard = guard
        self._properties = folder / "server.properties"
        self._output = folder / "kafka.log"
        self._overrides = {name.replace("_", "."): value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        runs = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and runs else None

    def start(self) -> str:
        """Starts it, with what it had before where it ran in this folder; returns `host:port` once it answers.

        Raises:
            KafkaDidNotStart: then nothing is left running.
        """
        if not self._properties.exists():
            self._set_up()
        self.port = int(self._setting("listeners").split(",")[0].rpartition(":")[2])
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for who started it, and clients end before it
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise KafkaDidNotStart(self._tail())
            time.sleep(0.05)
        return self.bootstrap

    def stop(self) -> None:
        """Stops it in order; kills it where that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends it as kill -9 does, without a last word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freezes it: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _set_up(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        client, controller = free_ports(2)
        protocol = self._guard.protocol if self._guard else "PLAINTEXT"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"{protocol}://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._folder / "data"),
            "auto.create.topics.enable": "false",
            # A killed broker may come back once its controller has forgotten it.
            "broker.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "200",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            **(self._guard.properties() if self._guard else {}),
            **self._overrides,
        }
        draft = self._properties.with_suffix(".draft")
        draft.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        data, kept = Path(properties["log.dirs"]), _kept_format()
        if self._guard is None and kept.is_dir():
            shutil.copytree(kept, data)
        else:
            self._format(draft)
            if self._guard is None:
                _keep_format(data, kept)
        draft.rename(self._properties)  # from now on the folder counts as set up

    def _format(self, properties: Path) -> None:
        cluster = ("-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(properties))
        users = self._guard.scram() if self._guard else []
        formatted = subprocess.run(
            self._java("kafka.tools.StorageTool", "format", *cluster, *users),
            check=False,
            capture_output=True,
            text=True,
        )
        if formatted.returncode:
            raise KafkaDidNotStart(formatted.stdout + formatted.stderr)

    def _java(self, *program: str) -> list[str]:
        option = "ArchiveClassesAtExit" if self._keep_classes else "SharedArchiveFile"
        kept = self._keep_classes or (CLASSES.is_file() and CLASSES.stat().st_size)
        archive = [f"-XX:{option}={CLASSES}"] if kept else []
        return ["java", *_MEMORY, *archive, _LOGGING, "-cp", f"{JARS}/*", *program]

    def _setting(self, name: str) -> str:
        lines = self._properties.read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        return True

    def _tail(self) -> str:
        return self._output.read_text(errors="replace")[-4000:]


def _kept_format() -> Path:
    """Where an empty data folder is kept, as this version of Kafka formats it: half a second of a JVM each time."""
    version = next(JARS.glob("kafka_*.jar")).stem
    return CLASSES.with_name(f"formatted-{version}")


def _keep_format(data: Path, kept: Path) -> None:
    draft = kept.with_name(f"{kept.name}-{os.getpid()}-{random.getrandbits(32)}")
    shutil.copytree(data, draft)
    try:
        draft.rename(kept)
    except OSError:  # another was first
        shutil.rmtree(draft)


_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Loopback ports, of PORTS, that nobody listens on now, and that weren't given before while there are others.

    Who was given one may not listen on it yet: a mesh's services come to theirs after its Kafka has asked for two.
    """
    free: list[int] = []
    if len(PORTS) - len(_given) < len(PORTS) // 2:
        _given.clear()
    for port in random.sample(PORTS, len(PORTS)):
        if len(free) == count:
            break
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
    _given.update(free)
    return free
